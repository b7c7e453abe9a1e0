//! From a network in memory to a checked artifact.

mod artifact;
mod common;
mod lower;
mod plan;
