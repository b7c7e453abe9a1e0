//! Softmax along one axis by table, see [`crate::spec::softmax_code`]. In place.

use super::Requant;
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
        let block = self.len * self.inner;
        if block == 0 || self.inner == 0 {
            return;
        }
        for y in y.chunks_exact_mut(block) {
            for lane in 0..self.inner {
                self.lane(y.get_mut(lane..).unwrap_or_default());
            }
        }
    }

    /// The elements `0, inner, 2 * inner, ..`.
    fn lane(&self, y: &mut [i8]) {
        if self.inner == 0 {
            return;
        }
        let each = || y.chunks(self.inner).filter_map(|chunk| chunk.first());
        let max = each().fold(i8::MIN, |max, y| max.max(*y));
        let sum = each().fold(0, |sum: u32, y| {
            sum.wrapping_add(u32::from(self.entry(max, *y)))
        });
        for y in y
            .chunks_mut(self.inner)
            .filter_map(|chunk| chunk.first_mut())
        {
            let e = self.entry(max, *y);
            *y = softmax_code(e, self.inv, sum, self.rq.z_y, self.rq.lo, self.rq.hi);
        }
    }

    #[inline(always)]
    fn entry(&self, max: i8, y: i8) -> u16 {
        self.table
            .get(usize::from(max.abs_diff(y)))
            .map_or(0, |entry| entry.get())
    }
}
