//! Function of one code by table. In place.

use crate::spec::lut_index;

pub(crate) struct Lut<'a> {
    pub table: &'a [i8; 256],
}

impl Lut<'_> {
    pub fn run(&self, y: &mut [i8]) {
        for y in y {
            *y = look_up(self.table, *y);
        }
    }
}

/// Entry for code `x`.
#[inline(always)]
pub(crate) fn look_up(table: &[i8; 256], x: i8) -> i8 {
    table.get(lut_index(x)).copied().unwrap_or(0)
}
