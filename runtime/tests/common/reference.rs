//! The arithmetic and the indexing of the definitions.

/// Row-major tensor of codes.
pub struct Tensor {
    pub dims: [usize; 4],
    pub data: Vec<i8>,
}

impl Tensor {
    pub fn new(dims: [usize; 4], data: &[i8]) -> Tensor {
        assert_eq!(dims.iter().product::<usize>(), data.len());
        Tensor {
            dims,
            data: data.to_vec(),
        }
    }

    pub fn at(&self, i: [usize; 4]) -> i64 {
        let [_, h, w, c] = self.dims;
        self.data[((i[0] * h + i[1]) * w + i[2]) * c + i[3]].into()
    }

    /// Code at an index that may lie outside of H and W.
    pub fn get(&self, n: usize, y: i64, x: i64, c: usize) -> Option<i64> {
        let inside = (0..self.dims[1] as i64).contains(&y) && (0..self.dims[2] as i64).contains(&x);
        inside.then(|| self.at([n, y as usize, x as usize, c]))
    }

    /// Element of a tensor of which dimensions of 1 are repeated.
    pub fn repeated(&self, i: [usize; 4]) -> i64 {
        self.at(std::array::from_fn(|axis| {
            if self.dims[axis] == 1 { 0 } else { i[axis] }
        }))
    }
}

/// All indices of `dims`, last axis fastest.
pub fn indices([n, h, w, c]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n * h * w * c).map(move |i| [i / (h * w * c), i / (w * c) % h, i / c % w, i % c])
}

/// The value modulo 2^32 in the range of `i32`.
pub fn wrap(v: i64) -> i64 {
    (v + (1 << 31)).rem_euclid(1 << 32) - (1 << 31)
}

/// What turns an accumulator into a code.
#[derive(Clone, Copy, Debug)]
pub struct Rescale {
    pub shift: i8,
    pub zero: i8,
    pub lo: i8,
    pub hi: i8,
}

impl Rescale {
    /// `clamp(floor((acc * 2^shift) * mult / 2^32 + 1/2) + zero)`; a right shift floors, a left shift is modulo 2^32.
    pub fn code(&self, acc: i64, mult: i32) -> i8 {
        let acc = wrap(acc);
        let shifted = match self.shift {
            l @ 0.. => wrap(acc * 2i64.pow(l as u32)),
            l => acc.div_euclid(2i64.pow(-i32::from(l) as u32)),
        };
        let scaled = (shifted * i64::from(mult) + (1 << 31)).div_euclid(1 << 32);
        clamp(scaled + i64::from(self.zero), self.lo, self.hi)
    }
}

pub fn clamp(v: i64, lo: i8, hi: i8) -> i8 {
    v.max(lo.into()).min(hi.into()) as i8
}
