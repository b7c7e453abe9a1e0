//! What the subcommands print and write.

use crate::common::{self, Folder, Ran, elastiq, json, keys};
use crate::refusals::{compile, refused};

/// Without META the artifact is smaller, runs and gives the same bytes; what needs the layouts is refused.
#[test]
fn artifacts_without_meta_run() {
    let folder = Folder::new();
    let compile = [
        &compile("cancer.onnx", "train.npz")[..],
        &["--no-meta", "--json"],
    ]
    .concat();
    let bare = json(&folder, &compile);
    assert_eq!(bare["file_bytes"], folder.read("new.eqm").len());
    let sections = |file: &str| {
        let inspect = json(&folder, &["inspect", file, "--json"]);
        assert_eq!(inspect["self_test"]["passed"], 1, "{inspect}");
        inspect["sections"].as_array().map(Vec::len)
    };
    assert_eq!(sections("new.eqm").map(|n| n + 1), sections("cancer.eqm"));
    assert!(folder.read("new.eqm").len() + 500 < folder.read("cancer.eqm").len());
    let bench = json(&folder, &["bench", "new.eqm", "--json"]);
    assert_eq!(bench["matches_host"], true);
    let Ran { code, err, .. } = elastiq(&folder, &["eval", "new.eqm", "--data", "test.npz"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("new.eqm") && err.contains("META"), "{err}");
}

#[test]
fn json_is_one_object_with_stable_keys() {
    let folder = Folder::new();
    let compiled = json(
        &folder,
        &[&compile("cancer.onnx", "train.npz")[..], &["--json"]].concat(),
    );
    keys(
        &compiled,
        "arena_bytes arena_bound_bytes scratch_bytes weights_bytes file_bytes macs macs_imported layers",
    );
    keys(&compiled["layers"][0], "name op macs bits coding");
    assert_eq!(compiled["macs"], 30 * 16 + 16 * 8 + 8 * 2);
    assert_eq!(compiled["file_bytes"], folder.read("new.eqm").len());

    let args = [
        "eval",
        "cancer.eqm",
        "--data",
        "test.npz",
        "--float",
        "cancer.onnx",
        "--positive",
        "malignant",
        "--json",
    ];
    let eval = json(&folder, &args);
    keys(
        &eval,
        "n top1 float_top1 auc fn fp agree confusion positive output_error",
    );
    assert_eq!(eval["n"], 113);
    assert!(
        eval["float_top1"].as_f64() > Some(0.98) && eval["top1"].as_f64() > Some(0.96),
        "{eval}"
    );
    assert!(
        eval["auc"].as_f64() > Some(0.97) && eval["agree"].as_f64() > Some(0.97),
        "{eval}"
    );
    assert_eq!(eval["positive"]["fn"], eval["fn"][0]);
    let wrong = |key: &str| {
        eval[key]
            .as_array()
            .expect("array")
            .iter()
            .map(|v| v.as_u64().expect("count"))
            .sum::<u64>()
    };
    assert_eq!(wrong("fn"), wrong("fp"));
    let top1 = 1.0 - wrong("fn") as f64 / 113.0;
    assert!(
        (eval["top1"].as_f64().expect("top1") - top1).abs() < 1e-9,
        "{eval}"
    );

    let bench = json(&folder, &["bench", "cancer.eqm", "--json"]);
    keys(
        &bench,
        "core backend median_us spread_us macs matches_host layers",
    );
    keys(
        &bench["layers"][0],
        "name op macs scratch_bytes instructions median_us spread_us",
    );
    assert_eq!(bench["core"], "host");
    assert_eq!(bench["matches_host"], true);
    assert_eq!(bench["macs"], compiled["macs"]);

    let inspect = json(&folder, &["inspect", "cancer.eqm", "--json"]);
    keys(
        &inspect,
        "format arith arena_bytes macs variants self_test inputs outputs sections layers arena",
    );
    assert_eq!(
        inspect["self_test"]["passed"],
        inspect["self_test"]["cases"]
    );
    assert_eq!(inspect["macs"], compiled["macs"]);
    assert_eq!(inspect["outputs"][0]["labels"][0], "malignant");

    let data = json(&folder, &["data", "digits", "--out", "sets", "--json"]);
    assert_eq!(data["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        folder.names_in("sets"),
        ["digits_test.npz", "digits_train.npz", "digits_val.npz"]
    );
}

#[test]
fn the_memory_map_shows_every_tensor() {
    let folder = Folder::new();
    let Ran { code, out, err } = elastiq(&folder, &["inspect", "cancer.eqm", "--svg", "map.svg"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("self-test: passed 1/1"), "{out}");
    let drawing = String::from_utf8(folder.read("map.svg")).expect("text");
    let blocks = json(&folder, &["inspect", "cancer.eqm", "--json"])["arena"]
        .as_array()
        .expect("blocks")
        .len();
    assert!(drawing.starts_with("<svg") && drawing.trim_end().ends_with("</svg>"));
    assert_eq!(drawing.matches("<title>").count(), blocks);
}

#[test]
fn without_labels_the_float_network_is_the_measure() {
    let folder = Folder::new();
    let args = [
        "eval",
        "cancer.eqm",
        "--data",
        "unlabelled.npy",
        "--float",
        "cancer.onnx",
        "--json",
    ];
    let eval = json(&folder, &args);
    assert!(eval["top1"].is_null() && eval["fn"].is_null(), "{eval}");
    assert!(
        eval["output_error"]["snr_db"].as_f64() > Some(15.0),
        "{eval}"
    );
}

#[test]
fn a_threshold_moves_errors_from_one_side_to_the_other() {
    let folder = Folder::new();
    let at = |t: &str| {
        let args = [
            "eval",
            "cancer.eqm",
            "--data",
            "test.npz",
            "--positive",
            "malignant",
            "--threshold",
            t,
            "--json",
        ];
        let e = json(&folder, &args);
        let count = |key: &str| e["positive"][key].as_u64().expect("count");
        (count("fn"), count("fp"))
    };
    assert_eq!(at("-1"), (0, 71));
    assert_eq!(at("2"), (42, 0));
    let (low, high) = (at("0.1"), at("0.9"));
    assert!(low.0 <= high.0 && low.1 >= high.1, "{low:?} {high:?}");
}

#[test]
fn quickstart_runs_on_this_machine() {
    let folder = Folder::new();
    let quick = json(
        &folder,
        &["quickstart", "--cores", "none", "--out", "out", "--json"],
    );
    let networks = quick["networks"].as_array().expect("networks");
    assert_eq!(networks.len(), 8);
    for row in networks {
        keys(
            row,
            "network n float_top1 top1 agree file_bytes arena_bytes arena_bound_bytes macs cores",
        );
        assert!(row["top1"].as_f64() > Some(0.95), "{row}");
    }
    assert_eq!(quick["failed"].as_array().map(Vec::len), Some(0));
    assert!(
        folder
            .names_in("out")
            .contains(&"digits_cnn.eqm".to_string())
    );
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let folder = Folder::new();
    for name in [
        "quickstart",
        "compile",
        "inspect",
        "eval",
        "bench",
        "doctor",
        "data",
    ] {
        let Ran { code, out, err } = elastiq(&folder, &[name, "--help"]);
        assert_eq!((code, err.as_str()), (0, ""), "{name}");
        assert!(
            out.contains(&format!("Example:\n  elastiq {name}")),
            "{out}"
        );
    }
    assert_eq!(elastiq(&folder, &["--version"]).code, 0);
}

/// A reader that goes away early is not an error, and no panic.
#[cfg(unix)]
#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    for args in [
        &["inspect", "cancer.eqm"][..],
        &["--help"],
        &["inspect", "cancer.eqm", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().expect("pipe");
        drop(reader);
        let out = common::command(&folder, args)
            .stdout(writer)
            .output()
            .expect("runs");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{args:?}");
        assert_eq!(out.status.code(), Some(0), "{args:?}");
    }
}

/// Several widths in one artifact: each is found by name or index, scored and timed; a name that is not there is refused.
#[test]
fn variants_are_compiled_inspected_and_chosen() {
    let folder = Folder::new();
    let compile = [
        &compile("cancer.onnx", "train.npz")[..],
        &["--variants", "8,2,5", "--json"],
    ]
    .concat();
    let compiled = json(&folder, &compile);
    let names = |report: &serde_json::Value| -> Vec<String> {
        let all = report["variants"].as_array().cloned().unwrap_or_default();
        let name = |v: &serde_json::Value| v["name"].as_str().unwrap_or_default().to_string();
        all.iter().map(name).collect()
    };
    assert_eq!(names(&compiled), ["8", "2", "5"]);
    let inspect = json(&folder, &["inspect", "new.eqm", "--json"]);
    assert_eq!(names(&inspect), ["8", "2", "5"]);
    assert_eq!(inspect["self_test"]["passed"], 3, "{inspect}");
    assert!(inspect["variants"][0]["own_weights_bytes"].as_u64() > Some(0));
    assert_eq!(inspect["variants"][1]["own_weights_bytes"], 0);
    assert_eq!(inspect["variants"][2]["average_bits"], 5.0);

    let eval = |more: &[&str]| {
        let data = ["--data", "test.npz", "--float", "cancer.onnx"];
        let args = [&["eval", "new.eqm", "--json"], &data[..], more].concat();
        json(&folder, &args)
    };
    let scores: Vec<_> = ["8", "2", "5"].map(|v| eval(&["--variant", v])).into();
    assert_eq!(eval(&[]), scores[0], "the first if none is named");
    // No variant is called 1: that is an index, and 2 is a name before it is one.
    assert_eq!(eval(&["--variant", "1"]), scores[1]);
    assert_ne!(scores[0], scores[1]);
    let bench = json(&folder, &["bench", "new.eqm", "--variant", "5", "--json"]);
    assert_eq!(
        (&bench["variant"], &bench["matches_host"]),
        (&"5".into(), &true.into())
    );

    let choose = |file, name| ["eval", file, "--data", "test.npz", "--variant", name];
    refused(
        &folder,
        &choose("new.eqm", "7"),
        "new.eqm",
        "there are 8, 2, 5",
    );
    refused(
        &folder,
        &choose("cancer.eqm", "8"),
        "cancer.eqm",
        "has one, without a name",
    );
    for (list, why) in [
        ("8,8", "two variants are called '8'"),
        ("9", "9"),
        ("4,x", "x"),
    ] {
        let args = [
            "compile",
            "cancer.onnx",
            "--calib",
            "train.npz",
            "-o",
            "b.eqm",
            "--variants",
            list,
        ];
        let Ran { code, err, .. } = elastiq(&folder, &args);
        assert_eq!(code, 2, "{list}: {err}");
        assert!(err.contains(why), "{list}: {err}");
    }
    assert!(!folder.names().contains(&"b.eqm".to_string()));
}
