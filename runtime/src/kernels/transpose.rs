//! Permutation of axes.

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
        if h == 0 || w == 0 || c == 0 || sc == 0 {
            return;
        }
        for (n, y) in y.chunks_exact_mut(h * w * c).enumerate() {
            for (i, y) in y.chunks_exact_mut(w * c).enumerate() {
                for (j, y) in y.chunks_exact_mut(c).enumerate() {
                    let x = x.get(n * sn + i * sh + j * sw..).unwrap_or_default();
                    for (y, x) in y.iter_mut().zip(x.chunks(sc)) {
                        *y = x.first().copied().unwrap_or(0);
                    }
                }
            }
        }
    }
}
