//! Training and what belongs to it: descriptions, checkpoints, export.

mod common;
mod described;
mod exported;
mod learning;
mod resumed;
