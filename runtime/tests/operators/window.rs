//! Conv, Depthwise, MaxPool, AvgPool.

use super::common::{Builder, rng::Rng, run_i8};
use super::reference::{Rescale, Tensor, indices};
use elastiq::format::OpKind;
use proptest::prelude::*;

/// Shape and geometry; the output size is free, since whatever lies outside of the input is padding.
#[derive(Clone, Debug)]
struct Geometry {
    n: usize,
    size: [usize; 2],
    out: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pad: [usize; 2],
}

impl Geometry {
    fn p(&self) -> Vec<usize> {
        [self.kernel, self.stride, self.dilation, self.pad].concat()
    }

    /// Input coordinates that tap `k` of output `o` reads.
    fn source(&self, o: [usize; 4], k: [usize; 2]) -> (i64, i64) {
        let at = |axis: usize| {
            (o[axis + 1] * self.stride[axis] + k[axis] * self.dilation[axis]) as i64
                - self.pad[axis] as i64
        };
        (at(0), at(1))
    }

    fn taps(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [kh, kw] = self.kernel;
        (0..kh * kw).map(move |i| [i / kw, i % kw])
    }

    fn input(&self, c: usize) -> [usize; 4] {
        [self.n, self.size[0], self.size[1], c]
    }

    fn output(&self, c: usize) -> [usize; 4] {
        [self.n, self.out[0], self.out[1], c]
    }
}

prop_compose! {
    fn geometry()(
        n in 1..=2usize,
        size in prop::array::uniform2(1..=7usize),
        out in prop::array::uniform2(1..=5usize),
        kernel in prop::array::uniform2(1..=4usize),
        stride in prop::array::uniform2(1..=3usize),
        dilation in prop::array::uniform2(1..=3usize),
        pad in prop::array::uniform2(0..=5usize),
    ) -> Geometry {
        Geometry { n, size, out, kernel, stride, dilation, pad }
    }
}

/// 0 for symmetric weights, else any zero point of 8-bit codes.
fn weight_zero() -> impl Strategy<Value = i16> {
    prop_oneof![Just(0), -128i16..=127]
}

