//! Nearest-neighbour resampling: `y[i,j] = x[rows[i], cols[j]]`.

use super::pieces::{pieces, pieces_mut};
use zerocopy::byteorder::little_endian::U16;

pub(crate) struct Resize<'a> {
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub rows: &'a [U16],
    pub cols: &'a [U16],
}

impl Resize<'_> {
    /// Whether every entry is an index of the input.
    pub fn in_range(&self) -> bool {
        self.rows.iter().all(|row| usize::from(row.get()) < self.h)
            && self.cols.iter().all(|col| usize::from(col.get()) < self.w)
    }

    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        let (image, line) = (self.h * self.w * self.c, self.cols.len() * self.c);

        for (x, y) in pieces(x, image).zip(pieces_mut(y, self.rows.len() * line)) {
            for (y, row) in pieces_mut(y, line).zip(self.rows) {
                for (y, col) in pieces_mut(y, self.c).zip(self.cols) {
                    let at = usize::from(row.get()) * self.w + usize::from(col.get());
                    let x = x.get(at * self.c..).unwrap_or_default();
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
                }
            }
        }
    }
}
