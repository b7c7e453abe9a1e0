//! Sum or difference of two tensors, see [`crate::spec::add`]. `y` holds the first operand.

use super::arch;
use super::broadcast::Broadcast;
use crate::{Backend, spec};

pub(crate) struct Add {
    pub from1: Broadcast,
    pub from2: Broadcast,
    pub a: i16,
    pub b: i16,
    pub c: i32,
    pub s: u8,
    pub lo: i8,
    pub hi: i8,
}

impl Add {
    /// Without `x2`, both operands are what `y` holds.
    pub fn run(&self, x2: Option<&[i8]>, y: &mut [i8], backend: Backend) {
        if let Some(x2) = x2
            && x2.len() == y.len()
            && arch::add(backend, self, x2, y)
        {
            return;
        }
        let (a, b, c, s) = (self.a, self.b, self.c, self.s);
        let (lo, hi) = (self.lo, self.hi);
        let sum = |y: &mut i8, x2: i8| *y = spec::add(*y, x2, a, b, c, s, lo, hi);
        match x2 {
            Some(x2) => self.from2.zip(x2, y, sum),
            None => y.iter_mut().for_each(|y| sum(y, *y)),
        }
    }
}
