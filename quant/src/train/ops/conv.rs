//! Convolution and dense layer.

use super::cpu;
use crate::ir::Window;
use crate::train::var::Var;
use burn::tensor::Tensor;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

/// x `[n,h,w,c]`, weights `[m,kh,kw,c/groups]`, optional bias `[m]`; `own` as for [`super::apply_with`].
pub fn conv(
    x: &Var,
    weights: &Var,
    bias: Option<&Var>,
    window: &Window,
    groups: usize,
    shape: &[usize],
    own: bool,
) -> Var {
    let bias = bias.map(|b| b.flat.clone());
    if window.kernel == [1, 1] && window.stride == [1, 1] && window.pads == [0; 4] && groups == 1 {
        let [m, _, _, k] = weights.dims4();
        let rows = x.flat.clone().reshape([x.lead * x.size() / k, k]);
        return Var::of(product(rows, weights.flat.clone(), bias, m), x.lead, shape);
    }
    if own {
        let ([_, h, w, c], m) = (x.dims4(), weights.shape[0]);
        let kernel = cpu::conv::Conv {
            window: *window,
            groups,
            input: [h, w, c],
            output: [shape[1], shape[2], m],
        };
        let y = cpu::apply(kernel, [x.flat.clone(), weights.flat.clone()]);
        return match bias {
            None => Var::new(y, x.lead, shape),
            Some(bias) => {
                let pixels = x.lead * shape[..3].iter().product::<usize>();
                let y = y.reshape([pixels, m]) + bias.reshape([1, m]);
                Var::of(y, x.lead, shape)
            }
        };
    }
    let [top, left, bottom, right] = window.pads;
    let padded = super::moving::pad(x, &[0, top, left, 0], &[0, bottom, right, 0], 0.0);
    let y = convolve(padded.nchw(), weights.nchw(), bias, window, groups);
    nhwc(y, x.lead, shape)
}

/// `x` NCHW with its padding, `weights` OIHW.
pub fn convolve(
    x: Tensor<4>,
    weights: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
) -> Tensor<4> {
    let options = ConvOptions::new(window.stride, [0, 0], window.dilation, groups);
    conv2d(x, weights, bias, options)
}

/// NCHW to the layout of the graph.
pub fn nhwc(y: Tensor<4>, lead: usize, shape: &[usize]) -> Var {
    Var::of(y.permute([0, 2, 3, 1]), lead, shape)
}

/// x `[.., k]`, weights `[m,k]`, optional bias `[m]`.
pub fn dense(x: &Var, weights: &Var, bias: Option<&Var>, shape: &[usize]) -> Var {
    let (m, k) = (weights.shape[0], weights.shape[1]);
    let rows = x.flat.clone().reshape([x.lead * x.size() / k, k]);
    let bias = bias.map(|b| b.flat.clone());
    Var::of(product(rows, weights.flat.clone(), bias, m), x.lead, shape)
}

/// `rows [r,k]` times the transposed weights `[m,k]`, plus the bias: `[r,m]`.
fn product(rows: Tensor<2>, weights: Tensor<1>, bias: Option<Tensor<1>>, m: usize) -> Tensor<2> {
    let [_, k] = rows.dims();
    let y = rows.matmul(weights.reshape([m, k]).transpose());
    match bias {
        Some(bias) => y + bias.reshape([1, m]),
        None => y,
    }
}
