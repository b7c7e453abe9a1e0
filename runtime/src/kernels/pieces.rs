//! Slices cut into pieces of a length that is known at run time.
//!
//! The standard methods panic on a length of 0 and divide to know how many pieces there will be. Here 0, which
//! a checked model never asks for, means 1, and nothing needs the optimizer to be free of panics.

use core::mem::take;

/// Iterator of [`pieces`].
pub(crate) struct Pieces<'x, T> {
    rest: &'x [T],
    n: usize,
}

/// Whole pieces of `n` elements.
#[inline(always)]
pub(crate) fn pieces<T>(x: &[T], n: usize) -> Pieces<'_, T> {
    Pieces {
        rest: x,
        n: n.max(1),
    }
}

impl<'x, T> Iterator for Pieces<'x, T> {
    type Item = &'x [T];

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (piece, rest) = self.rest.split_at_checked(self.n)?;
        self.rest = rest;
        Some(piece)
    }
}

/// Iterator of [`pieces_mut`].
pub(crate) struct PiecesMut<'x, T> {
    rest: &'x mut [T],
    n: usize,
}

/// Whole pieces of `n` elements.
#[inline(always)]
pub(crate) fn pieces_mut<T>(x: &mut [T], n: usize) -> PiecesMut<'_, T> {
    PiecesMut {
        rest: x,
        n: n.max(1),
    }
}

impl<'x, T> Iterator for PiecesMut<'x, T> {
    type Item = &'x mut [T];

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (piece, rest) = take(&mut self.rest).split_at_mut_checked(self.n)?;
        self.rest = rest;
        Some(piece)
    }
}

/// Iterator of [`every`].
#[derive(Clone)]
pub(crate) struct Every<'x, T> {
    rest: &'x [T],
    n: usize,
}

/// Every `n`-th element from the first on.
#[inline(always)]
pub(crate) fn every<T>(x: &[T], n: usize) -> Every<'_, T> {
    Every {
        rest: x,
        n: n.max(1),
    }
}

impl<'x, T> Iterator for Every<'x, T> {
    type Item = &'x T;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let first = self.rest.first()?;
        self.rest = self.rest.get(self.n..).unwrap_or_default();
        Some(first)
    }
}

/// Iterator of [`every_mut`].
pub(crate) struct EveryMut<'x, T> {
    rest: &'x mut [T],
    n: usize,
}

/// Every `n`-th element from the first on.
#[inline(always)]
pub(crate) fn every_mut<T>(x: &mut [T], n: usize) -> EveryMut<'_, T> {
    EveryMut {
        rest: x,
        n: n.max(1),
    }
}

impl<'x, T> Iterator for EveryMut<'x, T> {
    type Item = &'x mut T;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = take(&mut self.rest).split_first_mut()?;
        self.rest = rest.get_mut(self.n.wrapping_sub(1)..).unwrap_or_default();
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_the_standard_methods() {
        for len in 0..12usize {
            let mut x: Vec<usize> = (0..len).collect();
            for n in 1..5 {
                assert!(pieces(&x, n).eq(x.chunks_exact(n)));
                assert!(every(&x, n).eq(x.iter().step_by(n)));
                let want: Vec<Vec<usize>> = x.chunks_exact(n).map(<[_]>::to_vec).collect();
                assert!(pieces_mut(&mut x, n).eq(want));
                let want: Vec<usize> = x.iter().step_by(n).copied().collect();
                assert!(every_mut(&mut x, n).map(|x| *x).eq(want));
            }
            assert_eq!(pieces(&x, 0).count(), len);
            assert_eq!(every(&x, 0).count(), len);
        }
    }
}
