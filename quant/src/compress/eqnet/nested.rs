//! Weights below 8 bits as the upper bits of one 8-bit code, so that one stored code serves every width.
//!
//! With the code `k = clip(round(w / s8), -128, 127)` of the layer and a step `s` of the width:
//! ```text
//! w~ = s u,   u = (k & -2^(8-bits)) | 2^(7-bits)         upper bits, and the middle of what they leave open
//! ```
//! `u` counts steps of 8 bits. Gradients hold the difference of `u` and `w / s8` fixed: `dw~/dw = s / s8` and
//! `dw~/ds8 = -s w / s8^2` where `k` is not clipped, else 0; `dw~/ds = u`.

use super::quantizer::{Codes, round};
use crate::train::Kernel;

/// Codes of the layer.
pub const MASTER: Codes = Codes {
    bits: 8,
    unsigned: false,
};

/// The 8-bit code of weight `w`.
pub fn master(w: f32, s8: f32) -> i8 {
    round((w / s8).clamp(MASTER.first(), MASTER.last())) as i8
}

/// What `bits` bits of a code stand for, in steps of 8 bits; `bits` below 8.
pub fn upper(code: i8, bits: u8) -> i8 {
    let mask = (-1i8) << (8 - bits);
    (code & mask) | (1 << (7 - bits))
}

/// The quantizer as an operator: weights (`groups` rows), steps of 8 bits, steps of this width (one each per row).
#[derive(Clone, Debug)]
pub struct Nested {
    pub bits: u8,
    pub groups: usize,
}

impl Nested {
    fn rows<'a>(&self, w: &'a [f32]) -> std::slice::Chunks<'a, f32> {
        w.chunks((w.len() / self.groups).max(1))
    }
}

impl Kernel<3> for Nested {
    fn forward(&self, [w, s8, s]: [&[f32]; 3]) -> Vec<f32> {
        let rows = self.rows(w).zip(s8).zip(s);
        let value = |((row, &s8), &s)| {
            let one = move |&w: &f32| match w.is_nan() {
                true => w,
                false => s * f32::from(upper(master(w, s8), self.bits)),
            };
            <[f32]>::iter(row).map(one)
        };
        rows.flat_map(value).collect()
    }

    fn backward(
        &self,
        [w, s8, s]: [&[f32]; 3],
        dy: &[f32],
        wanted: [bool; 3],
    ) -> [Option<Vec<f32>>; 3] {
        let mut dw = Vec::with_capacity(w.len());
        let (mut ds8, mut ds) = (Vec::new(), Vec::new());
        let rows = self.rows(w).zip(self.rows(dy)).zip(s8).zip(s);
        for (((w, dy), &s8), &s) in rows {
            let (mut of_master, mut of_width) = (0.0, 0.0);
            for (&w, &dy) in w.iter().zip(dy) {
                let v = w / s8;
                let inside = v > MASTER.first() && v < MASTER.last();
                let slope = if inside { s / s8 } else { 0.0 };
                dw.push(dy * slope);
                of_master -= f64::from(dy * slope * v);
                of_width += f64::from(dy) * f64::from(upper(master(w, s8), self.bits));
            }
            let scale = MASTER.gradient_scale(w.len());
            ds8.push((of_master * scale) as f32);
            ds.push((of_width * scale) as f32);
        }
        [
            wanted[0].then_some(dw),
            wanted[1].then_some(ds8),
            wanted[2].then_some(ds),
        ]
    }
}
