//! One file per subcommand.

pub mod bench;
pub mod compile;
pub mod data;
pub mod doctor;
pub mod eval;
pub mod flash;
pub mod inspect;
mod learning;
pub mod prune;
pub mod quickstart;
pub mod report;
pub mod repro;
pub mod supernet;
pub mod train;
mod train_bar;
