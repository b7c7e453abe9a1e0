//! What each type of layer adds to the graph.

use super::builder::Builder;
use super::keys::{Keys, Padding};
use crate::ir::{Op, Unary, ValueId, Window};
use toml::Table;

/// Append the layer that `table` describes, number `index` from 0.
pub fn add(b: &mut Builder, index: usize, table: Table) -> Result<(), String> {
    let mut keys = Keys::new(format!("layer {}", index + 1), table);
    let kind = keys.text("type")?;
    let default = format!("{}{}", kind.replace('-', "_"), index + 1);
    let name = keys.word("name", &default)?;
    let place = format!("layer {} (`{name}`, {kind})", index + 1);
    let from = keys.maybe_text("from")?;
    let x = match &from {
        None => b.last,
        Some(other) => b
            .named(other)
            .ok_or_else(|| format!("{place}: `from`: there is no layer `{other}` before"))?,
    };
    keys = keys.moved(place.clone());
    let act = matches!(kind.as_str(), "conv" | "depthwise" | "dense" | "add");
    let function = match act {
        true => keys.maybe_text("activation")?,
        false => None,
    };
    let at = |text: String| format!("{place}: {text}");
    match kind.as_str() {
        "conv" | "depthwise" => conv(b, &mut keys, &name, x, kind == "depthwise")?,
        "dense" => dense(b, &mut keys, &name, x)?,
        "max-pool" | "avg-pool" => pool(b, &mut keys, &name, x, kind == "max-pool")?,
        "global-avg-pool" => {
            let [_, h, w, _] = spatial(b, x, &keys)?;
            let window = Window {
                kernel: [h, w],
                stride: [1, 1],
                dilation: [1, 1],
                pads: [0; 4],
            };
            let op = Op::AvgPool {
                window,
                count_pad: false,
            };
            b.node(&name, op, vec![x], None).map_err(at)?;
        }
        "activation" => {
            let function = keys.text("function")?;
            activate(b, &keys, &name, &function, x)?;
        }
        "add" => {
            let other = keys.text("with")?;
            let found = b.named(&other);
            let y =
                found.ok_or_else(|| keys.error(format!("there is no layer `{other}` before")))?;
            if b.shape(x) != b.shape(y) {
                let text = format!("shapes {:?} and {:?} differ", b.shape(x), b.shape(y));
                return Err(keys.error(text));
            }
            b.node(&name, Op::Add, vec![x, y], None).map_err(at)?;
        }
        "flatten" => {
            let n = b.shape(x).iter().product();
            b.node(&name, Op::Reshape, vec![x], Some(vec![1, n]))
                .map_err(at)?;
        }
        "softmax" => {
            let axis = b.shape(x).len() - 1;
            b.node(&name, Op::Softmax { axis }, vec![x], None)
                .map_err(at)?;
        }
        _ => return Err(keys.error("there is no such type of layer")),
    }
    if let Some(function) = function {
        let x = b.last;
        activate(b, &keys, &format!("{name}_act"), &function, x)?;
    }
    if !b.name(&name) {
        return Err(keys.error("the name is taken"));
    }
    keys.finish()
}

/// `[1, height, width, channels]` of a picture.
fn spatial(b: &Builder, x: ValueId, keys: &Keys) -> Result<[usize; 4], String> {
    <[usize; 4]>::try_from(b.shape(x))
        .map_err(|_| keys.error(format!("needs a picture, not {:?}", b.shape(x))))
}

fn window(
    keys: &mut Keys,
    size: [usize; 2],
    stride: Option<[usize; 2]>,
    dilates: bool,
) -> Result<Window, String> {
    let kernel = keys.pair("kernel", None)?;
    let stride = keys.pair("stride", Some(stride.unwrap_or(kernel)))?;
    let dilation = match dilates {
        true => keys.pair("dilation", Some([1, 1]))?,
        false => [1, 1],
    };
    let pads = match keys.padding()? {
        Padding::Sides(sides) => sides,
        Padding::Same => {
            let mut sides = [0; 4];
            for axis in 0..2 {
                let out = size[axis].div_ceil(stride[axis]);
                let span = (kernel[axis] - 1) * dilation[axis] + 1;
                let all = ((out - 1) * stride[axis] + span).saturating_sub(size[axis]);
                sides[axis] = all / 2;
                sides[axis + 2] = all - all / 2;
            }
            sides
        }
    };
    Ok(Window {
        kernel,
        stride,
        dilation,
        pads,
    })
}

