//! Compression methods that train or search.

pub mod eqnet;
pub mod search;
