//! Maximum pool.

use super::Kernel;
use crate::ir::Window;
use rayon::prelude::*;

/// Operand: pictures `[h, w, c]` one after the other. Padding is never chosen; of equal elements the first counts.
#[derive(Clone, Debug)]
pub struct Max {
    pub window: Window,
    /// Height, width, channels.
    pub input: [usize; 3],
    pub output: [usize; 3],
}

impl Max {
    /// Position of the largest element of every window of a picture, and that element.
    fn best(&self, x: &[f32]) -> (Vec<usize>, Vec<f32>) {
        let (w, c) = (&self.window, self.input[2]);
        let len = self.output.iter().product();
        let (mut at, mut top) = (vec![0; len], vec![f32::NEG_INFINITY; len]);
        for pixel in 0..self.output[0] * self.output[1] {
            let (oy, ox) = (pixel / self.output[1], pixel % self.output[1]);
            let (at, top) = (&mut at[pixel * c..][..c], &mut top[pixel * c..][..c]);
            for tap in 0..w.kernel[0] * w.kernel[1] {
                let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
                let y = (oy * w.stride[0] + ky * w.dilation[0]).wrapping_sub(w.pads[0]);
                let column = (ox * w.stride[1] + kx * w.dilation[1]).wrapping_sub(w.pads[1]);
                if y >= self.input[0] || column >= self.input[1] {
                    continue;
                }
                let from = (y * self.input[1] + column) * c;
                for (ch, &v) in x[from..from + c].iter().enumerate() {
                    // What is not a number is passed on, so that it is found.
                    if v > top[ch] || v.is_nan() {
                        (at[ch], top[ch]) = (from + ch, v);
                    }
                }
            }
        }
        (at, top)
    }
}

impl Kernel<1> for Max {
    fn forward(&self, [x]: [&[f32]; 1]) -> Vec<f32> {
        let pictures = x.par_chunks_exact(self.input.iter().product());
        pictures.flat_map_iter(|x| self.best(x).1).collect()
    }

    fn backward(&self, [x]: [&[f32]; 1], dy: &[f32], wanted: [bool; 1]) -> [Option<Vec<f32>>; 1] {
        let (size, out) = (self.input.iter().product(), self.output.iter().product());
        let one = |(x, dy): (&[f32], &[f32])| {
            let mut dx = vec![0.0; size];
            let (at, _) = self.best(x);
            at.iter().zip(dy).for_each(|(&at, dy)| dx[at] += dy);
            dx
        };
        let pairs = x.par_chunks_exact(size).zip(dy.par_chunks_exact(out));
        [wanted[0].then(|| pairs.flat_map_iter(one).collect())]
    }
}
