#![no_std]
#![deny(unsafe_code)]
//! Integer-only neural network inference.

pub mod format;
pub mod spec;
