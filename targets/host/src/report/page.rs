//! The page: sections, tables, captions.

use super::elements::{figure, table, tag, text, with};
use super::plots::{Aim, Curve, Point, bars, curves, pareto, scatter};
use super::results::{Network, Results};
use crate::memory_map;
use crate::output::grouped;
use serde_json::Value;
use std::collections::BTreeSet;
use svg::node::Node;
use svg::node::element::Element;

const STYLE: &str = "\
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: #2b2f36; background: #fff; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #e3e6ea; }
h3 { font-size: 1rem; margin-bottom: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
figcaption, caption { color: #5a616b; font-size: .875rem; text-align: left; }
svg.plot { width: 100%; max-width: 36rem; height: auto; font-family: inherit; }
.wide { overflow-x: auto; margin: 1rem 0; }
.wide svg { min-width: 40rem; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e3e6ea; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.word { text-align: left; }
ul { padding-left: 1.2rem; overflow-wrap: anywhere; }
";

/// The page as one file, without scripts and without anything from elsewhere.
pub fn page(results: &Results) -> String {
    let title = format!("elastiq: {}", results.folder.display());
    let meta = |name, content| tag("meta", &[("name", name), ("content", content)]);
    let head = with(
        tag("head", &[]),
        [
            tag("meta", &[("charset", "utf-8")]),
            meta("viewport", "width=device-width, initial-scale=1"),
            text("title", &[], title.clone()),
            text("style", &[], STYLE),
        ],
    );
    let mut body = vec![text("h1", &[], title)];
    body.extend(networks(results));
    body.extend(
        results
            .searches
            .iter()
            .flat_map(|(name, v)| search(name, v)),
    );
    body.extend(
        results
            .supernets
            .iter()
            .flat_map(|(name, v)| supernet(name, v)),
    );
    body.extend(
        results
            .prunings
            .iter()
            .flat_map(|(name, v)| pruning(name, v)),
    );
    body.extend(results.claims.iter().flat_map(|(name, v)| claims(name, v)));
    body.extend(files(results));
    let html = with(
        tag("html", &[("lang", "en")]),
        [head, with(tag("body", &[]), body)],
    );
    format!("<!DOCTYPE html>\n{html}\n")
}

fn heading(words: impl Into<String>) -> Element {
    text("h2", &[], words)
}

fn count(v: Option<u64>) -> String {
    v.map_or_else(|| "-".into(), grouped)
}

fn share(v: Option<f64>) -> String {
    crate::output::share(v)
}

fn networks(results: &Results) -> Vec<Element> {
    let all = &results.networks;
    if all.is_empty() {
        return Vec::new();
    }
    let mut parts = vec![heading("Networks")];
    let cores: BTreeSet<&String> = all
        .values()
        .flat_map(|n| n.bench.keys())
        .filter(|core| all.values().any(|n| n.instructions(core).is_some()))
        .collect();
    let flash = |n: &Network| n.flash();
    parts.extend(front(
        results,
        "bytes of flash",
        "Accuracy against flash.",
        &flash,
    ));
    for core in &cores {
        let cost = |n: &Network| n.instructions(core);
        let axis = format!("instructions on {core}");
        let caption = format!("Accuracy against instructions of one run on {core}.");
        parts.extend(front(results, &axis, &caption, &cost));
    }
    let mut header = vec!["network", "accuracy", "flash", "arena"];
    header.extend(cores.iter().map(|core| core.as_str()));
    let row = |(name, n): (&String, &Network)| {
        let sizes = [n.flash(), n.arena()].map(count);
        let runs = cores.iter().map(|core| count(n.instructions(core)));
        let first = [name.clone(), share(n.accuracy())];
        first.into_iter().chain(sizes).chain(runs).collect()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let caption = "Share of right classes, bytes of the artifact and of the arena, instructions of one run per core.";
    parts.push(table(caption, &header, &[0], &rows));
    for (name, network) in all {
        parts.extend(layers(name, network));
    }
    parts
}

/// Accuracy against a cost, where at least one network has both.
fn front(
    results: &Results,
    axis: &str,
    caption: &str,
    cost: &dyn Fn(&Network) -> Option<u64>,
) -> Option<Element> {
    let point = |(name, n): (&String, &Network)| {
        Some(Point {
            x: cost(n)? as f64,
            y: n.accuracy()?,
            name: name.clone(),
        })
    };
    let points: Vec<Point> = results.networks.iter().filter_map(point).collect();
    if points.is_empty() {
        return None;
    }
    let caption = format!(
        "{caption} Filled: no other network is smaller and as good, or better and as small."
    );
    let drawing = scatter(caption.as_str(), axis, "accuracy", &points, Aim::High);
    Some(figure(drawing, &caption))
}

/// Bars per layer, and the arena.
fn layers(name: &str, network: &Network) -> Vec<Element> {
    let mut parts = Vec::new();
    let per_layer = |v: &Value, key: &str| -> Vec<(String, f64)> {
        let list = v["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let value = |l: &Value| {
            let value = l[key].as_f64().filter(|v| *v > 0.0)?;
            Some((l["name"].as_str().unwrap_or("?").to_string(), value))
        };
        list.iter().filter_map(value).collect()
    };
    let mut draw = |v: &Value, key: &str, unit: &str, caption: String| {
        let values = per_layer(v, key);
        if !values.is_empty() {
            parts.push(figure(bars(&caption, unit, &values), &caption));
        }
    };
    if let Some(v) = &network.compile {
        draw(
            v,
            "bits",
            "bits per weight",
            "Width of the weights of each layer.".into(),
        );
        let caption = "Signal to quantization noise of the output of each layer.";
        draw(v, "sqnr_db", "SQNR, dB", caption.into());
    }
    for (core, v) in &network.bench {
        let (key, unit) = match v["instructions"].is_u64() {
            true => ("instructions", "instructions"),
            false => ("median_us", "median, µs"),
        };
        draw(v, key, unit, format!("Cost of each layer on {core}."));
    }
    if let Some(artifact) = &network.artifact
        && let Ok(engine) = artifact.engine()
    {
        let model = *engine.model();
        let blocks = memory_map::blocks(artifact, &model);
        let drawing = memory_map::drawing(artifact, &model, &blocks);
        let mut wide = tag("div", &[("class", "wide")]);
        wide.append(svg::node::Blob::new(drawing));
        let caption = "The arena: operators from left to right, bytes from bottom to top.";
        parts.push(figure(wide, caption));
    }
    if !parts.is_empty() {
        parts.insert(0, text("h3", &[], name));
    }
    parts
}

/// Configurations that a search evaluated: loss against each cost that the budget limits.
fn search(name: &str, v: &Value) -> Vec<Element> {
    let mut parts = vec![heading(format!("Search: {name}"))];
    let points = v["points"].as_array().map_or(&[][..], Vec::as_slice);
    for key in ["flash", "arena", "instructions", "bits"] {
        let Some(limit) = v["budget"][key].as_f64() else {
            continue;
        };
        let point = |p: &Value| {
            Some(Point {
                x: p[key].as_f64()?,
                y: p["loss"].as_f64()?,
                name: String::new(),
            })
        };
        let points: Vec<Point> = points.iter().filter_map(point).collect();
        if !points.is_empty() {
            let caption =
                format!("Loss against {key}, every configuration within the budget of {limit}.");
            parts.push(figure(
                scatter(&caption, key, "loss", &points, Aim::Low),
                &caption,
            ));
        }
    }
    let entry = |what: &str, p: &Value, costs: &Value| {
        let cost = |key: &str| costs[key].as_u64();
        let loss = p["loss"].as_f64().map(|l| format!("{l:.5}"))?;
        let counts = ["flash", "arena", "instructions"].map(|key| count(cost(key)));
        let bits = costs["bits"]
            .as_f64()
            .map_or("-".into(), |b| format!("{b:.3}"));
        Some([vec![what.to_string(), loss], counts.to_vec(), vec![bits]].concat())
    };
    let rows = [
        entry("found", v, &v["costs"]),
        entry("best uniform", &v["uniform"], &v["uniform"]),
        entry("best random", &v["random"], &v["random"]),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().flatten().collect();
    let header = ["", "loss", "flash", "arena", "instructions", "bits"];
    parts.push(table(
        "What was found, and what it is measured by.",
        &header,
        &[0],
        &rows,
    ));
    let config = v["config"]["layers"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let width = |l: &Value| Some((l["layer"].as_str()?.to_string(), l["weight_bits"].as_f64()?));
    let widths: Vec<(String, f64)> = config.iter().filter_map(width).collect();
    if !widths.is_empty() {
        let caption = "Width of the weights of each layer.";
        parts.push(figure(bars(caption, "bits per weight", &widths), caption));
    }
    parts
}

/// Accuracy of sub-networks against the bytes of their weights.
fn supernet(name: &str, v: &Value) -> Vec<Element> {
    let all = v["configurations"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let label = |c: &Value| {
        let bits = c["bits"].as_u64().map_or("mixed".into(), |b| b.to_string());
        match c["format"].as_str() {
            Some(format) => format!("{bits} {format}"),
            None => bits,
        }
    };
    let point = |c: &Value| {
        Some(Point {
            x: c["weights_bytes"].as_f64()?,
            y: c["accuracy"].as_f64()?,
            name: label(c),
        })
    };
    let points: Vec<Point> = all.iter().filter_map(point).collect();
    let mut parts = vec![heading(format!("Supernet: {name}"))];
    if !points.is_empty() {
        let caption = "Accuracy of the sub-networks against the bytes of their weights.";
        let drawing = scatter(caption, "bytes of weights", "accuracy", &points, Aim::High);
        parts.push(figure(drawing, caption));
    }
    let row = |c: &Value| {
        let loss = c["loss"].as_f64().map_or("-".into(), |l| format!("{l:.4}"));
        let accuracy = [&c["accuracy"], &c["int_score"]].map(|v| share(v.as_f64()));
        let [float, int] = accuracy;
        vec![
            label(c),
            loss,
            float,
            int,
            count(c["weights_bytes"].as_u64()),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let header = [
        "bits, format",
        "loss",
        "accuracy",
        "integers",
        "bytes of weights",
    ];
    parts.push(table("Sub-networks of one training.", &header, &[0], &rows));
    parts
}

/// Rates of errors over the weights that remain.
fn pruning(name: &str, v: &Value) -> Vec<Element> {
    let rows = v["rows"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![v.clone()]);
    let mut parts = vec![heading(format!("Pruning: {name}"))];
    for row in &rows {
        let way = row["row"].as_str().unwrap_or("rounds");
        let rounds = row["rounds"].as_array().map_or(&[][..], Vec::as_slice);
        // Test samples where there are some, else validation samples.
        let figures = |r: &Value| {
            let own = [&r["test"], &r["val"]].into_iter().find(|f| f.is_object());
            own.unwrap_or(r).clone()
        };
        let curve = |name: &str, key: &str, second| Curve {
            name: name.to_string(),
            points: rounds
                .iter()
                .filter_map(|r| Some((r["remaining"].as_f64()?, figures(r)[key].as_f64()?)))
                .filter(|(x, _)| *x > 0.0)
                .collect(),
            second,
        };
        let both = [curve("FN", "fnr", false), curve("FP", "fpr", true)];
        if both.iter().any(|c| !c.points.is_empty()) {
            let caption = format!(
                "{way}: share of positives missed (FN) and of negatives taken for positives (FP)."
            );
            let drawing = curves(&caption, "share of weights that remain", "rate", &both);
            parts.push(figure(drawing, &caption));
        }
        let line = |r: &Value| {
            let f = figures(r);
            let rate = |v: &Value| share(v.as_f64());
            vec![
                count(r["round"].as_u64()),
                rate(&r["remaining"]),
                count(f["fn"].as_u64()),
                count(f["fp"].as_u64()),
                rate(&f["fnr"]),
                rate(&f["fpr"]),
                rate(&f["auc"]),
            ]
        };
        let lines: Vec<Vec<String>> = rounds.iter().map(line).collect();
        let header = [
            "round",
            "remaining",
            "FN",
            "FP",
            "FN rate",
            "FP rate",
            "AUC",
        ];
        parts.push(table(&format!("Rounds of {way}."), &header, &[], &lines));
    }
    parts
}

fn claims(name: &str, v: &Value) -> Vec<Element> {
    let all = v["claims"].as_array().map_or(&[][..], Vec::as_slice);
    let number = |v: &Value| v.as_f64().map_or("-".into(), |n| format!("{n:.4}"));
    let row = |c: &Value| {
        let holds = match c["holds"].as_bool() {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "-",
        };
        let id = c["id"].as_str().unwrap_or("?").to_string();
        let figures = [&c["mean"], &c["std"], &c["baseline"]].map(number);
        [vec![id], figures.to_vec(), vec![holds.to_string()]].concat()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let header = ["claim", "mean", "std", "baseline", ""];
    vec![
        heading(format!("Claims: {name}")),
        table(
            "Mean and standard deviation over seeds.",
            &header,
            &[0, 4],
            &rows,
        ),
    ]
}

fn files(results: &Results) -> Vec<Element> {
    let list = |files: &[(String, String)]| {
        let item = |(name, what): &(String, String)| text("li", &[], format!("{name}: {what}"));
        with(tag("ul", &[]), files.iter().map(item))
    };
    let mut parts = vec![heading("Files"), list(&results.files)];
    if !results.unknown.is_empty() {
        parts.push(text("p", &[], "Not shown:"));
        parts.push(list(&results.unknown));
    }
    parts
}

/// Names on the fronts of the networks, for machines: accuracy against flash.
pub fn best(results: &Results) -> Vec<String> {
    let both =
        |(name, n): (&String, &Network)| Some((name.clone(), (n.flash()? as f64, n.accuracy()?)));
    let all: Vec<(String, (f64, f64))> = results.networks.iter().filter_map(both).collect();
    let points: Vec<(f64, f64)> = all.iter().map(|(_, p)| *p).collect();
    let front = pareto(&points, Aim::High);
    all.into_iter()
        .zip(front)
        .filter_map(|((name, _), on)| on.then_some(name))
        .collect()
}
