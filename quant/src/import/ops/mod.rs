//! The operators of ONNX that are accepted, one table for dispatch, messages and documentation.

mod activation;
mod affine;
mod conv;
mod dense;
mod elementwise;
mod pool;
mod reduce;
mod reshape;
mod resize;
mod slice;
mod softmax;
pub(super) mod spatial;

pub(crate) use resize::nearest_source;

use super::Res;
use super::call::Call;
use super::qdq;

type Build = fn(&mut Call) -> Res<()>;

macro_rules! operators {
    ($($name:literal, $note:literal, $build:expr;)*) => {
        /// Accepted operators and what is accepted of their attributes, sorted by name.
        pub const OPERATORS: &[(&str, &str)] = &[$(($name, $note)),*];

        /// The function that maps an operator.
        pub(super) fn find(op_type: &str) -> Option<Build> {
            match op_type {
                $($name => Some($build),)*
                _ => None,
            }
        }
    };
}

operators! {
    "Abs", "", activation::abs;
    "Add", "broadcasting", elementwise::add;
    "ArgMax", "axis, keepdims, select_last_index", reduce::arg_max;
    "AveragePool", "1-D, 2-D; auto_pad, ceil_mode, count_include_pad, dilations", pool::average;
    "BatchNormalization", "inference, constant parameters", affine::batch_norm;
    "Cast", "between float types; of an ArgMax result", reshape::cast;
    "Clip", "bounds as attributes or constants", activation::clip;
    "Concat", "axis", reshape::concat;
    "Constant", "dense values", reshape::constant;
    "Conv", "1-D, 2-D; auto_pad, dilations, group, pads, strides; constant weights", conv::conv;
    "DequantizeLinear", "int8, uint8 (int32 for constants); per tensor, per axis for constants", qdq::dequantize;
    "Div", "by a constant", elementwise::div;
    "Dropout", "inference", reshape::dropout;
    "Elu", "alpha", activation::elu;
    "Erf", "", activation::erf;
    "Exp", "", activation::exp;
    "Flatten", "axis", reshape::flatten;
    "Gather", "one constant index, or equally spaced ones", slice::gather;
    "Gemm", "alpha, beta, transA, transB; constant B", dense::gemm;
    "GlobalAveragePool", "1-D, 2-D", reduce::global_average;
    "GlobalMaxPool", "1-D, 2-D", reduce::global_max;
    "HardSigmoid", "alpha, beta", activation::hard_sigmoid;
    "HardSwish", "", activation::hard_swish;
    "Identity", "", reshape::identity;
    "LeakyRelu", "alpha", activation::leaky_relu;
    "MatMul", "constant right side of rank 1 or 2", dense::mat_mul;
    "Max", "with a constant number", elementwise::max;
    "MaxPool", "1-D, 2-D; auto_pad, ceil_mode, dilations; first output", pool::max;
    "Min", "with a constant number", elementwise::min;
    "Mul", "broadcasting", elementwise::mul;
    "Neg", "", activation::neg;
    "PRelu", "constant slope: one number or one per channel", activation::prelu;
    "Pad", "mode constant; negative pads, axes", slice::pad;
    "QuantizeLinear", "int8, uint8; per tensor", qdq::quantize;
    "ReduceMax", "constant axes, keepdims", reduce::max;
    "ReduceMean", "constant axes, keepdims", reduce::mean;
    "Relu", "", activation::relu;
    "Reshape", "constant shape; 0, -1, allowzero", reshape::reshape;
    "Resize", "mode nearest over spatial axes; scales or sizes", resize::resize;
    "Shape", "start, end", reshape::shape;
    "Sigmoid", "", activation::sigmoid;
    "Size", "", reshape::size;
    "Slice", "constant bounds, positive steps", slice::slice;
    "Softmax", "axis", softmax::softmax;
    "Softplus", "", activation::softplus;
    "Split", "axis, split, num_outputs", slice::split;
    "Sqrt", "", activation::sqrt;
    "Squeeze", "axes", reshape::squeeze;
    "Sub", "broadcasting", elementwise::sub;
    "Sum", "broadcasting, any number of inputs", elementwise::sum;
    "Tanh", "", activation::tanh;
    "Transpose", "perm", reshape::transpose;
    "Unsqueeze", "axes", reshape::unsqueeze;
    "Upsample", "mode nearest over spatial axes", resize::upsample;
}

/// Text about an operator that is not accepted.
pub(super) fn unsupported() -> String {
    let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
    format!(
        "operator is not supported; accepted are {}",
        names.join(", ")
    )
}

/// Operators that may stand between QuantizeLinear and DequantizeLinear: they only move codes.
pub(super) fn moves_codes(op_type: &str) -> bool {
    matches!(
        op_type,
        "Flatten"
            | "Gather"
            | "Identity"
            | "MaxPool"
            | "Reshape"
            | "Slice"
            | "Split"
            | "Squeeze"
            | "Transpose"
            | "Unsqueeze"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_complete() {
        assert!(OPERATORS.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(OPERATORS.iter().all(|(name, _)| find(name).is_some()));
        assert!(find("LSTM").is_none());
    }
}
