//! Discrete key-value bottleneck: learning that does not forget.
//!
//! ```text
//! for each of C heads:  z = projection of the features to D numbers (fixed, random signs)
//!                       k = the nearest of K keys (learned once from samples without labels, then frozen)
//! score of class j    = mean over the heads of value[head][k][j]
//! learning            : only the C touched values move, down the gradient of the cross-entropy
//! ```
//! Source: Träuble et al., "Discrete Key-Value Bottleneck", ICML 2023.

use super::Rows;
use super::scores::{best, errors};

/// `C` heads with `K` keys of `D` numbers each: `C * K * D` bytes.
#[derive(Clone, Debug)]
pub struct Keys<const C: usize, const K: usize, const D: usize> {
    keys: [[[i8; D]; K]; C],
    seen: u32,
    seed: u32,
    shift: u32,
    zero: i8,
}

impl<const C: usize, const K: usize, const D: usize> Keys<C, K, D> {
    /// Keys for features whose zero point is `zero`. Sums of features with random signs from `seed` are divided by
    /// `2^shift` (0 to 15) to become 8 bits: about half of the bits of the number of features suits.
    pub const fn new(zero: i8, shift: u32, seed: u32) -> Self {
        Keys {
            keys: [[[0; D]; K]; C],
            seen: 0,
            seed,
            shift: if shift < 15 { shift } else { 15 },
            zero,
        }
    }

    /// Learn from a sample without a label: the first `K` become keys, each later one draws the nearest key of every
    /// head an eighth of the way to itself.
    pub fn observe(&mut self, features: &[u8]) {
        let slot = self.seen as usize;
        self.seen = self.seen.saturating_add(1);
        for head in 0..C {
            let point = self.project(head, features);
            let at = if slot < K {
                slot
            } else {
                self.nearest(head, &point)
            };
            let Some(key) = self.keys.get_mut(head).and_then(|keys| keys.get_mut(at)) else {
                continue;
            };
            if slot < K {
                *key = point;
                continue;
            }
            for (key, x) in key.iter_mut().zip(point) {
                let way = i32::from(x) - i32::from(*key);
                *key = (i32::from(*key) + (way + 4 * way.signum()) / 8) as i8;
            }
        }
    }

    /// `D` sums of all features, each with signs of its own.
    fn project(&self, head: usize, features: &[u8]) -> [i8; D] {
        let mut point = [0; D];
        for (d, out) in point.iter_mut().enumerate() {
            let mut state = self.seed ^ ((head * D + d) as u32 + 1).wrapping_mul(0x9E37_79B9);
            let (mut signs, mut left, mut sum) = (0u32, 0u32, 0i32);
            for code in features {
                if left == 0 {
                    // Xorshift32 (Marsaglia 2003); a state of 0 would stay 0.
                    state = if state == 0 { 1 } else { state };
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    (signs, left) = (state.wrapping_mul(0x85EB_CA6B), 32);
                }
                let x = i32::from(*code as i8) - i32::from(self.zero);
                sum += if signs >> 31 == 0 { x } else { -x };
                (signs, left) = (signs << 1, left - 1);
            }
            *out = (sum >> self.shift).clamp(-128, 127) as i8;
        }
        point
    }

    /// Key at the smallest squared distance; the first of equal ones. Keys without a sample do not count.
    fn nearest(&self, head: usize, point: &[i8; D]) -> usize {
        let filled = K.min(self.seen as usize);
        let mut found = (0, u32::MAX);
        for (k, key) in self
            .keys
            .get(head)
            .into_iter()
            .flatten()
            .take(filled)
            .enumerate()
        {
            let pairs = key.iter().zip(point);
            let distance = pairs.map(|(a, b)| {
                let way = i32::from(*a) - i32::from(*b);
                (way * way) as u32
            });
            let distance: u32 = distance.sum();
            if distance < found.1 {
                found = (k, distance);
            }
        }
        found.0
    }

    /// Key of every head.
    fn code(&self, features: &[u8]) -> [usize; C] {
        core::array::from_fn(|head| self.nearest(head, &self.project(head, features)))
    }

    /// All keys as bytes, one head after the other.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.keys.iter().flatten().flatten().map(|&k| k as u8)
    }
}

/// A key-value head for `N` classes: `2 * C * K * N` bytes beside the keys, which it borrows and cannot change.
#[derive(Clone, Debug)]
pub struct Bottleneck<const C: usize, const K: usize, const N: usize> {
    values: [[[i16; N]; K]; C],
    rate: u32,
}

impl<const C: usize, const K: usize, const N: usize> Bottleneck<C, K, N> {
    /// A head that knows nothing; the learning rate is `2^-rate` (0 to 15; 7 suits).
    pub const fn new(rate: u32) -> Self {
        Bottleneck {
            values: [[[0; N]; K]; C],
            rate: if rate < 15 { rate } else { 15 },
        }
    }

    fn sum(&self, code: &[usize; C]) -> [i32; N] {
        let mut scores = [0; N];
        for (values, key) in self.values.iter().zip(code) {
            for (score, value) in scores
                .iter_mut()
                .zip(values.get(*key).into_iter().flatten())
            {
                *score += i32::from(*value);
            }
        }
        scores.map(|score| score.checked_div(C as i32).unwrap_or(0))
    }

    /// Score of every class, in sixteenths of a nat.
    pub fn scores<const D: usize>(&self, keys: &Keys<C, K, D>, features: &[u8]) -> [i32; N] {
        self.sum(&keys.code(features))
    }

    /// Class with the highest score.
    pub fn classify<const D: usize>(&self, keys: &Keys<C, K, D>, features: &[u8]) -> usize {
        best(&self.scores(keys, features))
    }

    /// Learn one sample of class `label`. Gives the rows that changed, one per head.
    pub fn learn<const D: usize>(
        &mut self,
        keys: &Keys<C, K, D>,
        features: &[u8],
        label: usize,
    ) -> [usize; C] {
        let code = keys.code(features);
        let errors = errors(&self.sum(&code), label);
        let half = (1 << self.rate) >> 1;
        for (values, key) in self.values.iter_mut().zip(code) {
            for (value, error) in values.get_mut(key).into_iter().flatten().zip(errors) {
                let moved = i32::from(*value) + ((error + half) >> self.rate);
                *value = moved.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            }
        }
        let mut head = 0;
        code.map(|key| {
            head += 1;
            (head - 1) * K + key
        })
    }
}

/// The values of one key are a row.
impl<const C: usize, const K: usize, const N: usize> Rows for Bottleneck<C, K, N> {
    fn rows(&self) -> usize {
        C * K
    }

    fn row_len(&self) -> usize {
        2 * N
    }

    fn get(&self, row: usize, to: &mut [u8]) {
        let values = self.values.iter().flatten().nth(row).into_iter().flatten();
        for (to, value) in to.as_chunks_mut::<2>().0.iter_mut().zip(values) {
            *to = value.to_le_bytes();
        }
    }

    fn set(&mut self, row: usize, from: &[u8]) {
        let values = self
            .values
            .iter_mut()
            .flatten()
            .nth(row)
            .into_iter()
            .flatten();
        for (from, value) in from.as_chunks::<2>().0.iter().zip(values) {
            *value = i16::from_le_bytes(*from);
        }
    }
}
