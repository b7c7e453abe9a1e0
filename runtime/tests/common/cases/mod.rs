//! Single operators with everything about them drawn at random, and the result by their definitions: indices
//! everywhere, sums in `i64` (at most 2^15 * 2^8 per product), nothing shared with the kernels.

mod binary;
pub mod coding;
mod geometry;

use super::Builder;
use super::reference::{Rescale, Tensor, clamp, indices, wrap};
use super::rng::Rng;
use binary::{Binary, binary};
use coding::{Channels, Coded, Coding, coding};
use elastiq::format::{ALIGN, OpKind, Span};
use elastiq::{Backend, Layout};
use geometry::{Geometry, geometry};
use proptest::prelude::*;

/// Most multiply-accumulates of a case, so that thousands of cases take seconds.
fn work_limit() -> impl Strategy<Value = usize> {
    prop_oneof![19 => Just(60_000), 1 => Just(400_000)]
}

/// How codes are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Codes {
    Any,
    /// The smallest and the largest code only.
    Ends,
    Lowest,
    Highest,
}

impl Codes {
    /// A code in `-half..half`.
    fn next(self, rng: &mut Rng, half: i16) -> i16 {
        let end = |high| if high { half - 1 } else { -half };
        match self {
            Codes::Any if rng.below(8) > 0 => (rng.word() % (2 * half as u64)) as i16 - half,
            Codes::Any | Codes::Ends => end(rng.below(2) == 1),
            Codes::Lowest => end(false),
            Codes::Highest => end(true),
        }
    }

    fn bytes(self, rng: &mut Rng, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next(rng, 128) as i8).collect()
    }
}

fn codes() -> impl Strategy<Value = Codes> {
    prop_oneof![
        8 => Just(Codes::Any),
        1 => Just(Codes::Ends),
        1 => Just(Codes::Lowest),
        1 => Just(Codes::Highest),
    ]
}

#[derive(Clone, Debug)]
pub enum Op {
    Conv {
        g: Geometry,
        groups: usize,
        cg: usize,
        mg: usize,
        coding: Coding,
    },
    Depthwise {
        g: Geometry,
        c: usize,
        multiplier: usize,
        coding: Coding,
    },
    Dense {
        rows: [usize; 3],
        k: usize,
        m: usize,
        coding: Coding,
    },
    MaxPool {
        g: Geometry,
        c: usize,
    },
    AvgPool {
        g: Geometry,
        c: usize,
        count_pad: bool,
    },
    Add {
        operands: Binary,
        a: i16,
        b: i16,
        s: u8,
    },
    Mul {
        operands: Binary,
    },
}

/// Scratch of the operator.
#[derive(Clone, Copy, Debug)]
pub enum Scratch {
    None,
    Words(usize),
    /// What [`Layout`] asks for this many tiles of rows (Conv, Dense) or for the planes (Depthwise), in bytes more
    /// or less.
    Layout(Backend, usize, isize),
    Plenty,
}

/// Bytes between the tensors.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Distance of input, output and scratch from a multiple of 16.
    pub odd: [usize; 3],
    /// Scratch lies before the output.
    pub scratch_first: bool,
}

/// Where operands are read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Home {
    /// Graph inputs in the arena.
    Arena,
    /// Constants, so that operators of one artifact do not share memory but for their outputs and scratch.
    Constants,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub op: Op,
    pub rescale: Rescale,
    /// Zero points of the operands.
    pub zeros: [i8; 2],
    pub data: Codes,
    pub scratch: Scratch,
    pub place: Place,
    pub seed: u64,
}

/// What [`Case::append`] added to an artifact.
pub struct Appended {
    /// Output tensor.
    pub y: u16,
    /// Graph inputs, in order.
    pub inputs: Vec<(u16, Vec<i8>)>,
    pub want: Vec<i8>,
    pub scratch: Span,
}

impl Appended {
    /// The artifact of this operator alone.
    pub fn build(&self, mut b: Builder) -> Vec<u8> {
        for (x, _) in &self.inputs {
            b.input(*x, "x");
        }
        b.output(self.y, "y", "");
        b.build()
    }
}

impl Case {
    pub fn kind(&self) -> OpKind {
        match self.op {
            Op::Conv { .. } => OpKind::Conv,
            Op::Depthwise { .. } => OpKind::Depthwise,
            Op::Dense { .. } => OpKind::Dense,
            Op::MaxPool { .. } => OpKind::MaxPool,
            Op::AvgPool { .. } => OpKind::AvgPool,
            Op::Add { .. } => OpKind::Add,
            Op::Mul { .. } => OpKind::Mul,
        }
    }

