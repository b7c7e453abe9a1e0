//! Instruction counts of every emulated core against a recorded table: no kernel gets slower unnoticed.
//!
//! Counts depend on the compiler, so the table says which one it is from; with another one a rise of 5 % passes in
//! place of 2 %. `ELASTIQ_OVERWRITE=1` writes the table anew.

use elastiq::Backend;
use elastiq_cli::artifact::Artifact;
use elastiq_cli::kernels;
use elastiq_cli::qemu::{self, Core, RunOptions};
use elastiq_cli::toolchain::{Library, compiler};
use elastiq_quant::compile::{CompileOptions, compile};
use elastiq_quant::lower::format::{Coding, WeightFormat};
use elastiq_tests::golden::{self, Counts, Findings, Table};
use elastiq_tests::networks::{self, Network};
use elastiq_tests::root;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const NETWORKS: [&str; 4] = ["cancer_mlp", "digits_cnn", "digits_dscnn", "digits_resnet"];

/// Emulators that run at the same time.
const AT_ONCE: usize = 2;

fn path() -> PathBuf {
    root().join("tests/golden/instructions.toml")
}

fn recorded() -> Table {
    let text = std::fs::read_to_string(path()).unwrap_or_else(|e| panic!("{:?}: {e}", path()));
    golden::read(&text).unwrap_or_else(|e| panic!("{:?}: {e}", path()))
}

/// Weights of 8 and 4 bits, and a codebook of 16 values.
fn formats() -> Vec<WeightFormat> {
    [
        (8, Coding::Linear),
        (4, Coding::Linear),
        (4, Coding::Codebook),
    ]
    .map(|(bits, coding)| WeightFormat {
        bits,
        coding,
        ..Default::default()
    })
    .to_vec()
}

/// The example networks, compiled for each backend once.
struct Models {
    networks: Vec<Network>,
    compiled: Mutex<HashMap<(Backend, String), Artifact>>,
}

impl Models {
    fn new() -> Models {
        let mut networks = networks::examples(1);
        networks.retain(|n| NETWORKS.contains(&n.name.as_str()));
        assert_eq!(networks.len(), NETWORKS.len(), "examples/models");
        Models {
            networks,
            compiled: Mutex::default(),
        }
    }

    fn get(&self, network: &Network, backend: Backend) -> Artifact {
        let mut compiled = self.compiled.lock().unwrap_or_else(|e| e.into_inner());
        let make = || {
            let options = CompileOptions {
                backend,
                verify_samples: 1,
                ..Default::default()
            };
            let made = compile(&network.file, &network.calib, &options, &mut |_, _, _| {});
            let bytes = made.unwrap_or_else(|e| panic!("{e}")).bytes;
            Artifact::of(&network.file, bytes).unwrap_or_else(|e| panic!("{e:?}"))
        };
        let key = (backend, network.name.clone());
        compiled.entry(key).or_insert_with(make).clone()
    }
}

/// Instructions of one run.
fn instructions(core: &Core, artifact: &Artifact) -> u64 {
    let inputs = elastiq_cli::measure::inputs(artifact, None, 1);
    let inputs = inputs.unwrap_or_else(|e| panic!("{e:?}"));
    let options = RunOptions {
        tensors: false,
        ..Default::default()
    };
    let report = qemu::run(core, &artifact.bytes, &inputs, &options, &mut |_| {});
    let report = report.unwrap_or_else(|e| panic!("{}: {e:?}", core.name));
    report.instructions.expect("instructions are counted")
}

fn counts(core: &Core, models: &Models) -> Counts {
    let backend = qemu::backend(&core.name).unwrap_or_else(|e| panic!("{e:?}"));
    let built = compiler(&core.target).unwrap_or_else(|e| panic!("{e:?}"));
    let library = match built.library {
        Library::Installed => "installed library",
        Library::Source => "library from source",
    };
    let mut counts = Counts {
        compiler: format!("rustc {}, {library}", built.version),
        ..Default::default()
    };
    let report = kernels::measure(Some(core), &formats(), &mut |_| {});
    let report = report.unwrap_or_else(|e| panic!("{}: {e:?}", core.name));
    assert_eq!(report.fault(), None);
    for row in &report.kernels {
        let name = match row.bits {
            0 => row.kernel.to_owned(),
            _ => format!("{} {}", row.kernel, row.coding),
        };
        let tight = row
            .tight
            .as_ref()
            .map(|cost| (format!("{name} tight"), cost));
        for (name, cost) in [(name, &row.cost)].into_iter().chain(tight) {
            let n = cost.instructions.expect("instructions are counted");
            counts.rows.insert(name, n);
        }
    }
    for network in &models.networks {
        let n = instructions(core, &models.get(network, backend));
        counts.rows.insert(network.name.clone(), n);
    }
    counts
}

/// Measure all cores, some at a time.
fn measured() -> Table {
    let cores = qemu::cores().unwrap_or_else(|e| panic!("{e:?}"));
    let (models, next) = (Models::new(), AtomicUsize::new(0));
    let table = Mutex::new(Table::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(core) = cores.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = counts(core, &models);
                    let mut table = table.lock().unwrap_or_else(|e| e.into_inner());
                    table.insert(core.name.clone(), counts);
                }
            });
        }
    });
    table.into_inner().unwrap_or_else(|e| e.into_inner())
}

#[test]
fn no_count_rises() {
    let measured = measured();
    let rows: usize = measured.values().map(|c| c.rows.len()).sum();
    if std::env::var_os("ELASTIQ_OVERWRITE").is_some() {
        std::fs::write(path(), golden::write(&measured)).expect("the table is writable");
        println!("{rows} counts of {} cores written", measured.len());
        return;
    }
    let found = golden::compare(&recorded(), &measured);
    found.compilers.iter().for_each(|line| println!("{line}"));
    if !found.falls.is_empty() {
        println!("counts fell, write the table anew (ELASTIQ_OVERWRITE=1):");
        found.falls.iter().for_each(|line| println!("  {line}"));
    }
    println!("{rows} counts of {} cores compared", measured.len());
    assert!(
        found.failures.is_empty(),
        "more instructions than recorded:\n  {}",
        found.failures.join("\n  ")
    );
}

/// A network that is planned without scratch, so that portable kernels run, does not pass for one that is not.
#[test]
fn slower_kernels_are_noticed() {
    let core = qemu::core("m4").unwrap_or_else(|e| panic!("{e:?}"));
    let models = Models::new();
    let network = models.networks.iter().find(|n| n.name == "digits_resnet");
    let network = network.expect("digits_resnet is an example");
    let mut table = recorded();
    table.retain(|name, _| *name == core.name);
    let mut slower = table.clone();
    assert_eq!(golden::compare(&table, &slower), Findings::default());
    let n = instructions(&core, &models.get(network, Backend::Portable));
    let rows = &mut slower.get_mut("m4").expect("m4 is in the table").rows;
    rows.insert(network.name.clone(), n);
    let found = golden::compare(&table, &slower);
    assert!(
        found.failures.len() == 1 && found.failures[0].starts_with("m4, digits_resnet: "),
        "{found:?}"
    );
    println!("{}", found.failures[0]);
}
