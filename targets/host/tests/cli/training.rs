//! `elastiq train`: from a description and from a network, interrupted and resumed, and what it refuses.

use crate::common::{Folder, elastiq, interrupted, json, renamed, resumed};
use crate::refusals::{compile, refused};

const NET: &str = "input = [30]\n\
    [[layer]]\ntype = \"dense\"\nname = \"hidden\"\nunits = 12\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nunits = 2\n";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("net.toml", NET.as_bytes());
    folder
}

/// Arguments that train `model` to `out.onnx`.
fn train<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let first = ["train", model, "--data", "train.npz", "-o", "out.onnx"];
    first.iter().chain(more).copied().collect()
}

#[test]
fn a_description_becomes_a_network_that_compiles() {
    let folder = folder();
    let more = [
        "--val", "val.npz", "--epochs", "12", "--lr", "0.01", "--json",
    ];
    let report = json(&folder, &train("net.toml", &more));
    assert!(
        report["int_score"].as_f64().expect("score") > 0.9,
        "{report}"
    );
    assert_eq!(report["parameters"], 30 * 12 + 12 + 12 * 2 + 2);
    assert_eq!(report["epochs"].as_array().expect("epochs").len(), 13);
    assert!(report["samples_per_s"].as_f64().expect("rate") > 0.0);
    let ran = elastiq(&folder, &compile("out.onnx", "train.npz"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let eval = [
        "eval", "new.eqm", "--data", "val.npz", "--float", "out.onnx", "--json",
    ];
    let eval = json(&folder, &eval);
    assert!(eval["top1"].as_f64().expect("top1") > 0.9, "{eval}");
}

#[test]
fn a_network_is_tuned_and_never_gets_worse() {
    let folder = folder();
    let more = [
        "--val", "val.npz", "--epochs", "3", "--lr", "1e-4", "--json",
    ];
    let report = json(&folder, &train("cancer.onnx", &more));
    let epochs = report["epochs"].as_array().expect("epochs");
    let before = epochs[0]["int_score"].as_f64().expect("score");
    assert!(
        report["int_score"].as_f64().expect("score") >= before,
        "{report}"
    );
    let first = folder.read("out.onnx");
    json(&folder, &train("cancer.onnx", &more));
    assert_eq!(first, folder.read("out.onnx"), "the same every time");
}

#[test]
fn interrupted_training_goes_on_to_the_same_network() {
    let folder = folder();
    let more = [
        "--epochs",
        "150",
        "--val-fraction",
        "0.2",
        "--checkpoint",
        "state",
    ];
    let args = train("net.toml", &more);
    interrupted(&folder, &args, "state/last.ckpt");
    assert!(!folder.path("out.onnx").exists());
    resumed(&folder, &args);
    let network = folder.read("out.onnx");
    renamed(&folder, &args, "state", "other");
    assert_eq!(network, folder.read("out.onnx"));
}

#[test]
fn bad_input_is_refused() {
    let folder = folder();
    let no = |args: &[&str], file: &str, why: &str| refused(&folder, args, file, why);
    folder.write("typo.toml", NET.replace("units = 2", "unit = 2").as_bytes());
    folder.write("weights.txt", b"1.0, heavy");
    folder.write("three.txt", b"1 2 3");
    no(
        &train("typo.toml", &[]),
        "typo.toml",
        "layer 2 (`dense2`, dense): `units` is missing",
    );
    no(&train("absent.toml", &[]), "absent.toml", "");
    no(&train("absent.onnx", &[]), "absent.onnx", "");
    no(&train("train.npz", &[]), "train.npz", "not an ONNX");
    let unlabelled = [
        "train",
        "net.toml",
        "--data",
        "unlabelled.npy",
        "-o",
        "out.onnx",
    ];
    no(&unlabelled, "unlabelled.npy", "has no labels");
    let nowhere = [
        "train",
        "net.toml",
        "--data",
        "train.npz",
        "-o",
        "no/out.onnx",
    ];
    no(&nowhere, "no/out.onnx", "cannot write");
    for (option, value, why) in [
        ("--lr", "0", "learning rate must be above 0"),
        ("--epochs", "0", "epochs must be at least 1"),
        ("--label-smoothing", "1", "label smoothing must be"),
        ("--mixup", "2", "mixup must be from 0 to 1"),
        ("--val-fraction", "1.5", "not between 0 and 1"),
        ("--class-weights", "weights.txt", "`heavy` is not a number"),
        ("--class-weights", "three.txt", "3 weights for 2 classes"),
        ("--schedule", "linear", "expected constant, cosine or step"),
        ("--clip", "3", "expected norm:MOST or value:MOST"),
        ("--optimizer", "lion", "expected adam, sgd"),
    ] {
        no(&train("net.toml", &[option, value]), "", why);
    }
    no(&train("net.toml", &["--resume"]), "", "--checkpoint");
    no(
        &train("net.toml", &["--resume", "--checkpoint", "none"]),
        "none/last.ckpt",
        "",
    );
    #[cfg(not(feature = "gpu"))]
    no(
        &train("net.toml", &["--device", "gpu"]),
        "gpu",
        "built without it",
    );
    no(
        &train("net.toml", &["--lr", "1e38", "--optimizer", "sgd:0"]),
        "epoch 1, batch",
        "node `hidden`",
    );
}
