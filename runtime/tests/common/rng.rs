//! Random contents from a seed; shapes come from proptest, which shrinks them.

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    pub fn code(&mut self) -> i8 {
        // The ends of the range are where rounding and clamping go wrong.
        match self.below(8) {
            0 => -128,
            1 => 127,
            _ => self.word() as i8,
        }
    }

    pub fn codes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.code()).collect()
    }

    /// Entry of a codebook: any, small ones and the ends of the range more often.
    pub fn entry(&mut self) -> i16 {
        match self.below(8) {
            0 => i16::MIN,
            1 => i16::MAX,
            _ => (self.word() as i16) >> self.below(16),
        }
    }

    /// Even, not negative, of any magnitude.
    pub fn mult(&mut self) -> i32 {
        ((self.word() & 0x7FFF_FFFE) >> self.below(24)) as i32 & !1
    }

    /// Mostly near zero, sometimes anywhere.
    pub fn bias(&mut self) -> i32 {
        self.word() as i32 >> self.below(31)
    }

    pub fn quant(&mut self, n: usize) -> Vec<(i32, i32)> {
        (0..n).map(|_| (self.bias(), self.mult())).collect()
    }

    /// Accumulator shift: 0 in most networks.
    pub fn shift(&mut self) -> i8 {
        if self.below(2) == 0 {
            0
        } else {
            self.below(32) as i8 - 16
        }
    }

    /// Clamp bounds: all codes in most networks.
    pub fn bounds(&mut self) -> (i8, i8) {
        let (a, b) = (self.code(), self.code());
        if self.below(2) == 0 {
            (-128, 127)
        } else {
            (a.min(b), a.max(b))
        }
    }
}