fn rescale(rng: &mut Rng) -> Rescale {
    let (lo, hi) = rng.bounds();
    Rescale {
        shift: rng.shift(),
        zero: rng.code(),
        lo,
        hi,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn conv(g in geometry(), groups in 1..=3usize, cg in prop_oneof![1..=4usize, Just(19)],
            mg in 1..=4usize, w_zero in weight_zero(), seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (c, m, [kh, kw]) = (groups * cg, groups * mg, g.kernel);
        let (rq, z_x) = (rescale(&mut rng), rng.code());
        let (x, y) = (b.tensor(g.input(c), z_x), b.tensor(g.output(m), rq.zero));
        let weights = rng.codes(m * kh * kw * cg);
        let quant = rng.quant(m);
        let (w_span, q_span) = (b.weights(&weights), b.quant(&quant));
        b.op(OpKind::Conv, x, y, &[g.p(), vec![groups]].concat(), |op| {
            (op.weights, op.quant) = (w_span, q_span);
            (op.shift, op.lo, op.hi) = (rq.shift, rq.lo, rq.hi);
            op.w_zero.set(w_zero);
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(g.input(c), &rng.codes(g.input(c).iter().product()));
        let want: Vec<i8> = indices(g.output(m)).map(|o| {
            let mut acc = i128::from(quant[o[3]].0);
            for k in g.taps() {
                let (sy, sx) = g.source(o, k);
                for i in 0..cg {
                    let w = weights[((o[3] * kh + k[0]) * kw + k[1]) * cg + i];
                    let x = input.get(o[0], sy, sx, o[3] / mg * cg + i).unwrap_or(z_x.into());
                    acc += (i128::from(w) - i128::from(w_zero)) * x;
                }
            }
            rq.code(acc, quant[o[3]].1)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    #[test]
    fn depthwise(g in geometry(), c in prop_oneof![1..=5usize, Just(16), Just(37)],
                 multiplier in 1..=3usize, w_zero in weight_zero(), seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (m, [kh, kw]) = (c * multiplier, g.kernel);
        let (rq, z_x) = (rescale(&mut rng), rng.code());
        let (x, y) = (b.tensor(g.input(c), z_x), b.tensor(g.output(m), rq.zero));
        let weights = rng.codes(kh * kw * m);
        let quant = rng.quant(m);
        let (w_span, q_span) = (b.weights(&weights), b.quant(&quant));
        b.op(OpKind::Depthwise, x, y, &g.p(), |op| {
            (op.weights, op.quant) = (w_span, q_span);
            (op.shift, op.lo, op.hi) = (rq.shift, rq.lo, rq.hi);
            op.w_zero.set(w_zero);
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(g.input(c), &rng.codes(g.input(c).iter().product()));
        let want: Vec<i8> = indices(g.output(m)).map(|o| {
            let mut acc = i128::from(quant[o[3]].0);
            for k in g.taps() {
                let (sy, sx) = g.source(o, k);
                let w = weights[(k[0] * kw + k[1]) * m + o[3]];
                let x = input.get(o[0], sy, sx, o[3] / multiplier).unwrap_or(z_x.into());
                acc += (i128::from(w) - i128::from(w_zero)) * x;
            }
            rq.code(acc, quant[o[3]].1)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    #[test]
    fn max_pool(g in geometry(), c in 1..=20usize, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (lo, hi) = rng.bounds();
        let (x, y) = (b.tensor(g.input(c), rng.code()), b.tensor(g.output(c), rng.code()));
        b.op(OpKind::MaxPool, x, y, &g.p(), |op| (op.lo, op.hi) = (lo, hi));
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(g.input(c), &rng.codes(g.input(c).iter().product()));
        let want: Vec<i8> = indices(g.output(c)).map(|o| {
            let cells = g.taps().map(|k| g.source(o, k));
            let max = cells.filter_map(|(sy, sx)| input.get(o[0], sy, sx, o[3])).max();
            (max.unwrap_or(-128) as i8).max(lo).min(hi)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }

    #[test]
    fn avg_pool(g in geometry(), c in 1..=20usize, count_pad: bool, seed: u64) {
        let (mut rng, mut b) = (Rng(seed), Builder::default());
        let (rq, z_x) = (rescale(&mut rng), rng.code());
        let (x, y) = (b.tensor(g.input(c), z_x), b.tensor(g.output(c), rq.zero));
        let quant = rng.quant(if count_pad { 1 } else { g.kernel[0] * g.kernel[1] });
        let q_span = b.quant(&quant);
        b.op(OpKind::AvgPool, x, y, &g.p(), |op| {
            op.quant = q_span;
            (op.shift, op.lo, op.hi) = (rq.shift, rq.lo, rq.hi);
        });
        b.input(x, "x");
        b.output(y, "y", "");
        let input = Tensor::new(g.input(c), &rng.codes(g.input(c).iter().product()));
        let want: Vec<i8> = indices(g.output(c)).map(|o| {
            let cells: Vec<Option<i128>> = g.taps().map(|k| {
                let (sy, sx) = g.source(o, k);
                input.get(o[0], sy, sx, o[3])
            }).collect();
            // A kernel of one element has one row in either mode, and then padding counts.
            let (sum, row) = if quant.len() == 1 {
                (cells.iter().map(|x| x.unwrap_or(z_x.into())).sum::<i128>(), 0)
            } else {
                match cells.iter().flatten().count() {
                    0 => return rq.code(0, 0),
                    count => (cells.iter().flatten().sum(), count - 1),
                }
            };
            rq.code(i128::from(quant[row].0) + sum, quant[row].1)
        }).collect();
        prop_assert_eq!(run_i8(&b.build(), &[&input.data]), want);
    }
}
