//! Firmware on every emulated core: bytes as on the host, exact counts, link proofs with negative controls.
//!
//! Needs the bare-metal compilers and emulators that `elastiq doctor --install` brings.

mod support;

use elastiq_cli::qemu::scan::scan;
use elastiq_cli::qemu::stack::{INFER, report};
use elastiq_cli::qemu::{
    Core, Program, RunOptions, build, build_app, build_runner, core, cores, run, run_app, run_here,
};
use support::{INPUT_LEN, artifact, noise};

fn inputs(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|seed| noise(seed, INPUT_LEN)).collect()
}

fn quiet(_: &str) {}

fn all() -> Vec<Core> {
    let cores = cores().unwrap();
    assert!(cores.len() >= 7, "board files are missing");
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
