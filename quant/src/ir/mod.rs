//! The network between ONNX and the artifact: `f32`, row-major, spatial operators in NHWC.
//!
//! A [`Graph`] lists its nodes in execution order, every node writes one value. Spatial operators take and
//! give rank-4 NHWC; the importer surrounds them with [`Op::Transpose`] and [`Op::Reshape`] where the file has
//! another layout, and a pass moves those out again. Batch sizes are fixed at import.

pub mod exec;
pub mod infer;
pub mod passes;
mod stats;

pub use stats::{Stats, macs, stats};

use ndarray::ArrayD;
use std::sync::Arc;

/// Index into [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// Quantization that the file itself carries (QDQ): real = scale * (code - zero).
#[derive(Clone, Debug, PartialEq)]
pub struct FileQuant {
    /// One entry, or one per index of `axis`.
    pub scale: Vec<f32>,
    /// Zero points, same length as `scale`, in the `i8` code space (an unsigned file code is moved by -128).
    pub zero: Vec<i32>,
    /// Axis of per-channel scales in the value's own (IR) layout.
    pub axis: Option<usize>,
}

/// A tensor of the network.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name in the file, or derived from it.
    pub name: String,
    pub shape: Vec<usize>,
    /// Contents, where they do not depend on the inputs.
    pub constant: Option<Arc<ArrayD<f32>>>,
    /// Set where the file fixes the quantization of this value.
    pub quant: Option<FileQuant>,
}

/// A graph input or output, and how its IR value relates to the tensor in the file.
#[derive(Clone, Debug)]
pub struct Port {
    pub value: ValueId,
    pub name: String,
    /// Shape in the file's layout.
    pub file_shape: Vec<usize>,
    /// `ir = transpose(file, perm)`: IR axis i is axis `perm[i]` of the file; the identity where the layouts agree.
    pub perm: Vec<usize>,
}

/// Window of a convolution or pool over H and W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right. Bottom and right hold what the output size implies (ceil mode included).
    pub pads: [usize; 4],
}

/// Elementwise function of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    Relu,
    /// Lower and upper bound; infinite where the file has none.
    Clip(f32, f32),
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
    /// `clip(alpha * x + beta, 0, 1)`.
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    Elu(f32),
    Softplus,
    Exp,
    Abs,
    Sqrt,
    Erf,
    Neg,
}

/// How a resize maps an output coordinate to a source index (ONNX `coordinate_transformation_mode` and
/// `nearest_mode` are resolved to index tables by the importer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearestMap {
    /// Source row per output row and source column per output column.
    pub rows: Vec<usize>,
    pub cols: Vec<usize>,
}

/// Operators. Shapes are those of the node's input and output values.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// x `[n,h,w,c]`, weights `[m,kh,kw,c/groups]`, optional bias `[m]`. Depthwise is `groups == c`.
    Conv {
        window: Window,
        groups: usize,
    },
    /// x `[.., k]`, weights `[m,k]`, optional bias `[m]`.
    Dense,
    MaxPool(Window),
    /// `count_pad`: padding cells inside the declared pads count in the divisor (as zeros).
    AvgPool {
        window: Window,
        count_pad: bool,
    },
    /// Broadcasting as in NumPy; either side may be constant.
    Add,
    Sub,
    Mul,
    Unary(Unary),
    /// x, slope broadcastable to x (one value or one per last axis).
    PRelu,
    Softmax {
        axis: usize,
    },
    /// Output shape has a 1 at `axis` or lacks it, values are indices.
    ArgMax {
        axis: usize,
        select_last: bool,
    },
    Concat {
        axis: usize,
    },
    /// Before and after counts per axis, fill value.
    Pad {
        before: Vec<usize>,
        after: Vec<usize>,
        value: f32,
    },
    /// Start and step per axis; the extent is the output shape.
    Slice {
        start: Vec<usize>,
        step: Vec<usize>,
    },
    Reshape,
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        perm: Vec<usize>,
    },
    /// x `[n,h,w,c]`.
    ResizeNearest(NearestMap),
}

impl Op {
    /// Name used in reports and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv { .. } => "Conv",
            Op::Dense => "Dense",
            Op::MaxPool(_) => "MaxPool",
            Op::AvgPool { .. } => "AvgPool",
            Op::Add => "Add",
            Op::Sub => "Sub",
            Op::Mul => "Mul",
            Op::Unary(_) => "Unary",
            Op::PRelu => "PRelu",
            Op::Softmax { .. } => "Softmax",
            Op::ArgMax { .. } => "ArgMax",
            Op::Concat { .. } => "Concat",
            Op::Pad { .. } => "Pad",
            Op::Slice { .. } => "Slice",
            Op::Reshape => "Reshape",
            Op::Transpose { .. } => "Transpose",
            Op::ResizeNearest(_) => "Resize",
        }
    }
}

/// One operator application.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name in the file (made from the operator and output where the file has none).
    pub name: String,
    pub op: Op,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
}

/// A network: nodes in execution order, shapes known, inputs and outputs named.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub name: String,
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

impl Graph {
    /// The value behind `id`.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// Append a value and return its id.
    pub fn add_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() - 1)
    }
}
