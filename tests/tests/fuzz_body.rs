//! The body of the fuzz target on real artifacts: it gets as far as running them.

use elastiq_tests::parse_run::parse_run;
use elastiq_tests::{artifact, networks, pipeline};

#[test]
fn example_artifacts_run_as_they_are_and_with_other_weights() {
    let mut ran = 0;
    for network in networks::examples(1) {
        let built =
            pipeline::build(&network.file, &network.calib).unwrap_or_else(|e| panic!("{e}"));
        let changed = artifact::flip_weight(&built.bytes, 1).expect("every network has weights");
        let both = [parse_run(&built.bytes), parse_run(&changed)];
        assert_eq!(
            both[0], both[1],
            "{}: weights decide on the limits",
            network.name
        );
        ran += usize::from(both[0]);
    }
    assert!(
        ran >= 6,
        "the limits of the fuzz target let only {ran} networks through"
    );
}

#[test]
fn bytes_that_are_no_artifact_do_not_run() {
    let network = networks::examples(1).swap_remove(0);
    let built = pipeline::build(&network.file, &network.calib).unwrap_or_else(|e| panic!("{e}"));
    let mut damaged = built.bytes.clone();
    damaged[built.bytes.len() / 2] ^= 1;
    assert!(!parse_run(&damaged), "a wrong checksum was accepted");
    assert!(!parse_run(&built.bytes[..built.bytes.len() - 1]) && !parse_run(&[]));
}
