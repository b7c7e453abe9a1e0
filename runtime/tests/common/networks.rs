//! Two small networks that use every operator between them, with self-tests, labels and metadata.

use super::cases::Codes;
use super::cases::coding::{Channels, Coding, Values};
use super::rng::Rng;
use super::{Builder, Variant, run, run_variant, span};
use elastiq::format::*;

fn coding(bits: u8, values: Values, pairs: bool) -> Coding {
    Coding {
        bits,
        values,
        pairs,
        stray: false,
        codes: Codes::Any,
    }
}

/// Append self-test cases by running the network, and build it.
fn with_self_test(mut b: Builder, inputs: &[usize], rng: &mut Rng) -> Vec<u8> {
    let plain = b.clone().build();
    let mut section = 2u32.to_le_bytes().to_vec();
    for _ in 0..2 {
        let data: Vec<Vec<i8>> = inputs.iter().map(|len| rng.codes(*len)).collect();
        let refs: Vec<&[i8]> = data.iter().map(Vec::as_slice).collect();
        section.extend(data.iter().flatten().map(|code| *code as u8));
        section.extend(run(&plain, &refs));
    }
    b.self_test = section;
    b.build()
}

/// [`with_self_test`] for a network with one input.
fn with_self_tests(mut b: Builder, input: usize, rng: &mut Rng) -> Vec<u8> {
    let plain = b.clone().build();
    let mut section = 2u32.to_le_bytes().to_vec();
    for _ in 0..2 {
        let x = rng.codes(input);
        section.extend(x.iter().map(|code| *code as u8));
        for variant in 0..b.variants.len() {
            section.extend(run_variant(&plain, variant, &[&x]));
        }
    }
    b.self_test = section;
    b.build()
}

/// Three operating points: Conv with 8, 4 and 2 of the bits of the same weights, MaxPool of all, Dense in pairs with 8,
/// 8 and 3 bits. The last variant has scales of its own.
pub fn elastic() -> Vec<u8> {
    let (mut rng, mut b) = (Rng(3), Builder::default());
    let x = b.tensor([1, 5, 5, 2], -7);
    let conv = b.tensor([1, 5, 5, 4], 3);
    let pooled = b.tensor([1, 2, 2, 4], 3);
    let flat = b.view(pooled, [1, 1, 1, 16], 3);
    let logits = b.tensor([1, 1, 1, 3], 0);
    let [conv3, pooled3, flat3, logits3] = [
        (conv, [1, 5, 5, 4]),
        (pooled, [1, 2, 2, 4]),
        (pooled, [1, 1, 1, 16]),
        (logits, [1, 1, 1, 3]),
    ]
    .map(|(root, dims)| b.view(root, dims, -2));
    let codes = rng.codes(4 * 18);
    let filters = b.weights(&codes);
    let codes = rng.codes(4 * 16);
    let matrix = b.weights(&codes);
    let window = [3, 3, 1, 1, 1, 1, 1, 1, 1];
    for (y, bits) in [(conv, 8), (conv, 4), (conv3, 2)] {
        let q = b.quant(&rng.quant(4));
        b.op(OpKind::Conv, x, y, &window, |op| {
            (op.weights, op.quant, op.bits) = (filters, q, bits);
            op.coding = if bits < 8 {
                CODING_NESTED
            } else {
                CODING_LINEAR
            };
            op.scratch = span(240, 208);
        });
    }
    for (x, y) in [(conv, pooled), (conv3, pooled3)] {
        b.op(OpKind::MaxPool, x, y, &[2, 2, 2, 2, 1, 1, 0, 0], |_| {});
    }
    for (x, y, bits) in [(flat, logits, 8), (flat3, logits3, 3)] {
        let q = b.quant(&rng.quant(3));
        b.op(OpKind::Dense, x, y, &[], |op| {
            (op.weights, op.quant, op.bits) = (matrix, q, bits);
            op.coding = if bits < 8 {
                CODING_NESTED
            } else {
                CODING_LINEAR
            };
            op.order = ORDER_PAIRS;
        });
    }
    // Rows in the order in which the variants come to them.
    b.ops = [0, 3, 5, 1, 2, 4, 6].map(|i: usize| b.ops[i]).to_vec();
    b.input(x, "image");
    b.output(logits, "logits", "left\nright\nnone");
    b.input(x, "image");
    b.output(logits3, "logits", "left\nright\nnone");
    let variant = |name, ops: [u16; 3], io| Variant {
        name,
        ops: ops.to_vec(),
        io,
        ports: 2,
    };
    b.variants = vec![
        variant("8", [0, 1, 2], 0),
        variant("4", [3, 1, 2], 0),
        variant("2", [4, 5, 6], 2),
    ];
    b.scratch = 448usize.saturating_sub(b.arena);
    with_self_tests(b, 50, &mut rng)
}

