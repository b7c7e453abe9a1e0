//! Two places in flash for one artifact, so that a model is replaced without touching the program, and a power cut at
//! any moment leaves one that runs.
//!
//! Each slot is a [`Seal`] and the artifact behind it. An update goes to the slot that is not in use: erase (the page
//! with the seal first), write the artifact, check it as every artifact is checked, write the seal with the next
//! sequence number. Until the last byte of the seal is in flash, the other slot is the newest whole one.

use crate::engine::Engine;
use crate::error::LoadError;
use crate::format::crc::crc32c;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Flash that can be read in place: erased bytes read 0xFF, a write can only clear bits.
pub trait Flash {
    /// What the driver fails with.
    type Error;
    /// Bytes that are erased together; a multiple of 16.
    const PAGE: usize;
    /// Bytes that are written together; divides 16.
    const UNIT: usize;

    /// The whole region for both slots, aligned to 16 bytes.
    fn bytes(&self) -> &[u8];

    /// Erase the page that starts at `off`.
    ///
    /// # Errors
    /// Those of the driver.
    fn erase(&mut self, off: usize) -> Result<(), Self::Error>;

    /// Write whole units at `off`, a multiple of [`Flash::UNIT`] in an erased place.
    ///
    /// # Errors
    /// Those of the driver.
    fn write(&mut self, off: usize, units: &[u8]) -> Result<(), Self::Error>;
}

/// First bytes of a slot; makes the artifact behind it count.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Seal {
    magic: [u8; 4],
    /// Grows by one with every update, and wraps.
    sequence: U32,
    /// Bytes of the artifact.
    len: U32,
    /// CRC-32C of the fields before.
    crc: U32,
}
const _: () = assert!(size_of::<Seal>() == SEAL_LEN);

const SEAL_LEN: usize = 16;
const MAGIC: [u8; 4] = *b"EQS\x01";

impl Seal {
    /// The seal of an artifact of `len` bytes, for tools that write the first slot.
    pub fn new(sequence: u32, len: u32) -> Seal {
        let mut seal = Seal {
            magic: MAGIC,
            sequence: sequence.into(),
            len: len.into(),
            crc: 0.into(),
        };
        seal.crc = seal.sum().into();
        seal
    }

    fn sum(&self) -> u32 {
        let bytes = self.as_bytes();
        crc32c(bytes.get(..SEAL_LEN - size_of::<U32>()).unwrap_or_default())
    }
}

/// Which slot is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct InUse {
    /// 0 or 1.
    pub slot: usize,
    /// Number of the update.
    pub sequence: u32,
}

/// Why an update did not happen. The artifact in use is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum UpdateError<E> {
    /// The driver failed.
    Flash(E),
    /// The artifact is longer than a slot, or than announced.
    TooLong {
        /// Bytes that a slot, or the announced artifact, has.
        room: u32,
    },
    /// What was written is not an artifact that this program can run.
    Refused(LoadError),
}

/// The two slots.
#[derive(Debug)]
pub struct Slots<F> {
    flash: F,
}

impl<F: Flash> Slots<F> {
    /// Slots in `flash`, half of its pages each.
    pub const fn new(flash: F) -> Self {
        Slots { flash }
    }

    /// The driver, which the slots are done with.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Bytes of the longest artifact.
    pub fn room(&self) -> usize {
        self.slot_len().saturating_sub(SEAL_LEN)
    }

    fn slot_len(&self) -> usize {
        let pages = self.flash.bytes().len().checked_div(F::PAGE);
        (pages.unwrap_or(0) / 2).saturating_mul(F::PAGE)
    }

    /// The artifact of the newest slot that passes every check, and which slot that is.
    pub fn engine<const OPS: u32>(&self) -> Option<(Engine<'_, OPS>, InUse)> {
        let (a, b) = (self.sealed(0), self.sealed(1));
        let newer = |a: &(InUse, &[u8]), b: &(InUse, &[u8])| {
            a.0.sequence.wrapping_sub(b.0.sequence) as i32 > 0
        };
        let order = match (a, b) {
            (Some(a), Some(b)) if newer(&b, &a) => [Some(b), Some(a)],
            (a, b) => [a, b],
        };
        order
            .into_iter()
            .flatten()
            .find_map(|(found, bytes)| Some((Engine::new(bytes).ok()?, found)))
    }

