//! Firmware on every emulated core: bytes as on the host, exact counts, link proofs with negative controls.
//!
//! Needs the bare-metal compilers and emulators that `elastiq doctor --install` brings.

mod support;

use elastiq_cli::artifact::Artifact;
use elastiq_cli::measure::{self, emulated};
use elastiq_cli::qemu::scan::scan;
use elastiq_cli::qemu::stack::{INFER, report};
use elastiq_cli::qemu::{
    Core, Program, RunOptions, build, build_app, build_runner, core, cores, run, run_app, run_here,
};
use elastiq_cli::{footprint, kernels};
use elastiq_quant::lower::format::WeightFormat;
use support::{INPUT_LEN, artifact, noise};

fn inputs(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|seed| noise(seed, INPUT_LEN)).collect()
}

fn quiet(_: &str) {}

fn all() -> Vec<Core> {
    let cores = cores().unwrap();
    assert!(cores.len() >= 7, "core files are missing");
    cores
}

#[test]
fn every_core_gives_the_bytes_of_the_host() {
    let model = artifact();
    for core in all() {
        let options = RunOptions::default();
        let there = run(&core, &model, &inputs(20), &options, &mut quiet).unwrap();
        let here = run_here(&core, &model, &inputs(20), &options).unwrap();
        assert_eq!(there.first_difference(&here), None);
        assert_eq!(
            (there.inputs.len(), there.first_tensors.len()),
            (20, 4),
            "{}",
            core.name
        );
        assert!(
            there
                .inputs
                .iter()
                .all(|input| input.ops.len() == 4 && input.output.is_ok())
        );

        let (whole, sum) = (
            there.instructions.unwrap(),
            there.op_instructions(0).unwrap(),
        );
        let stack = there.stack_bytes.unwrap();
        let bound = report(&build_runner(&core, &mut quiet).unwrap(), INFER).unwrap();
        println!(
            "{}: {whole} instructions, ops {sum}, stack {stack}, bound {}",
            core.name, bound.bytes
        );
        // Conv alone is 18,432 multiply-accumulates; a step costs a few hundred instructions around the kernel.
        assert!(
            whole > 18_432 && whole.abs_diff(sum) < 200,
            "{}: {whole} and {sum}",
            core.name
        );
        // The measurement starts in the caller of the function that the bound is for.
        assert!(
            stack > 0 && stack <= bound.bytes + 128,
            "{}: {stack} and {bound:?}",
            core.name
        );
    }
}

/// The runner reports the kernels that it runs with; a core file that names others is noticed.
#[test]
fn every_core_has_the_kernels_of_its_board_file() {
    let mut cores = all();
    let none = RunOptions {
        count: false,
        ..RunOptions::default()
    };
    for core in &cores {
        let there = run(core, &artifact(), &inputs(1), &none, &mut quiet).unwrap();
        assert_eq!(there.backend, core.backend, "{}", core.name);
    }
    let m4 = cores.iter_mut().find(|core| core.name == "m4").unwrap();
    m4.backend = "helium".into();
    let model = Artifact::of("a.eqm".as_ref(), artifact()).unwrap();
    let report = emulated(m4, &model, &inputs(1), &mut quiet).unwrap();
    assert_eq!(report.difference, None);
    assert_eq!(
        report.fault(),
        Some("m4: the firmware was built with the kernels `dsp`, its core file names `helium`")
    );
}

#[test]
fn layers_of_the_standing_table_are_counted() {
    let m4 = core("m4").unwrap();
    let format = WeightFormat {
        bits: 4,
        ..WeightFormat::default()
    };
    let report = kernels::measure(Some(&m4), &[format], &mut quiet).unwrap();
    assert_eq!((report.matches_host, report.fault()), (true, None));
    let row = |name: &str| {
        report
            .kernels
            .iter()
            .find(|row| row.kernel == name)
            .unwrap()
    };
    assert_eq!(report.kernels.len(), 6);
    for (name, macs) in [
        ("conv1x1", 64 * 64 * 256),
        ("conv3x3", 9 * 64 * 64 * 256),
        ("depthwise3x3", 9 * 64 * 256),
        ("dense512x64", 512 * 64),
    ] {
        let row = row(name);
        assert_eq!((row.macs, row.coding.as_str()), (macs, "int4"));
        // No core does four multiply-accumulates per instruction.
        assert!(row.cost.per_mac.unwrap() > 0.25, "{row:?}");
    }
    let conv = row("conv3x3");
    let tight = conv.tight.as_ref().unwrap();
    assert!(tight.scratch_bytes < conv.cost.scratch_bytes);
    // Every output is written, two inputs of the sum are read; bytes are moved four at a time at best.
    assert!(row("add").cost.per_element.unwrap() > 0.75);
    assert!(row("maxpool2x2").cost.per_element.unwrap() > 1.0);
}

