//! Compression methods that train or search.

pub mod class_prune;
pub mod eqnet;
pub mod fake;
pub mod nupes;
pub mod search;
