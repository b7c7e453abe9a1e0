//! Shared parts of the cross-crate suites.
//!
//! Cases are data: the operator tests of the `onnx` wheel, the networks in `examples/models`, and, where
//! `ELASTIQ_MLPERF_TINY` names their folder, the four MLPerf Tiny networks. There is one runner per place:
//! `tests/onnx_nodes.rs` on the host, `tests/host_vs_qemu.rs` on every emulated core. The random operators of the
//! runtime's own tests run on the cores in `tests/backends_qemu.rs`.

pub mod artifact;
pub mod bound;
/// Artifacts written row by row and random operators, as the tests of the runtime use them.
#[path = "../../runtime/tests/common/mod.rs"]
pub mod common;
pub mod download;
pub mod golden;
pub mod networks;
pub mod onnx;
pub mod parse_run;
pub mod pipeline;

use std::path::PathBuf;

/// Root of the repository.
pub fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().map_or(tests.clone(), PathBuf::from)
}
