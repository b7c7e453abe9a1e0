//! `elastiq report`: the page says what the files say, and a browser shows it.

use crate::common::{Folder, elastiq, json};
use crate::refusals::refused;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::json;
use std::process::Command;

/// Networks: name, accuracy, bytes, instructions on m4. The last but one is beaten by the first in both plots, the last in
/// the plot of bytes alone.
const NETWORKS: [(&str, f64, u64, u64); 4] = [
    ("small", 0.91, 5_000, 90_000),
    ("large", 0.97, 20_000, 120_000),
    ("beaten", 0.90, 6_000, 95_000),
    ("<fast & odd>", 0.90, 7_000, 60_000),
];

/// A folder `out` with JSON of four networks, a real artifact, a pruning, a search, claims, and files of no use.
fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("out")).expect("folder");
    let put = |name: &str, v: serde_json::Value| {
        folder.write(&format!("out/{name}"), v.to_string().as_bytes());
    };
    for (name, top1, bytes, instructions) in NETWORKS {
        let layers = json!([
            { "name": "first", "bits": 8, "sqnr_db": 30.5, "macs": 10 },
            { "name": "pool", "bits": 0, "sqnr_db": null, "macs": 0 },
            { "name": "second", "bits": 4, "sqnr_db": 12.0, "macs": 10 },
        ]);
        put(
            &format!("{name}.compile.json"),
            json!({ "arena_bytes": 1000, "weights_bytes": 1, "file_bytes": bytes, "layers": layers }),
        );
        put(
            &format!("{name}.eval.json"),
            json!({ "n": 100, "top1": top1 }),
        );
        let bench = json!({ "core": "m4", "macs": 20, "instructions": instructions, "layers": [] });
        put(&format!("{name}.m4.json"), bench);
    }
    let round = |i: u32| {
        let f =
            json!({ "fn": i, "fp": 2 * i, "fnr": 0.01 * f64::from(i), "fpr": 0.02, "auc": 0.9 });
        json!({ "round": i, "remaining": 0.5f64.powi(i as i32), "val": f })
    };
    let rounds: Vec<_> = (0..7).map(round).collect();
    put(
        "prune.json",
        json!({ "rows": [{ "row": "plain", "rounds": rounds }] }),
    );
    let point = |loss: f64, flash: u64| json!({ "loss": loss, "flash": flash });
    put(
        "search.json",
        json!({
            "budget": { "flash": 9000 }, "loss": 0.1, "costs": { "flash": 8000 },
            "uniform": point(0.2, 7000), "random": point(0.15, 8500), "config": { "layers": [] },
            "points": [point(0.2, 7000), point(0.15, 8500), point(0.1, 8000)],
        }),
    );
    let claim = json!({ "id": "gain", "mean": 1.5, "std": 0.1, "baseline": 1.0, "holds": false });
    put("claims.json", json!({ "claims": [claim] }));
    put("other.json", json!({ "key": 1 }));
    folder.write("out/broken.json", b"{");
    folder.write("out/notes.txt", b"not looked at");
    folder.write("out/damaged.eqm", b"EQ");
    std::fs::copy(folder.path("cancer.eqm"), folder.path("out/cancer.eqm")).expect("artifact");
    folder
}

fn page(folder: &Folder) -> String {
    let report = json(folder, &["report", "out", "--json"]);
    assert_eq!(
        report["unknown"],
        json!(["broken.json", "damaged.eqm", "other.json"])
    );
    assert_eq!(report["front"], json!(["large", "small"]));
    String::from_utf8(folder.read("out/report.html")).expect("text")
}

fn parse(text: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    Document::parse_with_options(text, options).expect("well-formed")
}

/// The drawing whose title starts with `title`.
fn drawing<'a>(doc: &'a Document, title: &str) -> Node<'a, 'a> {
    let is = |n: &Node| {
        n.has_tag_name("svg")
            && n.first_element_child()
                .is_some_and(|t| t.text().unwrap_or_default().trim().starts_with(title))
    };
    doc.descendants()
        .find(is)
        .unwrap_or_else(|| panic!("no drawing {title}"))
}

/// `(data-x, data-y, cx, cy, on the front)` of all points.
fn points(svg: Node) -> Vec<(f64, f64, f64, f64, bool)> {
    let class = |n: &Node| n.attribute("class").unwrap_or_default().to_string();
    let number = |n: &Node, key: &str| {
        let text = n.attribute(key).unwrap_or_else(|| panic!("no {key}"));
        text.parse().expect("number")
    };
    svg.descendants()
        .filter(|n| n.has_tag_name("circle") && class(n).starts_with("point"))
        .map(|n| {
            let [x, y, cx, cy] = ["data-x", "data-y", "cx", "cy"].map(|key| number(&n, key));
            (x, y, cx, cy, class(&n).contains("pareto"))
        })
        .collect()
}

