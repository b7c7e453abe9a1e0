//! The program as a user meets it: exit codes, one-line errors, files left behind, JSON.

mod common;

use common::{Folder, Ran, elastiq, json, keys};

/// A run on bad input: exit code 2, nothing on standard output, one line on standard error that names `file`, and
/// the folder as it was before.
#[track_caller]
fn refused(folder: &Folder, args: &[&str], file: &str, why: &str) {
    let before = folder.names();
    let Ran { code, out, err } = elastiq(folder, args);
    assert_eq!(code, 2, "{args:?}: {err}");
    assert_eq!(out, "", "{args:?}");
    assert!(
        err.starts_with("error: ") && err.trim_end().lines().count() == 1,
        "{args:?}: {err:?}"
    );
    assert!(err.contains(file), "{args:?}: {err:?} does not name {file}");
    assert!(err.contains(why), "{args:?}: {err:?} does not say {why:?}");
    assert_eq!(folder.names(), before, "{args:?}");
}

fn compile<'a>(model: &'a str, calib: &'a str) -> [&'a str; 6] {
    ["compile", model, "--calib", calib, "-o", "new.eqm"]
}

#[test]
fn bad_networks_are_refused() {
    let folder = Folder::new();
    let good = folder.read("cancer.onnx");
    folder.write("text.onnx", b"this is not a network");
    folder.write("empty.onnx", b"");
    folder.write("half.onnx", &good[..good.len() / 2]);
    std::fs::create_dir(folder.path("folder.onnx")).expect("folder");
    refused(&folder, &compile("text.onnx", "train.npz"), "text.onnx", "");
    refused(
        &folder,
        &compile("empty.onnx", "train.npz"),
        "empty.onnx",
        "",
    );
    refused(&folder, &compile("half.onnx", "train.npz"), "half.onnx", "");
    refused(
        &folder,
        &compile("absent.onnx", "train.npz"),
        "absent.onnx",
        "",
    );
    refused(
        &folder,
        &compile("folder.onnx", "train.npz"),
        "folder.onnx",
        "directory",
    );
}

/// The weights of the first layer, 16 x 30 floats, follow their tag and length (field 9, 1,920 bytes).
#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = Folder::new();
    let mut bytes = folder.read("cancer.onnx");
    let at = bytes
        .windows(3)
        .position(|w| w == [0x4a, 0x80, 0x0f])
        .expect("weights of the first layer")
        + 3;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    folder.write("nan.onnx", &bytes);
    refused(&folder, &compile("nan.onnx", "train.npz"), "nan.onnx", "");
}

#[test]
fn bad_data_is_refused() {
    let folder = Folder::new();
    folder.npz("shape.npz", &[4, 29], |_| 0.5, Some(vec![0, 1, 0, 1]));
    folder.npz("none.npz", &[0, 30], |_| 0.5, Some(vec![]));
    folder.npz(
        "nan.npz",
        &[4, 30],
        |i| if i == 31 { f32::NAN } else { 0.5 },
        Some(vec![0, 1, 0, 1]),
    );
    folder.npz("short.npz", &[4, 30], |_| 0.5, Some(vec![0, 1, 0]));
    folder.npz("label.npz", &[4, 30], |_| 0.5, Some(vec![0, 1, 2, 1]));
    folder.npz("minus.npz", &[4, 30], |_| 0.5, Some(vec![0, 1, -1, 1]));
    folder.write(
        "nothing.npz",
        b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    );
    folder.write("text.npz", b"no archive");
    folder.write("data.bin", b"1");
    let cases = [
        ("shape.npz", "[29]"),
        ("none.npz", "empty"),
        ("nan.npz", "NaN at index [1, 1]"),
        ("short.npz", "3 labels for 4 samples"),
        ("label.npz", "label 2 of sample 2"),
        ("minus.npz", "negative"),
        ("nothing.npz", "no array"),
        ("text.npz", ".npz archive"),
        ("data.bin", "not a data file"),
        ("absent.npz", "No such file"),
        ("absent", "no such file"),
    ];
    for (file, why) in cases {
        refused(&folder, &compile("cancer.onnx", file), file, why);
        if file != "shape.npz" {
            refused(&folder, &["eval", "cancer.eqm", "--data", file], file, why);
        }
    }
    refused(
        &folder,
        &["eval", "cancer.eqm", "--data", "shape.npz"],
        "shape.npz",
        "[30]",
    );
    refused(
        &folder,
        &["bench", "cancer.eqm", "--data", "shape.npz"],
        "shape.npz",
        "[30]",
    );
}