    /// Append the operator, its operands and its tables to `b`.
    pub fn append(&self, b: &mut Builder, home: Home) -> Appended {
        let mut rng = Rng(self.seed);
        match &self.op {
            Op::Conv {
                g,
                groups,
                cg,
                mg,
                coding,
            } => {
                let (c, m, k) = (groups * cg, groups * mg, g.taps() * cg);
                let x = self.operand(b, &mut rng, home, g.input(c));
                let w = coding.append(b, &mut rng, [m, k], Channels::Rows);
                let z_x = i64::from(self.zeros[0]);
                let sum = |o: [usize; 4]| {
                    let first = o[3] / mg * cg;
                    let tap = |t: usize| {
                        let (sy, sx) = g.source(o, t);
                        let weights = &w.values[o[3] * k + t * cg..][..*cg];
                        let product = |(i, w): (usize, &i64)| {
                            w * x.tensor.get(o[0], sy, sx, first + i).unwrap_or(z_x)
                        };
                        weights.iter().enumerate().map(product).sum::<i64>()
                    };
                    (0..g.taps()).map(tap).sum()
                };
                let p = [g.p(), vec![*groups]].concat();
                self.weighted(b, &mut rng, OpKind::Conv, &x, g.output(m), &w, &p, sum)
            }
            Op::Depthwise {
                g,
                c,
                multiplier,
                coding,
            } => {
                let m = c * multiplier;
                let x = self.operand(b, &mut rng, home, g.input(*c));
                let w = coding.append(b, &mut rng, [g.taps(), m], Channels::Columns);
                let z_x = i64::from(self.zeros[0]);
                let sum = |o: [usize; 4]| {
                    let tap = |t: usize| {
                        let (sy, sx) = g.source(o, t);
                        let x = x.tensor.get(o[0], sy, sx, o[3] / multiplier);
                        w.values[t * m + o[3]] * x.unwrap_or(z_x)
                    };
                    (0..g.taps()).map(tap).sum()
                };
                self.weighted(
                    b,
                    &mut rng,
                    OpKind::Depthwise,
                    &x,
                    g.output(m),
                    &w,
                    &g.p(),
                    sum,
                )
            }
            Op::Dense { rows, k, m, coding } => {
                let dims = |last| [rows[0], rows[1], rows[2], last];
                let x = self.operand(b, &mut rng, home, dims(*k));
                let w = coding.append(b, &mut rng, [*m, *k], Channels::Rows);
                let sum = |[n, h, v, o]: [usize; 4]| {
                    let product = |i: usize| w.values[o * k + i] * x.tensor.at([n, h, v, i]);
                    (0..*k).map(product).sum()
                };
                self.weighted(b, &mut rng, OpKind::Dense, &x, dims(*m), &w, &[], sum)
            }
            Op::MaxPool { g, c } => {
                let x = self.operand(b, &mut rng, home, g.input(*c));
                let want = |o: [usize; 4]| {
                    let cell = |t| {
                        let (sy, sx) = g.source(o, t);
                        x.tensor.get(o[0], sy, sx, o[3])
                    };
                    let max = (0..g.taps()).filter_map(cell).max().unwrap_or(-128);
                    clamp(max, self.rescale.lo, self.rescale.hi)
                };
                let want = indices(g.output(*c)).map(want).collect();
                let (y, scratch) = self.output(b, g.output(*c));
                b.op(OpKind::MaxPool, x.index, y, &g.p(), |op| {
                    (op.lo, op.hi) = (self.rescale.lo, self.rescale.hi);
                    op.scratch = scratch;
                });
                Appended {
                    y,
                    inputs: x.inputs,
                    want,
                    scratch,
                }
            }
            Op::AvgPool { g, c, count_pad } => {
                let x = self.operand(b, &mut rng, home, g.input(*c));
                // A kernel of one element has one row in either mode, and then padding counts.
                let rows = if *count_pad { 1 } else { g.taps() };
                let z_x = i64::from(self.zeros[0]);
                let sum = |o: [usize; 4]| {
                    let cells = (0..g.taps()).map(|t| {
                        let (sy, sx) = g.source(o, t);
                        x.tensor.get(o[0], sy, sx, o[3])
                    });
                    if rows == 1 {
                        return Some((0, cells.map(|x| x.unwrap_or(z_x)).sum()));
                    }
                    let inside: Vec<i64> = cells.flatten().collect();
                    Some((inside.len().checked_sub(1)?, inside.iter().sum()))
                };
                let sums: Vec<Option<(usize, i64)>> = indices(g.output(*c)).map(sum).collect();
                let (quant, want) = self.requantize(&mut rng, rows, &sums);
                let (y, scratch) = self.output(b, g.output(*c));
                let quant = b.quant(&quant);
                b.op(OpKind::AvgPool, x.index, y, &g.p(), |op| {
                    self.set(op, quant);
                    op.scratch = scratch;
                });
                Appended {
                    y,
                    inputs: x.inputs,
                    want,
                    scratch,
                }
            }
            Op::Add {
                operands,
                a,
                b: factor,
                s,
            } => {
                let (a, factor) = (*a, *factor);
                let p = [
                    usize::from(a as u16),
                    usize::from(factor as u16),
                    (*s).into(),
                ];
                let largest = (i64::from(a).abs() + i64::from(factor).abs()) * 128;
                let c = match rng.below(2) {
                    0 => rng.bias(),
                    _ => (1 << s >> 1) + (rng.word() as i64 % (largest + 1)) as i32,
                };
                operands.append(self, b, &mut rng, home, OpKind::Add, &p, |_, pairs| {
                    let sum = |(x1, x2): &(i64, i64)| {
                        let sum = i64::from(a) * x1 + i64::from(factor) * x2 + i64::from(c);
                        clamp(
                            wrap(sum).div_euclid(1 << s),
                            self.rescale.lo,
                            self.rescale.hi,
                        )
                    };
                    ((c, 0), pairs.iter().map(sum).collect())
                })
            }
            Op::Mul { operands } => {
                operands.append(self, b, &mut rng, home, OpKind::Mul, &[], |rng, pairs| {
                    let [z1, z2] = operands.zeros(self).map(i64::from);
                    let products = pairs.iter().map(|(x1, x2)| (x1 - z1) * (x2 - z2));
                    let products: Vec<i64> = products.collect();
                    let (_, mult) = self.row(rng, &products);
                    let want = products.iter().map(|p| self.rescale.code(*p, mult));
                    ((0, mult), want.collect())
                })
            }
        }
    }

