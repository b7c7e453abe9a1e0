//! `elastiq compile --method nupes` and `elastiq repro nupes`.

use crate::common::{Folder, command, elastiq, json, keys};
use crate::refusals::{compile, refused};

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [
        &compile("cancer.onnx", "train.npz")[..],
        &["--method", "nupes"],
        more,
    ]
    .concat()
}

#[test]
fn learned_powers_keep_the_accuracy_and_are_the_same_for_any_number_of_threads() {
    let folder = Folder::new();
    let args = with(&["--weights", "3", "--learn", "--steps", "200", "--json"]);
    let compiled = json(&folder, &args);
    let layers = compiled["nupes"].as_array().expect("one entry per layer");
    assert_eq!(layers.len(), 3);
    for layer in layers {
        keys(layer, "name bits exponent clip searched error changed");
        assert!(
            layer["error"].as_f64() < layer["searched"].as_f64(),
            "{layer}"
        );
    }
    let of = |l: &serde_json::Value| (l["bits"].as_u64(), l["coding"].as_str() == Some("book3"));
    let ops = compiled["layers"].as_array().expect("layers");
    let coded = ops.iter().map(of).filter(|l| *l == (Some(3), true)).count();
    assert!(coded >= 2, "{ops:?}");
    let eval = json(
        &folder,
        &["eval", "new.eqm", "--data", "test.npz", "--json"],
    );
    assert!(eval["top1"].as_f64() > Some(0.95), "{eval}");
    let bytes = folder.read("new.eqm");
    let one = command(&folder, &args)
        .env("RAYON_NUM_THREADS", "1")
        .output();
    assert!(one.expect("the program starts").status.success());
    assert!(bytes == folder.read("new.eqm"));
}

#[test]
fn widths_can_differ_between_layers_and_squares_need_no_table() {
    let folder = Folder::new();
    let inspect = json(&folder, &["inspect", "cancer.eqm", "--json"]);
    let first = inspect["layers"][0]["name"]
        .as_str()
        .expect("name")
        .to_string();
    let layer = format!("{first}=2");
    let args = with(&[
        "--weights",
        "4",
        "--layer-weights",
        &layer,
        "--exponents",
        "0.5",
        "--json",
    ]);
    let compiled = json(&folder, &args);
    let exponents = |l: &serde_json::Value| l["exponent"].as_f64() == Some(0.5);
    assert!(
        compiled["nupes"]
            .as_array()
            .expect("list")
            .iter()
            .all(exponents)
    );
    assert_eq!(compiled["layers"][0]["bits"], 2);
    assert_eq!(compiled["layers"][1]["bits"], 4);
}

/// The artifact keeps the budget and is no worse than uniform widths that keep it.
#[test]
fn widths_are_chosen_within_a_budget() {
    let folder = Folder::new();
    let of = |more: &[&str]| json(&folder, &with(&[more, &["--json"]].concat()));
    let three = of(&["--weights", "3"]);
    let bytes = three["file_bytes"].as_u64().expect("bytes") + 20;
    let budget = format!("flash={bytes}");
    let mixed = of(&["--budget", &budget]);
    assert!(mixed["file_bytes"].as_u64() <= Some(bytes), "{mixed}");
    assert_eq!(mixed["file_bytes"], folder.read("new.eqm").len());
    let db = |v: &serde_json::Value| v["output"]["sqnr_db"].as_f64().expect("noise");
    assert!(
        db(&mixed) >= db(&three) - 0.5,
        "{} {}",
        db(&mixed),
        db(&three)
    );
    let average = of(&["--budget", "bits=4.5"]);
    let layers = average["nupes"].as_array().expect("layers").len();
    assert!((1..=3).contains(&layers), "{average}");
    refused(
        &folder,
        &with(&["--budget", "flash=100"]),
        "cancer.onnx",
        "nothing fits",
    );
    refused(
        &folder,
        &with(&["--budget", "instructions=9@m4"]),
        "--budget",
        "supernet",
    );
}

