//! CRC-32C (Castagnoli) by a small table, half a byte at a time.

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static TABLE: [u32; 16] = {
    let mut table = [0u32; 16];
    let mut i = 0;
    while i < 16 {
        let mut c = i as u32;
        let mut bit = 0;
        while bit < 4 {
            c = if c & 1 == 1 {
                0x82F6_3B78 ^ (c >> 1)
            } else {
                c >> 1
            };
            bit += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
};

/// Running CRC-32C over any number of pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Crc {
    /// State before the first byte.
    pub const fn new() -> Self {
        Crc(u32::MAX)
    }

    /// Feed `bytes`.
    #[must_use]
    pub fn update(self, bytes: &[u8]) -> Self {
        let half = |crc: u32| {
            let entry = TABLE.get(crc as usize & 15);
            entry.map_or(0, |entry| entry ^ (crc >> 4))
        };
        let byte = |crc, b: &u8| half(half(crc ^ u32::from(*b)));
        Crc(bytes.iter().fold(self.0, byte))
    }

    /// Checksum of everything fed so far.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}

/// CRC-32C of one slice.
pub fn crc32c(bytes: &[u8]) -> u32 {
    Crc::new().update(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// Check value of CRC-32C, RFC 3720 appendix B.4.
    #[test]
    fn rfc3720_vectors() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }
}
