//! Strided box from input to output: the one data movement behind Slice, Concat and Pad.

use super::lut::look_up;
use super::pieces::every;

pub(crate) struct Copy<'a> {
    pub x_dims: [usize; 4],
    pub y_dims: [usize; 4],
    /// First element read and written.
    pub from: [usize; 4],
    pub to: [usize; 4],
    /// Step of the reading.
    pub step: [usize; 4],
    /// Elements moved.
    pub dims: [usize; 4],
    /// Other codes for the same values.
    pub table: Option<&'a [i8; 256]>,
    /// Code of the output outside of the box.
    pub fill: Option<i8>,
}

impl Copy<'_> {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        if let Some(code) = self.fill {
            y.fill(code);
        }
        let [n, h, w, c] = self.dims;
        let [_, _, _, step] = self.step;
        for i in 0..n {
            for j in 0..h {
                for k in 0..w {
                    let (read, write) = self.offsets([i, j, k, 0]);
                    let x = x.get(read..).unwrap_or_default();
                    let y = y
                        .get_mut(write..)
                        .and_then(|y| y.get_mut(..c))
                        .unwrap_or_default();
                    self.line(x, step, y);
                }
            }
        }
    }

    /// Offsets of element `at` of the box.
    #[inline(always)]
    fn offsets(&self, at: [usize; 4]) -> (usize, usize) {
        let axes = self
            .x_dims
            .iter()
            .zip(&self.y_dims)
            .zip(&self.from)
            .zip(&self.to);
        let axes = axes.zip(&self.step).zip(at);
        axes.fold(
            (0, 0),
            |(read, write), (((((x, y), from), to), step), at)| {
                (read * x + from + at * step, write * y + to + at)
            },
        )
    }

    #[inline(always)]
    fn line(&self, x: &[i8], step: usize, y: &mut [i8]) {
        match (step, self.table) {
            (1, None) => y.iter_mut().zip(x).for_each(|(y, x)| *y = *x),
            (1, Some(table)) => y
                .iter_mut()
                .zip(x)
                .for_each(|(y, x)| *y = look_up(table, *x)),
            (_, table) => {
                for (y, x) in y.iter_mut().zip(every(x, step)) {
                    *y = table.map_or(*x, |table| look_up(table, *x));
                }
            }
        }
    }
}
