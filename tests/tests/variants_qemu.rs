//! Several operating points in one artifact, on cores: every byte of every operator as the same configuration alone
//! gives it, and one program that switches between them. Prints the instructions of both.

use elastiq::{Engine, OpSet};
use elastiq_cli::qemu::{self, Core, Program, RunOptions, RunReport};
use elastiq_quant::compile::{
    CompileOptions, Compiled, VariantOptions, compile_graph, compile_variants,
};
use elastiq_quant::import;
use elastiq_quant::lower::format::{Formats, WeightFormat};
use elastiq_quant::lower::given::layers;
use elastiq_tests::networks::{self, Network};
use elastiq_tests::pipeline;
use std::path::Path;

const CORES: [&str; 4] = ["m4", "m0", "rv32", "m55"];
const WIDTHS: [u8; 4] = [8, 4, 3, 2];

/// A network, the variants together, and each alone.
struct Subject {
    elastic: Compiled,
    alone: Vec<Compiled>,
    inputs: Vec<Vec<u8>>,
}

fn subject(name: &str, core: &Core) -> Subject {
    let network = networks::examples(3).into_iter().find(|n| n.name == name);
    let network: Network = network.unwrap_or_else(|| panic!("{name} is an example"));
    let graph = import::load(&network.file).unwrap_or_else(|e| panic!("{e}"));
    let layers = layers(&graph).unwrap_or_else(|e| panic!("{e}"));
    let ends = [&layers[0].name, &layers[layers.len() - 1].name];
    let variants = WIDTHS.map(|bits| VariantOptions {
        name: bits.to_string(),
        weights: Formats {
            default: format!("{bits},nested").parse().expect("a format"),
            by_layer: ends
                .map(|name| (name.clone(), WeightFormat::default()))
                .into(),
        },
        ..Default::default()
    });
    let options = CompileOptions {
        backend: qemu::backend(&core.name).unwrap_or_else(|e| panic!("{e:?}")),
        verify_samples: 1,
        ..Default::default()
    };
    let quiet = &mut |_: &str, _: usize, _: usize| {};
    let alone = variants.iter().map(|v| {
        let options = CompileOptions {
            weights: v.weights.clone(),
            ..options.clone()
        };
        compile_graph(
            graph.clone(),
            name,
            &network.calib,
            &options,
            &mut |_, _, _| {},
        )
        .unwrap_or_else(|e| panic!("{e}"))
    });
    let alone: Vec<Compiled> = alone.collect();
    let elastic = compile_variants(
        graph.clone(),
        name,
        &network.calib,
        &variants,
        &options,
        quiet,
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let engine = Engine::<{ OpSet::ALL }>::new(&elastic.bytes).unwrap_or_else(|e| panic!("{e}"));
    let input = |i: usize| {
        pipeline::quantize(engine.model(), &network.inputs.ir_item(&elastic.graph, i)).concat()
    };
    Subject {
        inputs: (0..network.inputs.len()).map(input).collect(),
        alone,
        elastic,
    }
}

fn on_core(core: &Core, model: &[u8], variant: usize, inputs: &[Vec<u8>]) -> RunReport {
    let options = RunOptions {
        variant: variant as u32,
        ..Default::default()
    };
    qemu::run(core, model, inputs, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e:?}"))
}

fn cores() -> impl Iterator<Item = Core> {
    CORES
        .iter()
        .map(|name| qemu::core(name).unwrap_or_else(|e| panic!("{e:?}")))
}

#[test]
fn every_variant_is_the_configuration_alone_on_every_core() {
    println!(
        "million instructions, in the artifact with all and alone; bytes of that artifact and of all alone"
    );
    for core in cores() {
        // Depthwise convolutions on one core; the suite of operators has them on all.
        let more = (core.name == "m4").then_some("digits_dscnn");
        for name in ["digits_cnn"].into_iter().chain(more) {
            let s = subject(name, &core);
            print!("{:5} {name:13}", core.name);
            let mut outputs = Vec::new();
            for (i, (bits, alone)) in WIDTHS.iter().zip(&s.alone).enumerate() {
                let together = on_core(&core, &s.elastic.bytes, i, &s.inputs);
                let single = on_core(&core, &alone.bytes, 0, &s.inputs);
                assert_eq!(
                    together.first_difference(&single),
                    None,
                    "{name}, {bits} bits"
                );
                let here = RunOptions {
                    variant: i as u32,
                    ..Default::default()
                };
                let here = qemu::run_here(&core, &s.elastic.bytes, &s.inputs, &here);
                let here = here.unwrap_or_else(|e| panic!("{e:?}"));
                assert_eq!(
                    together.first_difference(&here),
                    None,
                    "{name}, {bits} bits"
                );
                let million = |r: &RunReport| r.instructions.unwrap_or(0) as f64 / 1e6;
                print!(
                    "  {bits} bits {:.3} {:.3}",
                    million(&together),
                    million(&single)
                );
                outputs.push(single);
            }
            // The comparison tells variants apart.
            assert!(outputs[0].first_difference(&outputs[3]).is_some());
            let sum: usize = s.alone.iter().map(|c| c.bytes.len()).sum();
            println!("  {} {sum}", s.elastic.bytes.len());
        }
    }
}

#[test]
fn one_program_runs_all_variants_in_turn() {
    for core in cores() {
        let s = subject("digits_cnn", &core);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.eqm", core.name));
        std::fs::write(&file, &s.elastic.bytes).expect("target is writable");
        let env = [("ELASTIQ_MODEL", file.as_os_str())];
        let elf = qemu::build(&core, Program::Switch, &env, &mut |_| {});
        let elf = elf.unwrap_or_else(|e| panic!("{e:?}"));
        let printed = qemu::run_app(&core, &elf).unwrap_or_else(|e| panic!("{e:?}"));

        let mut engine = Engine::<{ OpSet::ALL }>::new(&s.elastic.bytes).expect("an artifact");
        let mut lines = Vec::new();
        for (i, alone) in s.alone.iter().enumerate() {
            engine.select(i).expect("a variant");
            let alone = Engine::<{ OpSet::ALL }>::new(&alone.bytes).expect("an artifact");
            let case = |engine: &Engine<'_, { OpSet::ALL }>| {
                let case = engine.model().self_test_cases().next();
                case.map(|(_, y)| y.to_vec()).expect("a self-test")
            };
            assert_eq!(case(&engine), case(&alone), "variant {i}");
            let codes: Vec<String> = case(&engine)
                .iter()
                .map(|y| (*y as i8).to_string())
                .collect();
            lines.push(format!("{}: {}", WIDTHS[i], codes.join(" ")));
        }
        // Lines as the emulator's log is given back.
        assert_eq!(printed, lines.join("; "), "{}", core.name);
        assert!(lines[0][3..] != lines[3][3..]);
        // The application checks the self-test of every variant.
        let elf = qemu::build_app(&core, &file, &mut |_| {}).unwrap_or_else(|e| panic!("{e:?}"));
        let said = qemu::run_app(&core, &elf).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(said, "self-test passed");
    }
}
