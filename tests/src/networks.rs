//! The networks that the suites run, and the data they get.

use crate::root;
use elastiq_cli::data::{self, Dataset, InputSpec};
use elastiq_quant::Samples;
use elastiq_quant::import;
use elastiq_quant::ir::Graph;
use std::path::{Path, PathBuf};

/// Variable with the folder of the MLPerf Tiny networks.
pub const MLPERF: &str = "ELASTIQ_MLPERF_TINY";

/// A network file with data.
pub struct Network {
    /// File name without ending.
    pub name: String,
    pub file: PathBuf,
    /// For calibration.
    pub calib: Samples,
    /// To run; not among `calib`.
    pub inputs: Samples,
}

/// The networks of `examples/models`, sorted by name, with `n` inputs each.
pub fn examples(n: usize) -> Vec<Network> {
    let folder = root().join("examples/models");
    let entries = std::fs::read_dir(&folder).expect("examples/models is part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    files.iter().map(|file| example(file, n)).collect()
}

fn example(file: &Path, n: usize) -> Network {
    let name = stem(file);
    let graph = load(file);
    let set = if name.starts_with("cancer") {
        "breast-cancer"
    } else {
        "digits"
    };
    let splits =
        data::fetch(set, &root().join("target/cache")).unwrap_or_else(|e| panic!("{set}: {e:?}"));
    let split = |wanted: &str, n: usize| {
        let split = splits.iter().find(|s| s.name == wanted);
        samples(
            &graph,
            &split
                .unwrap_or_else(|| panic!("{set} has no {wanted}"))
                .data
                .head(n),
        )
    };
    Network {
        calib: split("train", 100),
        inputs: split("test", n),
        name,
        file: file.to_owned(),
    }
}

/// The four MLPerf Tiny networks with `n` inputs each; `None` where [`MLPERF`] is not set.
pub fn mlperf(n: usize) -> Option<Vec<Network>> {
    let folder = mlperf_folder()?;
    let synthetic = |file: &str, lo: f32, hi: f32| {
        let file = folder.join(file);
        let graph = load(&file);
        let calib = Samples::synthetic(&graph, 8, 1, lo, hi);
        let inputs = Samples::synthetic(&graph, n, 2, lo, hi);
        Network {
            name: stem(&file),
            file,
            calib,
            inputs,
        }
    };
    Some(vec![
        keywords(n)?,
        synthetic("ic_resnet8.onnx", 0.0, 255.0),
        synthetic("vww_mobilenetv1_025_96.onnx", 0.0, 1.0),
        synthetic("ad_autoencoder.onnx", -1.0, 1.0),
    ])
}

/// The folder that [`MLPERF`] names.
pub fn mlperf_folder() -> Option<PathBuf> {
    std::env::var_os(MLPERF)
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
}

/// The keyword network with its published features, labels included.
pub fn keywords(n: usize) -> Option<Network> {
    let folder = mlperf_folder()?;
    let file = folder.join("kws_dscnn.onnx");
    let graph = load(&file);
    let read = |name: &str, n: usize| {
        let set = Dataset::load(&folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        samples(&graph, &set.head(n))
    };
    let (calib, inputs) = (read("kws_calib.npz", usize::MAX), read("kws_dev.npz", n));
    Some(Network {
        name: stem(&file),
        file,
        calib,
        inputs,
    })
}

/// Samples of `set` in the order of the graph's inputs.
fn samples(graph: &Graph, set: &Dataset) -> Samples {
    let spec = |p: &elastiq_quant::ir::Port| InputSpec {
        name: p.name.clone(),
        shape: p.file_shape.clone(),
    };
    let specs: Vec<InputSpec> = graph.inputs.iter().map(spec).collect();
    let arrays = set
        .fit(&specs)
        .unwrap_or_else(|e| panic!("{}: {e:?}", set.file.display()));
    let samples = Samples::new(arrays);
    match &set.y {
        Some(y) => samples.with_labels(y.clone()),
        None => samples,
    }
}

fn load(file: &Path) -> Graph {
    import::load(file).unwrap_or_else(|e| panic!("{e}"))
}

fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
