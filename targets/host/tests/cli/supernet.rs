//! `elastiq supernet`: from a description to artifacts, interrupted and resumed, and what it refuses.

use crate::common::{Folder, elastiq, interrupted, json, keys, renamed, resumed};
use crate::refusals::refused;

const NET: &str = "input = [30]\n\
    [[layer]]\ntype = \"dense\"\nname = \"first\"\nunits = 16\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nname = \"hidden\"\nunits = 12\nactivation = \"relu\"\n\
    [[layer]]\ntype = \"dense\"\nname = \"scores\"\nunits = 2\n";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("net.toml", NET.as_bytes());
    folder
}

/// Arguments that train `model` to the folder `net`.
fn train<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let first = [
        "supernet",
        "train",
        model,
        "--data",
        "train.npz",
        "-o",
        "net",
    ];
    first.iter().chain(more).copied().collect()
}

#[test]
fn a_description_becomes_artifacts_of_any_width() {
    let folder = folder();
    let more = [
        "--val", "val.npz", "--epochs", "6", "--lr", "0.01", "--json",
    ];
    let report = json(&folder, &train("net.toml", &more));
    keys(
        &report,
        "layers bits nested best_epoch int_score samples_per_s epochs",
    );
    assert_eq!(
        report["epochs"][6]["configurations"]
            .as_array()
            .expect("scores")
            .len(),
        3
    );
    assert!(
        report["int_score"].as_f64().expect("score") > 0.9,
        "{report}"
    );

    let all = json(
        &folder,
        &["supernet", "eval", "net", "--data", "test.npz", "--json"],
    );
    let rows = all["configurations"].as_array().expect("rows");
    assert_eq!(rows.len(), 7 * 8);
    for row in rows {
        keys(row, "bits format loss accuracy weights_bytes average_bits");
        assert!(row["accuracy"].as_f64().expect("accuracy") > 0.85, "{row}");
    }

    // A file that names each layer does what the short form does.
    let layer = |name: &str, bits: u8| {
        serde_json::json!({
            "layer": name, "weight_bits": bits, "per_channel": true, "weight_symmetric": true,
            "activation_bits": bits, "activation_symmetric": true,
        })
    };
    let layers = [layer("first", 8), layer("hidden", 3), layer("scores", 8)];
    let config = serde_json::json!({ "layers": layers });
    folder.write("three.json", config.to_string().as_bytes());
    let eval = |config: &str| {
        let args = [
            "supernet", "eval", "net", "--data", "test.npz", "--config", config, "--int", "--json",
        ];
        json(&folder, &args)["configurations"][0].clone()
    };
    assert_eq!(eval("three.json"), eval("3"));
    let scored = eval("3")["int_score"].as_f64().expect("score");

    for (name, out) in [("3", "a.eqm"), ("three.json", "b.eqm")] {
        let args = [
            "supernet",
            "export",
            "net",
            "--config",
            name,
            "--calib",
            "train.npz",
            "-o",
            out,
            "--json",
        ];
        let report = json(&folder, &args);
        let bits: Vec<u64> = report["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .filter_map(|l| l["bits"].as_u64())
            .collect();
        assert_eq!(bits, [8, 3, 8]);
    }
    assert_eq!(folder.read("a.eqm"), folder.read("b.eqm"));
    let args = ["eval", "a.eqm", "--data", "test.npz", "--json"];
    let top1 = json(&folder, &args)["top1"].as_f64().expect("top1");
    assert!(
        (top1 - scored).abs() < 0.04,
        "{top1} as an artifact, {scored} in evaluation"
    );
}

#[test]
fn interrupted_training_goes_on_to_the_same_supernet() {
    let folder = folder();
    let more = ["--epochs", "60", "--float-epochs", "2", "--bits", "2,8"];
    let args = train("net.toml", &more);
    interrupted(&folder, &args, "net/last.ckpt");
    resumed(&folder, &args);
    renamed(&folder, &args, "net", "other");
    assert!(folder.read("net/last.ckpt") == folder.read("other/last.ckpt"));
}

#[test]
fn bad_input_is_refused() {
    let folder = folder();
    let no = |args: &[&str], file: &str, why: &str| refused(&folder, args, file, why);
    no(&train("absent.toml", &[]), "absent.toml", "");
    no(
        &train("net.toml", &["--bits", "4,9"]),
        "net.toml",
        "[4, 9] are not ascending widths",
    );
    no(
        &train("net.toml", &["--guidance", "2"]),
        "net.toml",
        "guidance must be from 0 to 1",
    );
    no(
        &train("net.toml", &["--resume"]),
        "net",
        "holds no supernet to go on with",
    );
    no(
        &train("net.toml", &["--wdr-kurtosis", "nan"]),
        "net.toml",
        "regularization",
    );
    let eval = |dir, more: &[&'static str]| -> Vec<&str> {
        let first = ["supernet", "eval", dir, "--data", "test.npz"];
        first.iter().chain(more).copied().collect()
    };
    no(&eval("absent", &[]), "absent", "");
    assert_eq!(
        elastiq(&folder, &train("net.toml", &["--epochs", "1", "--nested"])).code,
        0
    );
    no(&train("net.toml", &[]), "net", "holds a supernet already");
    let export = |more: &[&'static str]| -> Vec<&str> {
        let first = [
            "supernet",
            "export",
            "net",
            "--calib",
            "train.npz",
            "-o",
            "net.eqm",
        ];
        first.iter().chain(more).copied().collect()
    };
    no(
        &export(&["--variants", "8,1"]),
        "--config 1",
        "expected a width",
    );
    no(
        &export(&["--variants", "8,8"]),
        "net",
        "two variants are called '8'",
    );
    no(
        &eval("net", &["--config", "9"]),
        "--config 9",
        "expected a width from 2 to 8",
    );
    no(
        &eval("net", &["--config", "absent.json"]),
        "absent.json",
        "",
    );
    no(
        &eval("net", &["--config", "3", "--format", "row"]),
        "--format",
        "is no format",
    );
    let tensor = eval("net", &["--config", "3", "--format", "tensor,sym,sym"]);
    no(
        &tensor,
        "`first`",
        "nested weights are symmetric and per channel",
    );
    folder.write("other.json", b"{\"layers\": []}");
    no(
        &eval("net", &["--config", "other.json"]),
        "other.json",
        "layer `first` is missing",
    );
    folder.write("bad.json", b"{\"layers\": 3}");
    no(
        &eval("net", &["--config", "bad.json"]),
        "bad.json",
        "is no configuration",
    );
    let mut state = folder.read("net/last.ckpt");
    state[100] ^= 1;
    folder.write("net/last.ckpt", &state);
    no(&eval("net", &[]), "last.ckpt", "damaged");
}

#[test]
fn one_artifact_holds_several_widths() {
    let folder = folder();
    let trained = elastiq(&folder, &train("net.toml", &["--epochs", "2", "--nested"]));
    assert_eq!(trained.code, 0, "{}", trained.err);
    let export = |what: &'static str, of: &'static str, out: &'static str| {
        let args = [
            "supernet",
            "export",
            "net",
            "--calib",
            "train.npz",
            what,
            of,
            "-o",
            out,
        ];
        assert_eq!(elastiq(&folder, &args).code, 0);
    };
    export("--variants", "8,4,2", "all.eqm");
    let score = |args: &[&str]| {
        let data = ["--data", "test.npz", "--json"];
        json(&folder, &[args, &data].concat())["confusion"].clone()
    };
    for (width, file) in [("8", "8.eqm"), ("4", "4.eqm"), ("2", "2.eqm")] {
        export("--config", width, file);
        let chosen = score(&["eval", "all.eqm", "--variant", width]);
        assert_eq!(chosen, score(&["eval", file]), "{width}");
    }
}