fn conv(
    b: &mut Builder,
    keys: &mut Keys,
    name: &str,
    x: ValueId,
    depthwise: bool,
) -> Result<(), String> {
    let [_, h, w, c] = spatial(b, x, keys)?;
    let window = window(keys, [h, w], Some([1, 1]), true)?;
    let (m, groups) = match depthwise {
        true => (c, c),
        false => (keys.count("filters", None)?, keys.count("groups", Some(1))?),
    };
    if c % groups != 0 || m % groups != 0 {
        let text = format!("{c} channels and {m} filters do not divide into {groups} groups");
        return Err(keys.error(text));
    }
    let [kh, kw] = window.kernel;
    let fan = [kh * kw * c / groups, kh * kw * m / groups];
    let weights = b
        .weights(format!("{name}_w"), &[m, kh, kw, c / groups], fan)
        .map_err(|e| keys.error(e))?;
    let inputs = with_bias(b, keys, name, vec![x, weights], m)?;
    let op = Op::Conv { window, groups };
    b.node(name, op, inputs, None).map_err(|e| keys.error(e))
}

fn dense(b: &mut Builder, keys: &mut Keys, name: &str, x: ValueId) -> Result<(), String> {
    let &[_, k] = b.shape(x) else {
        let text = format!(
            "needs a vector, not {:?}: put a layer \"flatten\" before",
            b.shape(x)
        );
        return Err(keys.error(text));
    };
    let m = keys.count("units", None)?;
    let weights = b
        .weights(format!("{name}_w"), &[m, k], [k, m])
        .map_err(|e| keys.error(e))?;
    let inputs = with_bias(b, keys, name, vec![x, weights], m)?;
    b.node(name, Op::Dense, inputs, None)
        .map_err(|e| keys.error(e))
}

fn with_bias(
    b: &mut Builder,
    keys: &mut Keys,
    name: &str,
    mut inputs: Vec<ValueId>,
    m: usize,
) -> Result<Vec<ValueId>, String> {
    if keys.flag("bias", true)? {
        inputs.push(b.filled(format!("{name}_b"), m, 0.0));
    }
    Ok(inputs)
}

fn pool(b: &mut Builder, keys: &mut Keys, name: &str, x: ValueId, max: bool) -> Result<(), String> {
    let [_, h, w, _] = spatial(b, x, keys)?;
    let window = window(keys, [h, w], None, false)?;
    let op = match max {
        true => Op::MaxPool(window),
        false => Op::AvgPool {
            window,
            count_pad: false,
        },
    };
    b.node(name, op, vec![x], None).map_err(|e| keys.error(e))
}

/// Slope of LeakyRelu, and of PRelu before training.
const LEAK: f32 = 0.01;
const SLOPE: f32 = 0.25;

fn activate(
    b: &mut Builder,
    keys: &Keys,
    name: &str,
    function: &str,
    x: ValueId,
) -> Result<(), String> {
    let f = match function {
        "relu" => Unary::Relu,
        "relu6" => Unary::Clip(0.0, 6.0),
        "leaky-relu" => Unary::LeakyRelu(LEAK),
        "sigmoid" => Unary::Sigmoid,
        "tanh" => Unary::Tanh,
        "elu" => Unary::Elu(1.0),
        "hard-swish" => Unary::HardSwish,
        "hard-sigmoid" => Unary::HardSigmoid {
            alpha: 1.0 / 6.0,
            beta: 0.5,
        },
        "softplus" => Unary::Softplus,
        "prelu" => {
            let channels = b.shape(x).last().copied().unwrap_or(1);
            let slope = b.filled(format!("{name}_slope"), channels, SLOPE);
            return b
                .node(name, Op::PRelu, vec![x, slope], None)
                .map_err(|e| keys.error(e));
        }
        _ => return Err(keys.error(format!("there is no function `{function}`"))),
    };
    b.node(name, Op::Unary(f), vec![x], None)
        .map_err(|e| keys.error(e))
}
