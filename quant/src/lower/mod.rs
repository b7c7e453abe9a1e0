//! From the float network and calibrated ranges to integer operators.
//!
//! Lowering runs in three stages: [`steps`] decides what is executed, [`params`] gives every activation a scale
//! and zero point, and the emitter writes operators with integer parameters. Everything a kernel computes later
//! is proven here to stay inside `i32`; what cannot be kept is refused with the node's and channel's name.

mod emit;
pub mod format;
mod func;
pub mod given;
pub mod linear;
pub mod nested;
pub mod params;
pub mod quant;
mod simple;
pub mod steps;

use crate::Error;
use crate::calibrate::Ranges;
use crate::ir::{Graph, ValueId};
use elastiq::format::OpKind;
use format::Formats;
use given::Given;
use linear::Codes;
use quant::Quant;

/// A tensor of the integer network. Dimensions are padded to rank 4 with ones on the left.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub dims: [u32; 4],
    pub quant: Quant,
    /// Bytes per element: 1 for `i8`, 4 for `i32` indices.
    pub width: u32,
    pub place: Place,
    /// Value of the float network that it approximates.
    pub value: Option<ValueId>,
}

/// Where the bytes of a tensor are.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In the arena, with bytes of its own.
    Arena,
    /// The bytes of another tensor under other dimensions.
    View(usize),
    /// In the artifact.
    Const(Vec<i8>),
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().map(|&d| d as usize).product()
    }

    /// True where a dimension is 0, which no importer produces.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.len() * self.width as usize
    }
}

/// One integer operator; fields as in [`elastiq::format::OpRow`], contents instead of spans.
#[derive(Clone, Debug)]
pub struct LOp {
    /// Node of the float network.
    pub name: String,
    /// Operator of that node.
    pub op: &'static str,
    pub kind: OpKind,
    pub flags: u8,
    pub shift: i8,
    pub in0: usize,
    pub in1: Option<usize>,
    pub out: usize,
    pub lo: i8,
    pub hi: i8,
    /// Weights in the order of [`elastiq::format::OpKind`].
    pub weights: Codes,
    /// `(bias, mult)` per row.
    pub quant: Vec<(i32, i32)>,
    pub lut: Vec<u8>,
    pub p: [u16; 16],
    /// Multiply-accumulates.
    pub macs: u64,
}

impl LOp {
    /// Tensors that the operator reads.
    pub fn inputs(&self) -> impl Iterator<Item = usize> + use<> {
        std::iter::once(self.in0).chain(self.in1)
    }
}

/// The integer network: tensors by index, operators in execution order.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    pub tensors: Vec<Tensor>,
    pub ops: Vec<LOp>,
    /// Tensor per graph input and per graph output.
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
}

impl Lowered {
    /// Tensor whose bytes `t` uses.
    pub fn root(&self, mut t: usize) -> usize {
        while let Place::View(of) = self.tensors[t].place {
            t = of;
        }
        t
    }
}

/// Lower `graph` with the activation ranges of its calibration and the weight formats of its layers, but for what is
/// `given`.
///
/// # Errors
/// Formats for layers that do not exist. Names the node (and channel) that has no integer form, or whose arithmetic does not fit 32 bits.
pub fn lower(
    graph: &Graph,
    ranges: &Ranges,
    formats: &Formats,
    given: &Given,
) -> Result<Lowered, Error> {
    let steps = steps::steps(graph)?;
    let params = params::assign(graph, &steps, ranges, given)?;
    emit::emit(graph, &steps, &params, formats, given)
}
