//! One file per subcommand.

pub mod bench;
pub mod compile;
pub mod data;
pub mod doctor;
pub mod eval;
pub mod flash;
pub mod inspect;
pub mod quickstart;
pub mod train;
mod train_bar;
