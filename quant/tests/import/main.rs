//! Import of ONNX files, checked against an independent float reference.

mod networks;
