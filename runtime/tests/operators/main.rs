//! Every operator on random shapes, attributes and contents against a reference written from the definitions:
//! indices everywhere, arithmetic in `i128`, nothing shared with the kernels.

#[path = "../common/mod.rs"]
mod common;

mod axis;
mod elementwise;
mod movement;
mod reference;
mod window;
