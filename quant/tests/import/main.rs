//! Import of ONNX files, checked against an independent float reference.

mod layers;
mod moving;
mod networks;
mod optimize;
mod pools;
mod proto;
mod quantized;
mod refused;
