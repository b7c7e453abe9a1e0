//! One file per subcommand.

pub mod data;
