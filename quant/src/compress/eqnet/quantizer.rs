//! The quantizer that learns its step and offset (LSQ+; Bhalgat et al., 2020), with whole zero points.
//!
//! With codes `n ..= p`, step `s > 0` and offset `b`:
//! ```text
//! z  = clip( round(-b / s), n, p )             0.0 is always a value
//! k  = clip( round(w / s) + z, n, p )          code
//! w~ = s (k - z)                               value
//! ```
//! Gradients hold the rounding errors fixed (straight-through estimator), which gives, with `e = b / s + z` the error of
//! the zero point (0 in the papers, where `z` need not be whole):
//!
//! | region | dw~/dw | dw~/ds | dw~/db |
//! |---|---|---|---|
//! | `w/s + z <= n` | 0 | `n - e` | 1 |
//! | between | 1 | `round(w/s) - w/s` | 0 |
//! | `w/s + z >= p` | 0 | `p - e` | 1 |
//!
//! A zero point at the end of its range does not move: then `dw~/ds` is `k - z` outside, and `dw~/db` is 0. Gradients of
//! step and offset are scaled by `1 / sqrt(N p)` for the `N` elements that share the step (LSQ; Esser et al., 2020).

use crate::train::Kernel;
use rayon::prelude::*;

/// Codes of a quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    pub bits: u8,
    /// From 0 instead of about 0.
    pub unsigned: bool,
}

impl Codes {
    /// First code.
    pub fn first(self) -> f32 {
        match self.unsigned {
            true => 0.0,
            false => -((1u32 << (self.bits - 1)) as f32),
        }
    }

    /// Last code.
    pub fn last(self) -> f32 {
        self.first() + ((1u32 << self.bits) - 1) as f32
    }

    /// `1 / sqrt(N p)` for `n` elements.
    pub fn gradient_scale(self, n: usize) -> f64 {
        1.0 / (n as f64 * f64::from(self.last())).sqrt()
    }

    /// Step, zero point and bounds for step `s` and offset `b`.
    pub fn at(self, s: f32, b: f32) -> Line {
        let (n, p) = (self.first(), self.last());
        let real = -b / s;
        // Not `clamp`: what is not a number must not end up in the bounds, it shows in the values.
        let zero = round(real.max(n).min(p));
        let free = (n - 0.5..=p + 0.5).contains(&real);
        Line {
            s,
            zero,
            lo: n - zero,
            hi: p - zero,
            shift: if free { b / s } else { 0.0 },
            free: if free { 1.0 } else { 0.0 },
        }
    }
}

/// Nearest whole number, to even where two are; `|v| < 2^22`.
pub fn round(v: f32) -> f32 {
    const WHOLE: f32 = 12_582_912.0;
    (v + WHOLE) - WHOLE
}

/// A quantizer at one step and offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub s: f32,
    pub zero: f32,
    /// Bounds of the code minus the zero point.
    lo: f32,
    hi: f32,
    /// `b / s`, and 1, where the zero point follows the offset; else 0.
    shift: f32,
    free: f32,
}

/// Sums of gradients: of step and offset.
type Sums = [f64; 2];

impl Line {
    /// Code minus zero point.
    pub fn level(&self, w: f32) -> f32 {
        round((w / self.s).clamp(self.lo, self.hi))
    }

    /// Value.
    pub fn value(&self, w: f32) -> f32 {
        self.s * self.level(w)
    }

    fn backward(&self, w: &[f32], dy: &[f32], dw: &mut [f32]) -> Sums {
        const LANES: usize = 8;
        let mut sums = [0.0; 2];
        let one = |w: f32, dy: f32, dw: &mut f32| {
            let v = w / self.s;
            let level = round(v.clamp(self.lo, self.hi));
            let inside = v > self.lo && v < self.hi;
            *dw = if inside { dy } else { 0.0 };
            let slope = level - if inside { v } else { self.shift };
            (dy * slope, if inside { 0.0 } else { dy * self.free })
        };
        // Lanes that add up on their own, for as long as f32 is good for.
        let blocks = w.chunks(LANES * 64).zip(dy.chunks(LANES * 64));
        for ((w, dy), dw) in blocks.zip(dw.chunks_mut(LANES * 64)) {
            let mut lanes = [[0f32; LANES]; 2];
            let (w, w_rest) = w.as_chunks::<LANES>();
            let (dy, dy_rest) = dy.as_chunks::<LANES>();
            let (dw, dw_rest) = dw.as_chunks_mut::<LANES>();
            for ((w, dy), dw) in w.iter().zip(dy).zip(dw) {
                for i in 0..LANES {
                    let (s, b) = one(w[i], dy[i], &mut dw[i]);
                    lanes[0][i] += s;
                    lanes[1][i] += b;
                }
            }
            for ((w, dy), dw) in w_rest.iter().zip(dy_rest).zip(dw_rest) {
                let (s, b) = one(*w, *dy, dw);
                lanes[0][0] += s;
                lanes[1][0] += b;
            }
            for (sum, lanes) in sums.iter_mut().zip(&lanes) {
                *sum += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
        }
        sums
    }
}

/// Elements that one thread takes at a time.
const PART: usize = 1 << 14;

/// The quantizer as an operator: elements (`groups` runs of equal length), steps, offsets (one each per group).
#[derive(Clone, Debug)]
pub struct FakeQuant {
    pub codes: Codes,
    pub groups: usize,
}

impl FakeQuant {
    /// Quantizer of each group.
    pub fn lines<'a>(&self, s: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = Line> + use<'a> {
        let codes = self.codes;
        s.iter().zip(b).map(move |(&s, &b)| codes.at(s, b))
    }
}

impl Kernel<3> for FakeQuant {
    fn forward(&self, [w, s, b]: [&[f32]; 3]) -> Vec<f32> {
        let mut y = vec![0.0; w.len()];
        let group = (w.len() / self.groups).max(1);
        let rows = w.chunks(group).zip(y.chunks_mut(group));
        for ((w, y), line) in rows.zip(self.lines(s, b)) {
            let parts = y.par_chunks_mut(PART).zip(w.par_chunks(PART));
            parts.for_each(|(y, w)| y.iter_mut().zip(w).for_each(|(y, w)| *y = line.value(*w)));
        }
        y
    }

    fn backward(
        &self,
        [w, s, b]: [&[f32]; 3],
        dy: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let mut dw = vec![0.0; w.len()];
        let group = (w.len() / self.groups).max(1);
        let scale = self.codes.gradient_scale(group);
        let (mut ds, mut db) = (Vec::with_capacity(s.len()), Vec::with_capacity(s.len()));
        let rows = w
            .chunks(group)
            .zip(dy.chunks(group))
            .zip(dw.chunks_mut(group));
        for (((w, dy), dw), line) in rows.zip(self.lines(s, b)) {
            let parts = w.par_chunks(PART).zip(dy.par_chunks(PART));
            let parts = parts.zip(dw.par_chunks_mut(PART));
            let sums: Vec<Sums> = parts
                .map(|((w, dy), dw)| line.backward(w, dy, dw))
                .collect();
            let [s, b] = [0, 1].map(|i| sums.iter().map(|p| p[i]).sum::<f64>());
            ds.push((s * scale) as f32);
            db.push((b * scale) as f32);
        }
        [
            wanted[0].then_some(dw),
            wanted[1].then_some(ds),
            wanted[2].then_some(db),
        ]
    }
}
