//! From a network in memory to a checked artifact.

mod artifact;
mod common;
mod given;
mod lower;
mod nupes;
mod plan;
mod variants;
