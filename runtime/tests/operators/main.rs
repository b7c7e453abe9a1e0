//! Operators that have portable kernels only, on random shapes, attributes and contents against a reference written
//! from the definitions: indices everywhere, arithmetic in `i64`, nothing shared with the kernels. Those with kernels
//! for single instruction sets are in `tests/backends`.

#[path = "../common/mod.rs"]
mod common;

mod axis;
mod elementwise;
mod movement;
