//! Elastic quantization: the space, the quantizers, training, and what leaves it as integers.

mod common;
mod gradients;
mod integers;
mod norm;
mod space;
mod training;
mod variants;