    /// Kernel with weights: `sum` gives the products of an output without its bias.
    #[allow(
        clippy::too_many_arguments,
        reason = "everything that an operator row holds"
    )]
    fn weighted(
        &self,
        b: &mut Builder,
        rng: &mut Rng,
        kind: OpKind,
        x: &Operand,
        dims: [usize; 4],
        w: &Coded,
        p: &[usize],
        sum: impl Fn([usize; 4]) -> i64,
    ) -> Appended {
        let sums: Vec<Option<(usize, i64)>> = indices(dims).map(|o| Some((o[3], sum(o)))).collect();
        let (quant, want) = self.requantize(rng, dims[3], &sums);
        let (y, scratch) = self.output(b, dims);
        let quant = b.quant(&quant);
        b.op(kind, x.index, y, p, |op| {
            w.set(op);
            self.set(op, quant);
            op.scratch = scratch;
        });
        Appended {
            y,
            inputs: x.inputs.clone(),
            want,
            scratch,
        }
    }

    fn set(&self, op: &mut elastiq::format::OpRow, quant: Span) {
        op.quant = quant;
        (op.shift, op.lo, op.hi) = (self.rescale.shift, self.rescale.lo, self.rescale.hi);
    }

    /// `n` rows, and the code of every sum by the row it names; without a row the accumulator is 0.
    fn requantize(
        &self,
        rng: &mut Rng,
        n: usize,
        sums: &[Option<(usize, i64)>],
    ) -> (Vec<(i32, i32)>, Vec<i8>) {
        let of = |row: usize| {
            let mine = sums.iter().flatten().filter(|(at, _)| *at == row);
            mine.map(|(_, sum)| *sum).collect::<Vec<i64>>()
        };
        let quant: Vec<(i32, i32)> = (0..n).map(|row| self.row(rng, &of(row))).collect();
        let code = |sum: &Option<(usize, i64)>| match sum {
            Some((row, sum)) => {
                let (bias, mult) = quant[*row];
                self.rescale.code(i64::from(bias) + sum, mult)
            }
            None => self.rescale.code(0, 0),
        };
        let want = sums.iter().map(code).collect();
        (quant, want)
    }

    /// Bias and multiplier that spread `sums` over a little more than all codes, or any, or such that one accumulator
    /// is near the ends of its range.
    fn row(&self, rng: &mut Rng, sums: &[i64]) -> (i32, i32) {
        match rng.below(8) {
            0 => return (rng.bias(), rng.mult()),
            1 if !sums.is_empty() => {
                let sum = sums[rng.below(sums.len())];
                let edge = i64::from(i32::MIN) + (rng.below(9) as i64 - 4) * (1 << rng.below(8));
                let mult = if rng.below(2) == 0 {
                    i32::MAX - 1
                } else {
                    rng.mult()
                };
                return (wrap(edge - sum) as i32, mult);
            }
            _ => {}
        }
        let (min, max) = (sums.iter().min(), sums.iter().max());
        let (min, max) = (min.copied().unwrap_or(0), max.copied().unwrap_or(0));
        let around = rng.below(512) as i64 - 256;
        let bias = wrap(around - (min + max) / 2) as i32;
        let scale = 400.0 * 2f64.powi(32 - i32::from(self.rescale.shift)) / (max - min + 1) as f64;
        let mult = scale.clamp(2.0, 2f64.powi(31) - 2.0) as i32;
        (bias, mult & !1)
    }

    /// First or only operand.
    fn operand(&self, b: &mut Builder, rng: &mut Rng, home: Home, dims: [usize; 4]) -> Operand {
        let data = self.data.bytes(rng, dims.iter().product());
        self.placed(b, home, dims, self.zeros[0], data)
    }

    fn placed(
        &self,
        b: &mut Builder,
        home: Home,
        dims: [usize; 4],
        zero: i8,
        data: Vec<i8>,
    ) -> Operand {
        let tensor = Tensor::new(dims, &data);
        let odd = self.place.odd[0];
        if home == Home::Arena {
            b.arena = b.arena.next_multiple_of(ALIGN) + odd;
            let index = b.tensor(dims, zero);
            let inputs = vec![(index, data)];
            return Operand {
                index,
                tensor,
                inputs,
            };
        }
        let padded = [vec![0; odd], data].concat();
        let index = b.constant(dims, zero, &padded);
        let off = &mut b.tensors[usize::from(index)].off;
        off.set(off.get() + odd as u32);
        let inputs = vec![];
        Operand {
            index,
            tensor,
            inputs,
        }
    }

    /// Output and scratch.
    fn output(&self, b: &mut Builder, dims: [usize; 4]) -> (u16, Span) {
        let [_, y_odd, scratch_odd] = self.place.odd;
        let scratch = |b: &mut Builder| {
            let off = b.arena.next_multiple_of(ALIGN) + scratch_odd;
            let len = self.scratch_len();
            b.arena = off + len;
            super::span(off, len)
        };
        let y = |b: &mut Builder| {
            b.arena = b.arena.next_multiple_of(ALIGN) + y_odd;
            b.tensor(dims, self.rescale.zero)
        };
        if self.place.scratch_first {
            let scratch = scratch(b);
            (y(b), scratch)
        } else {
            let y = y(b);
            (y, scratch(b))
        }
    }

    /// Bytes of scratch.
    fn scratch_len(&self) -> usize {
        let of = |layout: Layout, tiles: usize| match &self.op {
            Op::Conv { g, cg, .. } => layout.matrix_len(g.taps() * cg, tiles * layout.rows),
            Op::Dense { k, .. } => layout.matrix_len(*k, tiles * layout.rows),
            Op::Depthwise { g, .. } => {
                let (v, h) = (g.v, g.h);
                let out = [v.out, h.out];
                layout
                    .planes([v.kernel, h.kernel], [v.stride, h.stride], out)
                    .map_or(0, |planes| match tiles {
                        0 | 1 => planes.least(),
                        _ => planes.full(),
                    })
            }
            _ => 0,
        };
        match self.scratch {
            Scratch::None => 0,
            Scratch::Words(n) => 4 * n,
            Scratch::Layout(backend, tiles, more) => {
                of(backend.layout(), tiles).saturating_add_signed(more)
            }
            Scratch::Plenty => {
                let most = |b: Backend| of(b.layout(), 20);
                64 + Backend::ALL.into_iter().map(most).max().unwrap_or(0)
            }
        }
    }
}

