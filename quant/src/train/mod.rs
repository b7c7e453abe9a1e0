//! Trainer: fine-tunes imported networks, trains described ones, and keeps what does best as integers.
//!
//! [`Network`] executes a graph with gradients, [`train()`] runs the epochs, [`describe`](mod@describe) makes networks
//! from a text, [`crate::export`] writes the result.

pub(crate) mod checkpoint;
pub(crate) mod compute;
mod config;
pub(crate) mod data;
pub mod describe;
mod device;
pub(crate) mod frame;
mod gradients;
pub(crate) mod job;
mod network;
mod normalized;
pub(crate) mod objective;
mod ops;
pub(crate) mod optimizer;
mod schedule;
pub(crate) mod score;
pub(crate) mod trainer;
mod unquantized;
pub(crate) mod var;
mod wdr;

pub use checkpoint::{Best, EpochReport};
pub use config::Config;
pub use data::split;
pub use device::Place;
pub use gradients::gradients;
pub use network::{Head, Hooks, Network, NoHooks, Param};
pub use normalized::normalized_layers;
pub use objective::{ClassWeights, Objective, class_of};
pub use ops::cpu::{Kernel, apply as apply_kernel};
pub use optimizer::{Clip, Rule};
pub use schedule::Schedule;
pub use trainer::{Control, Event, Run, Trained, evaluate, train};
pub use var::Var;
pub use wdr::{Moments, Wdr};
