//! Files in QDQ form.

use super::proto::{Net, int, ints};

/// `x` quantized to uint8 and back, then a convolution with int8 weights per channel.
fn conv() -> Net {
    Net::new(13, "1 2 4 4")
        .values("sx", &[], &[0.02])
        .codes("zx", 2, &[], &[100])
        .codes("w", 3, &[3, 2, 1, 1], &[127, -3, 0, 50, -128, 7])
        .values("sw", &[3], &[0.01, 0.02, 0.005])
        .codes("zw", 3, &[3], &[0, 0, 0])
        .codes("b", 6, &[3], &[100, -2000, 30000])
        .values("sb", &[3], &[0.0002, 0.0004, 0.0001])
        .codes("zb", 6, &[3], &[0, 0, 0])
        .node("QuantizeLinear", "x sx zx -> q", vec![])
        .node("DequantizeLinear", "q sx zx -> d", vec![])
        .node("DequantizeLinear", "w sw zw -> wf", vec![int("axis", 0)])
        .node("DequantizeLinear", "b sb zb -> bf", vec![int("axis", 0)])
        .node("Conv", "d wf bf -> c", vec![])
}

#[test]
fn scales_and_codes_are_kept() {
    let graph = conv()
        .values("sy", &[], &[0.1])
        .codes("zy", 3, &[], &[-5])
        .node("QuantizeLinear", "c sy zy -> p", vec![])
        .node("DequantizeLinear", "p sy zy -> y", vec![])
        .check();
    let input = graph.value(graph.inputs[0].value).quant.clone().unwrap();
    assert_eq!(
        (input.scale, input.zero, input.axis),
        (vec![0.02], vec![-28], None)
    );
    let node = graph.nodes.iter().find(|n| n.op.name() == "Conv").unwrap();
    let output = graph.value(node.output).quant.clone().unwrap();
    assert_eq!((output.scale, output.zero), (vec![0.1], vec![-5]));
    let weights = graph.value(node.inputs[1]);
    let quant = weights.quant.clone().unwrap();
    assert_eq!(
        (quant.axis, quant.scale.as_slice()),
        (Some(0), &[0.01, 0.02, 0.005][..])
    );
    let array = weights.constant.as_ref().unwrap();
    let codes: Vec<i32> = array
        .iter()
        .enumerate()
        .map(|(i, w)| (w / quant.scale[i / 2]).round() as i32)
        .collect();
    assert_eq!(codes, [127, -3, 0, 50, -128, 7]);
    let bias = graph.value(node.inputs[2]);
    let scale = &bias.quant.as_ref().unwrap().scale;
    let codes: Vec<i32> = bias
        .constant
        .as_ref()
        .unwrap()
        .iter()
        .zip(scale)
        .map(|(b, s)| (b / s).round() as i32)
        .collect();
    assert_eq!(codes, [100, -2000, 30000]);
}

#[test]
fn forms() {
    // Another scale after the first one; codes that are moved before they are read; float weights that are quantized.
    let two = || {
        Net::new(13, "1 2 4 4")
            .values("s", &[], &[0.02])
            .codes("z", 3, &[], &[3])
            .values("t", &[], &[0.3])
    };
    let again = two()
        .node("QuantizeLinear", "x s z -> a", vec![])
        .node("DequantizeLinear", "a s z -> b", vec![])
        .node("QuantizeLinear", "b t z -> c", vec![])
        .node("DequantizeLinear", "c t z -> y", vec![])
        .check();
    assert_eq!(again.nodes.len(), 1, "the second rounding stays");
    two()
        .node("QuantizeLinear", "x s z -> a", vec![])
        .node("MaxPool", "a -> b", vec![ints("kernel_shape", &[2, 2])])
        .node("Flatten", "b -> c", vec![])
        .node("DequantizeLinear", "c s z -> y", vec![])
        .load()
        .unwrap();
    two()
        .random("w", &[3, 2, 1, 1])
        .values("u", &[], &[0.01])
        .node("QuantizeLinear", "x s z -> a", vec![])
        .node("DequantizeLinear", "a s z -> b", vec![])
        .node("QuantizeLinear", "w u z -> v", vec![])
        .node("DequantizeLinear", "v u z -> wf", vec![])
        .node("Conv", "b wf -> y", vec![])
        .check();
    // The zero point may be missing: uint8, 0.
    two()
        .node("QuantizeLinear", "x s -> a", vec![])
        .node("DequantizeLinear", "a s -> y", vec![])
        .check();
}

#[test]
fn refusals() {
    let net = || {
        Net::new(13, "1 2 4 4")
            .values("s", &[], &[0.02])
            .values("two", &[2], &[0.02, 0.03])
            .codes("z", 3, &[], &[3])
            .codes("zz", 3, &[2], &[3, 4])
            .codes("wide", 5, &[], &[3])
            .values("bad", &[], &[-1.0])
    };
    let quantize = |wires: &str| net().node("QuantizeLinear", wires, vec![]);
    quantize("x two zz -> y").refused(&["per-axis scales on an activation"]);
    quantize("x s wide -> y").refused(&["I16", "accepted are int8 and uint8"]);
    quantize("x bad z -> y").refused(&["scale -1"]);
    quantize("x s z -> y").refused(&["output `y`", "DequantizeLinear"]);
    quantize("x s z -> q")
        .node("Relu", "q -> y", vec![])
        .refused(&["8-bit codes `q`"]);
    quantize("x s z -> q")
        .node("DequantizeLinear", "q s wide -> y", vec![])
        .refused(&["I16"]);
    quantize("x s z -> q")
        .node("DequantizeLinear", "q s -> y", vec![])
        .refused(&["differ"]);
    net()
        .node("DequantizeLinear", "x s z -> y", vec![])
        .refused(&["not the output of QuantizeLinear"]);
}