    /// The artifact behind a whole seal.
    fn sealed(&self, slot: usize) -> Option<(InUse, &[u8])> {
        let off = self.slot_len().checked_mul(slot)?;
        let slot_bytes = self.flash.bytes().get(off..)?.get(..self.slot_len())?;
        let (seal, rest) = Seal::read_from_prefix(slot_bytes).ok()?;
        let whole = seal.magic == MAGIC && seal.crc.get() == seal.sum();
        let bytes = rest.get(..seal.len.get() as usize)?;
        whole.then_some((
            InUse {
                slot,
                sequence: seal.sequence.get(),
            },
            bytes,
        ))
    }

    /// Begin an update with an artifact of `len` bytes: erases the slot that is not in use.
    ///
    /// # Errors
    /// An artifact that is too long, or what the driver says.
    pub fn update<const OPS: u32>(
        &mut self,
        len: usize,
    ) -> Result<Update<'_, F, OPS>, UpdateError<F::Error>> {
        let room = self.room();
        if len > room {
            return Err(UpdateError::TooLong { room: room as u32 });
        }
        let (slot, sequence) = match self.engine::<OPS>() {
            Some((_, found)) => (1 - found.slot.min(1), found.sequence.wrapping_add(1)),
            None => (0, 1),
        };
        let start = slot * self.slot_len();
        let end = start + SEAL_LEN + len;
        for page in (start..end).step_by(F::PAGE.max(1)) {
            self.flash.erase(page).map_err(UpdateError::Flash)?;
        }
        Ok(Update {
            flash: &mut self.flash,
            start,
            sequence,
            len,
            done: 0,
            buffer: [0xFF; SEAL_LEN],
        })
    }
}

/// An update in progress: bytes in any pieces, then [`Update::finish`].
#[derive(Debug)]
pub struct Update<'f, F: Flash, const OPS: u32> {
    flash: &'f mut F,
    start: usize,
    sequence: u32,
    len: usize,
    done: usize,
    /// Bytes since the last multiple of its length.
    buffer: [u8; SEAL_LEN],
}

impl<F: Flash, const OPS: u32> Update<'_, F, OPS> {
    /// Append a piece of the artifact.
    ///
    /// # Errors
    /// More bytes than announced, or what the driver says.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), UpdateError<F::Error>> {
        if piece.len() > self.len.saturating_sub(self.done) {
            return Err(UpdateError::TooLong {
                room: self.len as u32,
            });
        }
        for byte in piece {
            if let Some(to) = self.buffer.get_mut(self.done % SEAL_LEN) {
                *to = *byte;
            }
            self.done += 1;
            if self.done.is_multiple_of(SEAL_LEN) {
                self.flush(self.done - SEAL_LEN)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, at: usize) -> Result<(), UpdateError<F::Error>> {
        let off = self.start + SEAL_LEN + at;
        self.flash
            .write(off, &self.buffer)
            .map_err(UpdateError::Flash)?;
        self.buffer = [0xFF; SEAL_LEN];
        Ok(())
    }

    /// Check what was written, and put it into use. Gives its sequence number.
    ///
    /// # Errors
    /// An artifact that is damaged, or that needs operators outside of `OPS`; what the driver says.
    pub fn finish(mut self) -> Result<u32, UpdateError<F::Error>> {
        let tail = self.done % SEAL_LEN;
        if tail > 0 {
            self.flush(self.done - tail)?;
        }
        let from = self.start + SEAL_LEN;
        let written = self.flash.bytes().get(from..).unwrap_or_default();
        let written = written.get(..self.done).unwrap_or_default();
        Engine::<OPS>::new(written).map_err(UpdateError::Refused)?;
        let seal = Seal::new(self.sequence, self.done as u32);
        let written = self.flash.write(self.start, seal.as_bytes());
        written.map_err(UpdateError::Flash)?;
        Ok(self.sequence)
    }
}
