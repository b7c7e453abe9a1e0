//! Permutation of axes.

use super::pieces::{every, pieces_mut};

pub(crate) struct Transpose {
    dims: [usize; 4],
    /// Elements of the input between neighbours along each output axis.
    strides: [usize; 4],
}

impl Transpose {
    /// `None` if an entry of `perm` is above 3.
    pub fn new(x_dims: [usize; 4], y_dims: [usize; 4], perm: [usize; 4]) -> Option<Transpose> {
        let mut strides = [0; 4];
        for (stride, axis) in strides.iter_mut().zip(perm) {
            *stride = x_dims.get(axis.checked_add(1)?..)?.iter().product();
        }
        Some(Transpose {
            dims: y_dims,
            strides,
        })
    }

    pub fn run(&self, x: &[i8], y: &mut [i8]) {
        let ([_, h, w, c], [sn, sh, sw, sc]) = (self.dims, self.strides);

        for (n, y) in pieces_mut(y, h * w * c).enumerate() {
            for (i, y) in pieces_mut(y, w * c).enumerate() {
                for (j, y) in pieces_mut(y, c).enumerate() {
                    let x = x.get(n * sn + i * sh + j * sw..).unwrap_or_default();
                    for (y, x) in y.iter_mut().zip(every(x, sc)) {
                        *y = *x;
                    }
                }
            }
        }
    }
}
