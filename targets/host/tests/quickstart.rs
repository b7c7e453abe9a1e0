//! The first command of a new user, as a program: what it prints for machines, and that it holds.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// Instructions of one run of the smallest network are above this, those of the largest below.
const INSTRUCTIONS: std::ops::Range<u64> = 1_000..100_000_000;

fn elastiq(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastiq"));
    command.args(args).stdin(Stdio::null());
    command.output().expect("the program starts")
}

#[test]
fn quickstart_prints_figures_that_hold() {
    let out = concat!(env!("CARGO_TARGET_TMPDIR"), "/quickstart");
    let output = elastiq(&["quickstart", "--json", "--cores", "m4,rv32", "--out", out]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object on stdout");
    assert_eq!(report["skipped"], Value::Null);
    assert_eq!(report["failed"], Value::Array(vec![]));
    let networks = report["networks"].as_array().expect("networks");
    assert!(networks.len() >= 6, "{} networks", networks.len());
    for network in networks {
        check(network);
    }
    // The same network and data give the same bytes; `ELASTIQ_OVERWRITE=1` accepts new ones.
    let stored = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/models/digits_cnn.eqm"
    );
    let made = std::fs::read(format!("{out}/digits_cnn.eqm")).expect("artifact");
    if std::env::var_os("ELASTIQ_OVERWRITE").is_some() {
        std::fs::write(stored, &made).expect("examples/models is writable");
    }
    assert!(
        made == std::fs::read(stored).expect("stored artifact"),
        "{stored} is not what compilation gives"
    );
}

/// The operator table of the README is the importer's.
#[test]
fn readme_lists_the_accepted_operators() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let head = "| ONNX operator | accepted |\n|---|---|\n";
    let (_, table) = readme.split_once(head).expect("operator table");
    let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
    let want: Vec<String> = elastiq_quant::import::OPERATORS
        .iter()
        .map(|(name, note)| format!("| {name} | {note} |"))
        .collect();
    assert_eq!(rows, want);
}

fn check(network: &Value) {
    let name = &network["network"];
    let number = |key: &str| {
        network[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: no {key}"))
    };
    assert!(number("n") >= 100.0, "{name}");
    assert!(
        number("top1") >= 0.95 && number("top1") >= number("float_top1") - 0.02,
        "{name}"
    );
    assert!(number("agree") >= 0.97, "{name}");
    assert!(
        number("arena_bytes") >= number("arena_bound_bytes"),
        "{name}"
    );
    assert!(number("file_bytes") > 0.0 && number("macs") > 0.0, "{name}");
    assert_eq!(network["self_test"], true, "{name}");
    let cores = network["cores"].as_array().expect("cores");
    let names: Vec<&str> = cores.iter().filter_map(|c| c["core"].as_str()).collect();
    assert_eq!(names, ["m4", "rv32"], "{name}");
    for core in cores {
        assert_eq!(core["matches_host"], true, "{name}: {core}");
        assert!(
            core["instructions"]
                .as_u64()
                .is_some_and(|n| INSTRUCTIONS.contains(&n)),
            "{name}: {core}"
        );
    }
}

#[test]
fn a_missing_file_is_one_line_and_no_success() {
    let output = elastiq(&[
        "compile",
        "no/such.onnx",
        "--calib",
        "no/such.npz",
        "-o",
        "no.eqm",
    ]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    assert!(errors.contains("no/such"), "{errors}");
}