/// Heading of a plot, cost of a network by its index, names of the networks on the front.
type Plot = (&'static str, fn(usize) -> u64, &'static [&'static str]);

#[test]
fn points_and_fronts_are_those_of_the_files() {
    let folder = folder();
    let text = page(&folder);
    let doc = parse(&text);
    let costs: [Plot; 2] = [
        (
            "Accuracy against flash",
            |i| NETWORKS[i].2,
            &["small", "large"],
        ),
        (
            "Accuracy against instructions",
            |i| NETWORKS[i].3,
            &["small", "large", "<fast & odd>"],
        ),
    ];
    for (title, cost, front) in costs {
        let drawn = points(drawing(&doc, title));
        assert_eq!(drawn.len(), NETWORKS.len(), "{title}");
        for (i, (name, top1, ..)) in NETWORKS.iter().enumerate() {
            let point = drawn.iter().find(|p| p.0 == cost(i) as f64 && p.1 == *top1);
            let point = point.unwrap_or_else(|| panic!("{title}: {name} is not drawn"));
            assert_eq!(point.4, front.contains(name), "{title}: {name}");
        }
        for (a, b) in drawn.iter().flat_map(|a| drawn.iter().map(move |b| (a, b))) {
            assert_eq!(a.0 < b.0, a.2 < b.2, "{title}: order along x");
            assert_eq!(a.1 < b.1, a.3 > b.3, "{title}: better is higher");
        }
    }
    let rounds = points(drawing(&doc, "plain:"));
    assert_eq!(rounds.len(), 14, "seven rounds, FN and FP");
    assert!(rounds.iter().any(|p| p.0 == 0.5f64.powi(6) && p.1 == 0.06));
    let search = points(drawing(&doc, "Loss against flash"));
    let front: Vec<f64> = search.iter().filter(|p| p.4).map(|p| p.1).collect();
    assert_eq!((search.len(), front.as_slice()), (3, &[0.2, 0.1][..]));
    let bars = |title| {
        let bars = drawing(&doc, title).descendants();
        let values = bars.filter_map(|n| n.attribute("data-value")?.parse::<f64>().ok());
        values.collect::<Vec<_>>()
    };
    assert_eq!(bars("Width of the weights"), [8.0, 4.0]);
    assert_eq!(bars("Signal to quantization"), [30.5, 12.0]);
    assert!(text.contains("arena of 112 bytes"), "the map of cancer.eqm");
    for words in [
        "does not hold",
        "Not shown:",
        "other.json",
        "&lt;fast &amp; odd&gt;",
    ] {
        assert!(text.contains(words), "{words}");
    }
    for (outside, why) in [
        ("http", "addresses"),
        ("<script", "scripts"),
        ("src=", "sources"),
        ("url(", "sources"),
    ] {
        assert!(
            !text.contains(outside) || outside == "http" && only_namespaces(&text),
            "{why}"
        );
    }
}

/// Every address is the name of the namespace of a drawing, which nothing loads.
fn only_namespaces(text: &str) -> bool {
    text.replace("http://www.w3.org/2000/svg", "")
        .find("http")
        .is_none()
}

#[test]
fn folders_without_results_are_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("empty")).expect("folder");
    refused(
        &folder,
        &["report", "empty"],
        "empty",
        "nothing to report on",
    );
    refused(&folder, &["report", "absent"], "absent", "");
    refused(&folder, &["report", "cancer.eqm"], "cancer.eqm", "");
    let ran = elastiq(&folder, &["report", ".", "-o", "no/page.html"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

/// A headless Chromium lays the page out as wide as a phone: nothing overflows, every drawing has a size.
#[test]
fn a_browser_shows_the_page_at_the_width_of_a_phone() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let works = |name: &&&str| {
        let ran = Command::new(name).arg("--version").output();
        ran.is_ok_and(|out| out.status.success())
    };
    let Some(browser) = names.iter().find(works) else {
        panic!("chromium is missing: apt-get install chromium");
    };
    let folder = folder();
    page(&folder);
    let script = "<iframe id='f' src='out/report.html' style='width:360px;height:800px;border:0'></iframe>\
        <pre id='found'></pre><script>onload = () => {\
        const d = document.getElementById('f').contentDocument, e = d.documentElement;\
        const all = [...d.querySelectorAll('svg')];\
        const flat = all.filter(s => s.getBoundingClientRect().height < 20).length;\
        document.getElementById('found').textContent = \
        ['beyond', e.scrollWidth - e.clientWidth, 'drawings', all.length, 'flat', flat].join(' '); };</script>";
    folder.write("frame.html", script.as_bytes());
    let profile = format!("--user-data-dir={}", folder.path("profile").display());
    let address = format!("file://{}", folder.path("frame.html").display());
    let out = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--allow-file-access-from-files",
            "--virtual-time-budget=5000",
        ])
        .args(["--window-size=600,900", &profile, "--dump-dom", &address])
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&out.stdout);
    let found = dom
        .split("<pre id=\"found\">")
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    let drawings = String::from_utf8(folder.read("out/report.html"))
        .expect("text")
        .matches("<svg")
        .count();
    let want = format!("beyond 0 drawings {drawings} flat 0");
    assert_eq!(found, Some(want.as_str()), "{}", stderr_end(&out.stderr));
}

fn stderr_end(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().take(3).collect::<Vec<_>>().join("; ")
}