#[test]
fn bad_artifacts_are_refused() {
    let folder = Folder::new();
    let good = folder.read("cancer.eqm");
    folder.write("cut.eqm", &good[..good.len() - 7]);
    folder.write("stub.eqm", &good[..20]);
    folder.write("empty.eqm", b"");
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    folder.write("flipped.eqm", &flipped);
    for file in [
        "cut.eqm",
        "stub.eqm",
        "empty.eqm",
        "flipped.eqm",
        "cancer.onnx",
        "absent.eqm",
    ] {
        refused(&folder, &["inspect", file], file, "");
        refused(&folder, &["inspect", file, "--svg", "new.svg"], file, "");
        refused(&folder, &["eval", file, "--data", "test.npz"], file, "");
        refused(&folder, &["bench", file], file, "");
    }
    refused(
        &folder,
        &["inspect", "flipped.eqm"],
        "flipped.eqm",
        "checksum",
    );
}

#[test]
fn bad_arguments_are_refused() {
    let folder = Folder::new();
    refused(&folder, &[], "--help", "no subcommand");
    refused(
        &folder,
        &["data", "--nonsense"],
        "--nonsense",
        "unexpected argument",
    );
    refused(
        &folder,
        &["data", "imagenet"],
        "imagenet",
        "no such data set",
    );
    refused(
        &folder,
        &["compile", "cancer.onnx", "-o", "new.eqm"],
        "--calib",
        "required",
    );
    let with = |more: &[&'static str]| [&compile("cancer.onnx", "train.npz")[..], more].concat();
    refused(
        &folder,
        &with(&["--weights", "4"]),
        "--weights",
        "widths below 8 are not available yet",
    );
    refused(&folder, &with(&["--weights", "9"]), "--weights", "");
    refused(
        &folder,
        &with(&["--range", "percentile:7"]),
        "--range",
        "percentile",
    );
    refused(&folder, &with(&["--method", "magic"]), "--method", "");
    refused(
        &folder,
        &with(&["--labels", "a,b,c"]),
        "--labels",
        "2 classes",
    );
    refused(
        &folder,
        &with(&["--labels", "absent.txt"]),
        "absent.txt",
        "",
    );
    refused(&folder, &with(&["--input-shape", "x"]), "--input-shape", "");
    refused(
        &folder,
        &[
            "eval",
            "cancer.eqm",
            "--data",
            "test.npz",
            "--positive",
            "cat",
        ],
        "cat",
        "no such class",
    );
    refused(
        &folder,
        &["eval", "cancer.eqm", "--data", "unlabelled.npy"],
        "unlabelled.npy",
        "--float",
    );
    refused(&folder, &["bench", "cancer.eqm", "--on", "z80"], "z80", "");
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let folder = Folder::new();
    let into = |o: &'static str| ["compile", "cancer.onnx", "--calib", "train.npz", "-o", o];
    refused(
        &folder,
        &into("absent/new.eqm"),
        "absent/new.eqm",
        "cannot write",
    );
    std::fs::create_dir(folder.path("folder.eqm")).expect("folder");
    refused(&folder, &into("folder.eqm"), "folder.eqm", "directory");
    refused(
        &folder,
        &into("train.npz/new.eqm"),
        "train.npz/new.eqm",
        "cannot write",
    );
    refused(
        &folder,
        &["inspect", "cancer.eqm", "--svg", "absent/map.svg"],
        "absent/map.svg",
        "cannot write",
    );
    // An existing artifact survives a compilation that fails.
    let old = folder.read("cancer.eqm");
    folder.npz("shape.npz", &[4, 29], |_| 0.5, None);
    refused(
        &folder,
        &[
            "compile",
            "cancer.onnx",
            "--calib",
            "shape.npz",
            "-o",
            "cancer.eqm",
        ],
        "shape.npz",
        "",
    );
    assert_eq!(folder.read("cancer.eqm"), old);
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
    keys(&bench, "core median_us macs matches_host layers");
    keys(&bench["layers"][0], "name op macs instructions median_us");
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
