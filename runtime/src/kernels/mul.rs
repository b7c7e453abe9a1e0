//! Elementwise product, see [`crate::spec::mul`]. `y` holds the first operand.

use super::Requant;
use super::broadcast::Broadcast;
use crate::spec;

pub(crate) struct Mul {
    pub from1: Broadcast,
    pub from2: Broadcast,
    pub z1: i8,
    pub z2: i8,
    pub mult: i32,
    pub rq: Requant,
}

impl Mul {
    /// Without `x2`, both operands are what `y` holds.
    pub fn run(&self, x2: Option<&[i8]>, y: &mut [i8]) {
        let (z1, z2, m) = (self.z1, self.z2, self.mult);
        let Requant { shift, z_y, lo, hi } = self.rq;
        let product = |y: &mut i8, x2: i8| *y = spec::mul(*y, z1, x2, z2, m, shift, z_y, lo, hi);
        match x2 {
            Some(x2) => self.from2.zip(x2, y, product),
            None => y.iter_mut().for_each(|y| product(y, *y)),
        }
    }
}
