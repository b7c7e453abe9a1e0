//! Softmax along one axis by table, see [`crate::spec::softmax_code`]. In place.

use super::Requant;
use super::pieces::{every, every_mut, pieces_mut};
use crate::spec::softmax_code;
use zerocopy::byteorder::little_endian::U16;

pub(crate) struct Softmax<'a> {
    /// Elements along the axis.
    pub len: usize,
    /// Elements between neighbours along the axis.
    pub inner: usize,
    pub inv: u16,
    pub table: &'a [U16; 256],
    pub rq: Requant,
}

impl Softmax<'_> {
    pub fn run(&self, y: &mut [i8]) {
        for y in pieces_mut(y, self.len * self.inner) {
            for lane in 0..self.inner {
                self.lane(y.get_mut(lane..).unwrap_or_default());
            }
        }
    }

    /// The elements `0, inner, 2 * inner, ..`.
    fn lane(&self, y: &mut [i8]) {
        let (inner, table) = (self.inner, self.table);
        let entry = |max: i8, y: i8| {
            table
                .get(usize::from(max.abs_diff(y)))
                .map_or(0, |e| e.get())
        };
        let max = every(y, inner).fold(i8::MIN, |max, y| max.max(*y));
        let add = |sum: u32, y: &i8| sum.wrapping_add(u32::from(entry(max, *y)));
        let sum = every(y, inner).fold(0, add);
        for y in every_mut(y, inner) {
            let e = entry(max, *y);
            *y = softmax_code(e, self.inv, sum, self.rq.z_y, self.rq.lo, self.rq.hi);
        }
    }
}
