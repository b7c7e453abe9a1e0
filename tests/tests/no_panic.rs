//! What firmware does not contain: panics, heap, float. With programs that do, which must be caught.

use elastiq_cli::failure::Failure;
use elastiq_cli::qemu::scan::{Finding, scan};
use elastiq_cli::qemu::{Core, Program, build, build_app, build_runner, cores};
use elastiq_tests::{networks, pipeline};
use std::path::{Path, PathBuf};

fn all_cores() -> Vec<Core> {
    let cores = cores().unwrap_or_else(|e| panic!("{e:?}"));
    assert!(cores.len() >= 7, "{} core files", cores.len());
    cores
}

fn findings(elf: &Path) -> Vec<Finding> {
    scan(elf).unwrap_or_else(|e| panic!("{e:?}"))
}

fn built(core: &Core, result: Result<PathBuf, Failure>) -> PathBuf {
    result.unwrap_or_else(|e| panic!("{}: {e:?}", core.name))
}

#[test]
fn runner_links_without_panic_heap_and_float_on_every_core() {
    for core in all_cores() {
        let elf = built(&core, build_runner(&core, &mut |_| {}));
        assert_eq!(findings(&elf), [], "{}", core.name);
    }
}

#[test]
fn application_links_without_panic_heap_and_float_on_every_core() {
    let network = networks::examples(1)
        .into_iter()
        .find(|n| n.name == "digits_cnn");
    let network = network.expect("digits_cnn is an example");
    let compiled =
        pipeline::compile(&network.file, &network.calib).unwrap_or_else(|e| panic!("{e}"));
    let model = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_panic.eqm");
    std::fs::write(&model, &compiled.bytes).expect("target is writable");
    for core in all_cores() {
        let elf = built(&core, build_app(&core, &model, &mut |_| {}));
        assert_eq!(findings(&elf), [], "{}", core.name);
    }
}

#[test]
fn a_program_that_can_panic_does_not_link() {
    for core in all_cores() {
        let error =
            build(&core, Program::Panics, &[], &mut |_| {}).expect_err("a panic was linked");
        let text = format!("{error:?}");
        assert!(
            text.contains("undefined symbol"),
            "{}: failed for another reason: {text}",
            core.name
        );
    }
}

#[test]
fn a_program_with_float_does_not_pass_the_scan() {
    for core in all_cores() {
        let elf = built(&core, build(&core, Program::Floats, &[], &mut |_| {}));
        let found = findings(&elf);
        assert!(
            found.iter().any(|f| f.what == "float"),
            "{}: {found:?}",
            core.name
        );
    }
}
