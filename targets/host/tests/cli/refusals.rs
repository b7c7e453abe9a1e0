//! Bad input: exit code 2, one line on standard error that names the file, nothing left behind.

use crate::common::{Folder, Ran, elastiq};

/// A run on bad input: exit code 2, nothing on standard output, one line on standard error that names `file`, and
/// the folder as it was before.
#[track_caller]
pub fn refused(folder: &Folder, args: &[&str], file: &str, why: &str) {
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

/// Arguments that compile `model` to `new.eqm`.
pub fn compile<'a>(model: &'a str, calib: &'a str) -> [&'a str; 6] {
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
        &with(&["--weights", "4,book"]),
        "--weights",
        "none of codebook, nested, asymmetric, per-tensor",
    );
    refused(
        &folder,
        &with(&["--layer-weights", "nowhere=4"]),
        "nowhere",
        "no layer with weights",
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
    refused(&folder, &["bench"], "<MODEL>", "not provided");
    refused(
        &folder,
        &["bench", "cancer.eqm", "--kernels"],
        "MODEL",
        "cannot be used with",
    );
    refused(&folder, &["bench", "cancer.eqm", "--size"], "--size", "m4");
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