#[test]
fn sizes_of_the_application_add_up() {
    let model = Artifact::of("a.eqm".as_ref(), artifact()).unwrap();
    for name in ["m0", "m4", "rv32"] {
        let f = footprint::measure(&core(name).unwrap(), &model, &mut quiet).unwrap();
        assert_eq!(f.model_bytes, model.bytes.len() as u64);
        assert_eq!(f.arena_bytes, 768);
        let parts = f.code_bytes + f.rodata_bytes + f.data_bytes + f.model_bytes;
        assert_eq!(f.flash_bytes, parts);
        let parts = f.arena_bytes + f.data_bytes + f.bss_bytes + f.stack_bound_bytes;
        assert_eq!(f.ram_bytes, parts);
        // Four operators of one model; all operators of the runner need more.
        let all = measure::sizes(&build_runner(&core(name).unwrap(), &mut quiet).unwrap()).unwrap();
        assert!(
            f.code_bytes > 4096 && f.code_bytes < all.code,
            "{name}: {f:?}"
        );
        assert!(f.bss_bytes < 64 && f.rodata_bytes < 8192, "{name}: {f:?}");
        assert!(f.functions[0].bytes >= f.functions[1].bytes);
    }
}

#[test]
fn counts_are_the_same_every_time() {
    let core = core("m4").unwrap();
    let once = || {
        run(
            &core,
            &artifact(),
            &inputs(2),
            &RunOptions::default(),
            &mut quiet,
        )
        .unwrap()
    };
    assert_eq!(once(), once());
}

#[test]
fn no_float_heap_or_panic_is_linked() {
    for core in all() {
        // The handler makes a reachable panic a link error, so that it builds at all is the proof.
        let elf = build_runner(&core, &mut quiet).unwrap();
        assert_eq!(scan(&elf).unwrap(), [], "{}", core.name);
    }
}

#[test]
fn a_reachable_panic_does_not_link() {
    for name in ["m0", "m4", "rv32"] {
        let line = build(&core(name).unwrap(), Program::Panics, &[], &mut quiet)
            .unwrap_err()
            .line()
            .unwrap();
        assert!(
            line.contains("undefined symbol: elastiq_a_panic_path_is_reachable"),
            "{line}"
        );
    }
}

#[test]
fn the_scan_finds_floats() {
    for name in ["m0", "m4", "rv32"] {
        let elf = build(&core(name).unwrap(), Program::Floats, &[], &mut quiet).unwrap();
        assert!(
            scan(&elf)
                .unwrap()
                .iter()
                .any(|finding| finding.what == "float"),
            "{name}"
        );
    }
}

#[test]
fn the_application_passes_its_self_test() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good.eqm");
    std::fs::write(&good, artifact()).unwrap();
    for name in ["m0", "m55", "rv32", "rvv"] {
        let core = core(name).unwrap();
        let elf = build_app(&core, &good, &mut quiet).unwrap();
        assert_eq!(scan(&elf).unwrap(), []);
        assert_eq!(run_app(&core, &elf).unwrap(), "self-test passed");
    }
}

#[test]
fn a_damaged_model_is_refused_in_words() {
    let mut model = artifact();
    let at = model.len() - 20;
    model[at] ^= 1;
    let line = run(
        &core("m3").unwrap(),
        &model,
        &inputs(1),
        &RunOptions::default(),
        &mut quiet,
    );
    let line = line.unwrap_err().line().unwrap();
    assert!(
        line.starts_with("m3: the model was refused: checksum of a block of the body"),
        "{line}"
    );
}

#[test]
fn an_input_of_the_wrong_length_is_reported() {
    let short = vec![vec![0; INPUT_LEN - 1]];
    let there = run(
        &core("m3").unwrap(),
        &artifact(),
        &short,
        &RunOptions::default(),
        &mut quiet,
    )
    .unwrap();
    let error = there.inputs[0].output.clone().unwrap_err();
    assert_eq!(
        error.to_string(),
        "input has 255 bytes, the model takes 256"
    );
}

#[test]
fn a_missing_emulator_is_named_with_its_remedy() {
    let mut core = core("m3").unwrap();
    core.qemu.program = "qemu-system-none".into();
    let line = run(
        &core,
        &artifact(),
        &inputs(1),
        &RunOptions::default(),
        &mut quiet,
    );
    let line = line.unwrap_err().line().unwrap();
    assert!(
        line.starts_with(
            "qemu-system-none is not installed, Cortex-M3 runs in it (`elastiq doctor"
        ),
        "{line}"
    );
}

#[test]
fn a_core_that_does_not_end_is_stopped() {
    let options = RunOptions {
        timeout: std::time::Duration::ZERO,
        ..RunOptions::default()
    };
    let line = run(
        &core("m3").unwrap(),
        &artifact(),
        &inputs(1),
        &options,
        &mut quiet,
    );
    assert_eq!(
        line.unwrap_err().line().unwrap(),
        "m3: the program did not end within 0 s"
    );
}

#[test]
fn a_wrong_timer_in_a_board_file_is_found_by_calibration() {
    let mut core = core("m3").unwrap();
    core.timer.instructions_per_tick = 31.25;
    let line = run(
        &core,
        &artifact(),
        &inputs(1),
        &RunOptions::default(),
        &mut quiet,
    );
    let line = line.unwrap_err().line().unwrap();
    assert!(
        line.starts_with("m3: 2000 instructions were counted as"),
        "{line}"
    );
}

#[test]
fn memory_that_the_machine_does_not_have_is_an_error_not_a_hang() {
    let mut core = core("m3").unwrap();
    core.qemu.machine = "microbit".into();
    let line = run(
        &core,
        &artifact(),
        &inputs(1),
        &RunOptions::default(),
        &mut quiet,
    );
    let line = line.unwrap_err().line().unwrap();
    assert!(line.starts_with("m3: the program took a fault"), "{line}");
}
