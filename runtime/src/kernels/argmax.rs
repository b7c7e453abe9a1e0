//! Index of the largest code along one axis as little-endian `i32`.

use super::pieces::{every, pieces, pieces_mut};

pub(crate) struct ArgMax {
    /// Elements along the axis.
    pub len: usize,
    /// Elements between neighbours along the axis.
    pub inner: usize,
    /// Of equal maxima take the last instead of the first.
    pub select_last: bool,
}

impl ArgMax {
    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        for (x, y) in pieces(x, self.len * self.inner).zip(pieces_mut(y, self.inner * 4)) {
            for (lane, y) in pieces_mut(y, 4).enumerate() {
                let index = self.lane(x.get(lane..).unwrap_or_default());
                y.iter_mut()
                    .zip(index.to_le_bytes())
                    .for_each(|(y, byte)| *y = byte as i8);
            }
        }
    }

    /// Index among the elements `0, inner, 2 * inner, ..`.
    fn lane(&self, x: &[i8]) -> u32 {
        let (mut best, mut index) = (i16::MIN, 0);

        for (i, x) in every(x, self.inner).enumerate() {
            let x = i16::from(*x);
            if x > best || (self.select_last && x == best) {
                (best, index) = (x, i as u32);
            }
        }
        index
    }
}
