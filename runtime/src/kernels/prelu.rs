//! Leaky rectifier: `requant(x - z_x)` with one multiplier from `z_x` up and one per channel below. In place.

use super::Requant;
use super::pieces::pieces_mut;
use crate::format::QuantRow;

pub(crate) struct PRelu<'a> {
    pub c: usize,
    pub above: &'a QuantRow,
    /// One row, or one per channel.
    pub below: &'a [QuantRow],
    pub z_x: i32,
    pub rq: Requant,
}

impl PRelu<'_> {
    pub fn run(&self, y: &mut [i8]) {
        let above = self.above.mult.get();
        let code = |y: &mut i8, below: &QuantRow| {
            let acc = i32::from(*y) - self.z_x;
            *y = self
                .rq
                .apply(acc, if acc >= 0 { above } else { below.mult.get() });
        };
        if let [below] = self.below {
            y.iter_mut().for_each(|y| code(y, below));
        } else {
            for row in pieces_mut(y, self.c) {
                row.iter_mut()
                    .zip(self.below)
                    .for_each(|(y, below)| code(y, below));
            }
        }
    }
}