/// Conv (4 bits, zero points per channel), Depthwise (3-bit codebook), Add in place, MaxPool, AvgPool, Dense on a view (pairs of rows), Softmax in
/// place, ArgMax; two outputs.
pub fn classifier() -> Vec<u8> {
    let (mut rng, mut b) = (Rng(1), Builder::default());
    let x = b.tensor([1, 6, 5, 2], -7);
    let conv = b.tensor([1, 6, 5, 4], 3);
    let w = coding(4, Values::Zeros, false).append(&mut b, &mut rng, [4, 18], Channels::Rows);
    let q = b.quant(&rng.quant(4));
    b.op(OpKind::Conv, x, conv, &[3, 3, 1, 1, 1, 1, 1, 1, 1], |op| {
        w.set(op);
        (op.quant, op.lo) = (q, 3);
        op.scratch = span(340, 208);
    });
    let dw = b.tensor([1, 6, 5, 4], 3);
    let w = coding(3, Values::Codebook, false).append(&mut b, &mut rng, [9, 4], Channels::Columns);
    let q = b.quant(&rng.quant(4));
    b.op(
        OpKind::Depthwise,
        conv,
        dw,
        &[3, 3, 1, 1, 1, 1, 1, 1],
        |op| {
            w.set(op);
            (op.quant, op.shift) = (q, 1);
        },
    );
    let sum = b.view(dw, [1, 6, 5, 4], -1);
    let q = b.quant(&[(1 << 13, 0)]);
    b.op(OpKind::Add, dw, sum, &[1 << 14, 9000, 14], |op| {
        op.in1.set(conv);
        op.quant = q;
    });
    let pooled = b.tensor([1, 3, 2, 4], -1);
    b.op(
        OpKind::MaxPool,
        sum,
        pooled,
        &[2, 2, 2, 2, 1, 1, 0, 0],
        |_| {},
    );
    let mean = b.tensor([1, 2, 1, 4], -1);
    let q = b.quant(&[(1, 1 << 30), (2, 1 << 29), (3, 1 << 28), (4, 1 << 27)]);
    b.op(
        OpKind::AvgPool,
        pooled,
        mean,
        &[2, 2, 2, 2, 1, 1, 0, 0],
        |op| op.quant = q,
    );
    let flat = b.view(mean, [1, 1, 1, 8], -1);
    let logits = b.tensor([1, 1, 1, 3], 0);
    let w = coding(8, Values::Zero, true).append(&mut b, &mut rng, [3, 8], Channels::Rows);
    let q = b.quant(&rng.quant(3));
    b.op(OpKind::Dense, flat, logits, &[], |op| {
        w.set(op);
        op.quant = q;
    });
    let class = b.tensor_i32([1, 1, 1, 1]);
    b.op(OpKind::ArgMax, logits, class, &[3], |_| {});
    let probabilities = b.view(logits, [1, 1, 1, 3], -128);
    let table: Vec<u8> = (0..256u32)
        .flat_map(|d| (65535u32 >> (d / 16)).to_le_bytes()[..2].to_vec())
        .collect();
    let lut = b.lut(&table);
    b.op(OpKind::Softmax, logits, probabilities, &[3, 256], |op| {
        op.lut = lut
    });
    b.input(x, "image");
    b.output(probabilities, "probabilities", "left\nright\nnone");
    b.output(class, "class", "");
    b.scratch = 548usize.saturating_sub(b.arena);
    b.meta = "{\"source\":\"test\"}".into();
    with_self_test(b, &[60], &mut rng)
}

/// Mul with a constant, Lut in place, PRelu, Transpose, Copy (pad, slice, concat), Resize; two inputs.
pub fn pipeline() -> Vec<u8> {
    let (mut rng, mut b) = (Rng(2), Builder::default());
    let (x1, x2) = (b.tensor([1, 2, 3, 4], 0), b.tensor([1, 4, 2, 3], 5));
    let gate = rng.codes(4);
    let gate = b.constant([1, 1, 1, 4], -3, &gate);
    let product = b.tensor([1, 2, 3, 4], 1);
    let q = b.quant(&[(0, 1 << 24)]);
    b.op(OpKind::Mul, x1, product, &[], |op| {
        op.in1.set(gate);
        op.quant = q;
    });
    let mapped = b.view(product, [1, 2, 3, 4], 1);
    let table: Vec<u8> = (0..=255u8).rev().collect();
    let lut = b.lut(&table);
    b.op(OpKind::Lut, product, mapped, &[], |op| op.lut = lut);
    let turned = b.tensor([1, 4, 2, 3], 1);
    b.op(OpKind::Transpose, mapped, turned, &[0, 3, 1, 2], |_| {});
    let bent = b.tensor([1, 4, 2, 3], 2);
    let mut q = rng.quant(4);
    q[2].1 = -q[2].1;
    let q = b.quant(&q);
    b.op(OpKind::PRelu, x2, bent, &[], |op| op.quant = q);
    let both = b.tensor([1, 4, 4, 3], 2);
    b.op(
        OpKind::Copy,
        turned,
        both,
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 4, 2, 3],
        |_| {},
    );
    b.op(
        OpKind::Copy,
        bent,
        both,
        &[0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 1, 1, 4, 2, 3],
        |op| op.lut = lut,
    );
    let large = b.tensor([1, 6, 5, 3], 2);
    let table: Vec<u8> = [0u16, 0, 1, 2, 3, 3, 0, 1, 1, 2, 3]
        .iter()
        .flat_map(|i| i.to_le_bytes())
        .collect();
    let lut = b.lut(&table);
    b.op(OpKind::Resize, both, large, &[], |op| op.lut = lut);
    let padded = b.tensor([1, 5, 4, 3], 2);
    b.op(
        OpKind::Copy,
        large,
        padded,
        &[0, 1, 0, 0, 0, 1, 1, 0, 1, 2, 2, 1, 1, 3, 3, 3],
        |op| {
            (op.flags, op.lo) = (FLAG_FILL, 2);
        },
    );
    b.input(x1, "a");
    b.input(x2, "b");
    b.output(padded, "y", "");
    with_self_test(b, &[24, 24], &mut rng)
}
