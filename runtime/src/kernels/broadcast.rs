//! Operands with dimensions of 1 that stand for every index of the output.

use super::pieces::pieces_mut;

/// How to walk a source of fewer elements beside the output.
#[derive(Clone, Copy)]
pub(crate) struct Broadcast {
    dims: [usize; 4],
    /// Elements between neighbours of the source, 0 along a repeated dimension.
    strides: [usize; 4],
    same: bool,
}

impl Broadcast {
    /// `None` if a dimension of `from` is neither that of `to` nor 1.
    pub fn new(from: [usize; 4], to: [usize; 4]) -> Option<Broadcast> {
        if from
            .iter()
            .zip(&to)
            .any(|(from, to)| from != to && *from != 1)
        {
            return None;
        }

        let [n, h, w, c] = from;
        let stride = |dim: usize, inner: usize| if dim == 1 { 0 } else { inner };
        let strides = [
            stride(n, h * w * c),
            stride(h, w * c),
            stride(w, c),
            stride(c, 1),
        ];
        Some(Broadcast {
            dims: to,
            strides,
            same: from == to,
        })
    }

    /// Call `f` with every element of `y` and its partner in `x`.
    #[inline(always)]
    pub fn zip(&self, x: &[i8], y: &mut [i8], f: impl Fn(&mut i8, i8)) {
        if self.same {
            y.iter_mut().zip(x).for_each(|(y, x)| f(y, *x));
            return;
        }
        let ([_, h, w, c], [sn, sh, sw, sc]) = (self.dims, self.strides);

        for (n, y) in pieces_mut(y, h * w * c).enumerate() {
            for (i, y) in pieces_mut(y, w * c).enumerate() {
                for (j, y) in pieces_mut(y, c).enumerate() {
                    let row = x.get(n * sn + i * sh + j * sw..).unwrap_or_default();
                    match (sc, row.first()) {
                        (0, Some(x)) => y.iter_mut().for_each(|y| f(y, *x)),
                        _ => y.iter_mut().zip(row).for_each(|(y, x)| f(y, *x)),
                    }
                }
            }
        }
    }
}