#[test]
fn comparison_is_at_equal_widths() {
    let folder = Folder::new();
    let args = with(&[
        "--weights",
        "3",
        "--learn",
        "--steps",
        "200",
        "--compare",
        "--eval",
        "test.npz",
        "--json",
    ]);
    let compared = json(&folder, &args);
    let rows = compared["methods"].as_array().expect("rows").clone();
    let names: Vec<&str> = rows.iter().filter_map(|r| r["method"].as_str()).collect();
    assert_eq!(
        names,
        [
            "uniform, abs-max",
            "uniform, least error",
            "uniform, AdaRound",
            "powers, searched",
            "powers, learned"
        ]
    );
    for row in &rows {
        keys(
            row,
            "top1 float_top1 agree sqnr_db weights_bytes file_bytes instructions",
        );
        assert_eq!(row["weights_bytes"], rows[0]["weights_bytes"]);
        assert_eq!(row["float_top1"], rows[0]["float_top1"]);
    }
    let db = |i: usize| rows[i]["sqnr_db"].as_f64().expect("noise");
    assert!(db(4) > db(3) + 1.0, "{rows:?}");
    assert_eq!(rows[4]["file_bytes"], folder.read("new.eqm").len());
    let table = elastiq(&folder, &with(&["--weights", "4", "--compare"]));
    assert_eq!(
        (table.code, table.out.lines().count()),
        (0, 6),
        "{}",
        table.out
    );
}

#[test]
fn bad_choices_are_refused() {
    let folder = Folder::new();
    let plain = compile("cancer.onnx", "train.npz");
    for (name, more) in [
        ("--learn", &["--learn"][..]),
        ("--acts", &["--acts", "4"]),
        ("--compare", &["--compare"]),
    ] {
        refused(
            &folder,
            &[&plain[..], more].concat(),
            name,
            "--method nupes",
        );
    }
    refused(
        &folder,
        &with(&["--weights", "4,codebook"]),
        "--method nupes",
        "per-tensor",
    );
    refused(
        &folder,
        &with(&["--exponents", "0.5,9"]),
        "--exponents",
        "0.2 to 1.5",
    );
    refused(&folder, &with(&["--acts", "1"]), "--acts", "");
    refused(
        &folder,
        &with(&["--layer-weights", "nobody=3"]),
        "cancer.onnx",
        "'nobody'",
    );
    refused(&folder, &with(&["--eval", "absent.npz"]), "absent.npz", "");
    let random = [
        "compile",
        "cancer.onnx",
        "--calib-random=-1,1",
        "-o",
        "new.eqm",
    ];
    let random = [&random[..], &["--method", "nupes", "--learn"]].concat();
    refused(&folder, &random, "--learn", "--calib");
}

/// The claims that a network of digits is large enough for; finished seeds are not run again.
#[test]
fn claims_are_reproduced_and_stored() {
    let folder = Folder::new();
    let args = [
        "repro", "nupes", "--data", "digits", "--seeds", "1", "--core", "none", "--state", "state",
        "--json",
    ];
    let run = || {
        let out = command(&folder, &args)
            .env_remove("ELASTIQ_MLPERF_TINY")
            .output();
        let out = out.expect("the program starts");
        let code = out.status.code();
        let value: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
        (code, value)
    };
    let (code, report) = run();
    let claims = report["claims"].as_array().expect("claims");
    let holds = |id: &str| {
        let claim = claims.iter().find(|c| c["id"] == id);
        claim.and_then(|c| c["holds"].as_bool())
    };
    for id in [
        "layer_error",
        "layer_error_below",
        "laplace_error",
        "learned_w3",
        "agree_with_fake",
        "power_sum",
    ] {
        assert_eq!(holds(id), Some(true), "{id}: {claims:?}");
    }
    for claim in claims {
        keys(claim, "id text mean std baseline holds");
    }
    let all = claims.iter().all(|c| c["holds"] == true);
    assert_eq!(code, Some(i32::from(!all)));
    let stored = folder.names_in("state");
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert!(run() == (code, report), "a stored result prints the same");
}
