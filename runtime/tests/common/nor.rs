//! NOR flash that loses its power in the middle of something.

use super::rng::Rng;
use elastiq::slots::Flash;
use zerocopy::IntoBytes;

/// Erasing sets all bits of a page, writing clears some. Loses power after `left` units or pages, in the middle of one.
pub struct Nor<const UNIT: usize> {
    pub words: Vec<u128>,
    pub left: usize,
    pub torn: Rng,
}

#[derive(Debug, PartialEq, Eq)]
pub struct PowerLost;

impl<const UNIT: usize> Nor<UNIT> {
    /// Erased flash of two halves.
    pub fn new(half: usize) -> Self {
        Nor {
            words: vec![u128::MAX; 2 * half / 16],
            left: usize::MAX,
            torn: Rng(1),
        }
    }

    /// Lose power in the `left`th operation from now.
    pub fn cut(&mut self, left: usize) {
        (self.left, self.torn) = (left, Rng(left as u64));
    }

    /// `None`: done whole. Else bits that the operation does not get to; 0xFF where it does not begin.
    fn missed(&mut self) -> Option<u8> {
        match self.left {
            0 => Some(0xFF),
            1 => {
                self.left = 0;
                Some(self.torn.word() as u8)
            }
            _ => {
                self.left -= 1;
                None
            }
        }
    }
}

impl<const U: usize> Flash for Nor<U> {
    type Error = PowerLost;
    const PAGE: usize = 1024;
    const UNIT: usize = U;

    fn bytes(&self) -> &[u8] {
        self.words.as_bytes()
    }

    fn erase(&mut self, off: usize) -> Result<(), PowerLost> {
        assert!(off.is_multiple_of(Self::PAGE));
        let missed = self.missed();
        let page = &mut self.words.as_mut_bytes()[off..off + Self::PAGE];
        match missed {
            None => page.fill(0xFF),
            Some(0xFF) => return Err(PowerLost),
            Some(seed) => {
                let mut rng = Rng(seed.into());
                page.iter_mut().for_each(|b| *b |= rng.word() as u8);
                return Err(PowerLost);
            }
        }
        Ok(())
    }

    fn write(&mut self, off: usize, units: &[u8]) -> Result<(), PowerLost> {
        assert!(off.is_multiple_of(U) && units.len().is_multiple_of(U));
        for (i, unit) in units.chunks(U).enumerate() {
            let missed = self.missed();
            let to = &mut self.words.as_mut_bytes()[off + i * U..][..U];
            assert!(
                missed == Some(0xFF) || to.iter().all(|&b| b == 0xFF),
                "written twice at {off}"
            );
            to.iter_mut()
                .zip(unit)
                .for_each(|(to, from)| *to &= from | missed.unwrap_or(0));
            if missed.is_some() {
                return Err(PowerLost);
            }
        }
        Ok(())
    }
}