/// A tensor that an operator reads.
struct Operand {
    index: u16,
    tensor: Tensor,
    inputs: Vec<(u16, Vec<i8>)>,
}

fn rescale() -> impl Strategy<Value = Rescale> {
    let shift = prop_oneof![Just(0), elastiq::spec::SHIFT_RANGE];
    let bounds = prop_oneof![
        Just((-128, 127)),
        any::<(i8, i8)>().prop_map(|(a, b)| (a.min(b), a.max(b))),
    ];
    (shift, any::<i8>(), bounds).prop_map(|(shift, zero, (lo, hi))| Rescale {
        shift,
        zero,
        lo,
        hi,
    })
}

fn scratch(backends: Vec<Backend>) -> impl Strategy<Value = Scratch> {
    let more = prop_oneof![4 => Just(0), 2 => Just(-4), 1 => -7..=7isize];
    let layout = (prop::sample::select(backends), 0..=5usize, more);
    prop_oneof![
        1 => Just(Scratch::None),
        1 => (0..=600usize).prop_map(Scratch::Words),
        4 => layout.prop_map(|(backend, tiles, more)| Scratch::Layout(backend, tiles, more)),
        3 => Just(Scratch::Plenty),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    let odd = prop_oneof![4 => Just(0usize), 1 => prop::sample::select(vec![4usize, 8]), 1 => 1..=15usize];
    (prop::array::uniform3(odd), any::<bool>())
        .prop_map(|(odd, scratch_first)| Place { odd, scratch_first })
}

/// Numbers of channels: few, any, whole vectors, and more than a buffer may hold.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1..=9usize,
        8 => 1..=70usize,
        8 => (1..=17usize).prop_map(|n| 4 * n),
        1 => 71..=600usize,
    ]
}

fn conv() -> impl Strategy<Value = Op> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2..=4usize];
    let sizes = (groups, channels(), channels());
    (geometry(3), sizes, coding(), work_limit()).prop_map(|(g, (groups, cg, mg), coding, limit)| {
        let k = g.taps() * cg;
        let mg = mg.min((limit / (groups * k)).max(1));
        Op::Conv {
            g: g.within(groups * mg * k, limit),
            groups,
            cg,
            mg,
            coding,
        }
    })
}

fn depthwise() -> impl Strategy<Value = Op> {
    let multiplier = prop_oneof![3 => Just(1usize), 1 => 2..=4usize];
    (geometry(1), channels(), multiplier, coding(), work_limit()).prop_map(
        |(g, c, multiplier, coding, limit)| Op::Depthwise {
            g: g.within(c * multiplier * g.taps(), limit),
            c,
            multiplier,
            coding,
        },
    )
}

fn dense() -> impl Strategy<Value = Op> {
    let k = prop_oneof![
        8 => 1..=9usize,
        8 => 1..=300usize,
        8 => (1..=75usize).prop_map(|n| 4 * n),
        1 => 301..=9000usize,
    ];
    let rows = prop_oneof![Just([1; 3]), prop::array::uniform3(1..=3usize)];
    (rows, k, channels(), coding(), work_limit()).prop_map(|(rows, k, m, coding, limit)| {
        let m = m.min((limit / (k * rows.iter().product::<usize>())).max(1));
        Op::Dense { rows, k, m, coding }
    })
}

fn max_pool() -> impl Strategy<Value = Op> {
    (geometry(0), channels(), work_limit()).prop_map(|(g, c, limit)| Op::MaxPool {
        g: g.within(c * g.taps(), limit),
        c,
    })
}

fn avg_pool() -> impl Strategy<Value = Op> {
    (geometry(1), channels(), any::<bool>(), work_limit()).prop_map(|(g, c, count_pad, limit)| {
        Op::AvgPool {
            g: g.within(c * g.taps(), limit),
            c,
            count_pad,
        }
    })
}

fn add() -> impl Strategy<Value = Op> {
    let usual = (
        1 << 13..=i16::MAX,
        1 << 13..=i16::MAX,
        13..=16u8,
        any::<bool>(),
    )
        .prop_map(|(a, b, s, minus)| (a, if minus { -b } else { b }, s));
    let factors = prop_oneof![usual, (any::<i16>(), any::<i16>(), 0..=23u8)];
    (binary(), factors).prop_map(|(operands, (a, b, s))| Op::Add { operands, a, b, s })
}

fn mul() -> impl Strategy<Value = Op> {
    binary().prop_map(|operands| Op::Mul { operands })
}

/// Cases of one kind; scratch is cut to the layouts of `backends`.
pub fn cases(kind: OpKind, backends: &[Backend]) -> BoxedStrategy<Case> {
    let op = match kind {
        OpKind::Conv => conv().boxed(),
        OpKind::Depthwise => depthwise().boxed(),
        OpKind::Dense => dense().boxed(),
        OpKind::MaxPool => max_pool().boxed(),
        OpKind::AvgPool => avg_pool().boxed(),
        OpKind::Add => add().boxed(),
        OpKind::Mul => mul().boxed(),
        _ => unreachable!("{kind:?} has no cases"),
    };
    let head = (op, rescale(), any::<[i8; 2]>(), codes());
    let tail = (scratch(backends.to_vec()), place(), any::<u64>());
    (head, tail)
        .prop_map(
            |((op, rescale, zeros, data), (scratch, place, seed))| Case {
                op,
                rescale,
                zeros,
                data,
                scratch,
                place,
                seed,
            },
        )
        .boxed()
}
