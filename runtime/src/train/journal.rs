//! Rows that learning changed, in flash, whole after a power cut at any moment.
//!
//! The flash has two areas. An area is a head and records, each one row with its checksum. A changed row is appended;
//! when the area is full, every row goes to the other area, and its head is written last. Reading takes the newest area
//! with a whole head and applies its records up to the first that is not whole: every row is then what it was before or
//! after the save that was cut.

use super::Rows;
use crate::format::crc::crc32c;
use crate::slots::Flash;

const HEAD: usize = 16;
const MAGIC: [u8; 4] = *b"EQL\x01";

/// A journal of records of `RECORD` bytes: a multiple of 16, at least a row and 8 more.
#[derive(Debug)]
pub struct Journal<F, const RECORD: usize> {
    flash: F,
    area: usize,
    /// 0 while neither area holds anything.
    sequence: u32,
    /// Where the next record goes; behind the last place where the area is full, or has a torn record.
    next: usize,
}

/// Why a row was not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum JournalError<E> {
    /// The driver failed.
    Flash(E),
    /// An area does not hold a record for every row.
    TooSmall {
        /// Bytes that an area needs.
        need: u32,
    },
    /// A row does not fit a record, or records are not multiples of 16 bytes.
    Record,
}

impl<F: Flash, const RECORD: usize> Journal<F, RECORD> {
    /// Open the journal in `flash` and set the rows of `head` that it holds.
    ///
    /// # Errors
    /// A flash or record that is too small for `head`.
    pub fn open(flash: F, head: &mut impl Rows) -> Result<Self, JournalError<F::Error>> {
        let mut journal = Journal {
            flash,
            area: 0,
            sequence: 0,
            next: usize::MAX,
        };
        if head.row_len() + 8 > RECORD || !RECORD.is_multiple_of(HEAD) {
            return Err(JournalError::Record);
        }
        let need = HEAD + RECORD * head.rows();
        if journal.area_len() < need {
            return Err(JournalError::TooSmall { need: need as u32 });
        }
        for area in 0..2 {
            let newer =
                |s: &u32| journal.sequence == 0 || s.wrapping_sub(journal.sequence) as i32 > 0;
            if let Some(sequence) = journal.head(area).filter(newer) {
                (journal.area, journal.sequence) = (area, sequence);
            }
        }
        if journal.sequence > 0 {
            journal.apply(head);
        }
        Ok(journal)
    }

    /// The driver, which the journal is done with.
    pub fn into_flash(self) -> F {
        self.flash
    }

    fn area_len(&self) -> usize {
        let pages = self.flash.bytes().len().checked_div(F::PAGE);
        (pages.unwrap_or(0) / 2).saturating_mul(F::PAGE)
    }

    fn at(&self, area: usize, off: usize, len: usize) -> Option<&[u8]> {
        let bytes = self.flash.bytes().get(area * self.area_len()..)?;
        bytes.get(..self.area_len())?.get(off..)?.get(..len)
    }

    /// Sequence number of an area with a whole head.
    fn head(&self, area: usize) -> Option<u32> {
        let (fields, crc) = self.at(area, 0, HEAD)?.split_last_chunk::<4>()?;
        let whole = u32::from_le_bytes(*crc) == crc32c(fields) && fields.starts_with(&MAGIC);
        let sequence = fields.get(4..)?.first_chunk()?;
        whole.then_some(u32::from_le_bytes(*sequence))
    }

    fn apply(&mut self, head: &mut impl Rows) {
        let mut off = HEAD;
        while let Some((row, data)) = self.record(off) {
            if row < head.rows() {
                head.set(row, data.get(..head.row_len()).unwrap_or_default());
            }
            off += RECORD;
        }
        let free = self.at(self.area, off, RECORD);
        let erased = free.is_some_and(|bytes| bytes.iter().all(|&b| b == 0xFF));
        self.next = if erased { off } else { usize::MAX };
    }

    /// Row and data of a whole record.
    fn record(&self, off: usize) -> Option<(usize, &[u8])> {
        let (body, crc) = self.at(self.area, off, RECORD)?.split_last_chunk::<4>()?;
        let whole = u32::from_le_bytes(*crc) == crc32c(body) ^ self.sequence;
        let (row, data) = body.split_first_chunk::<4>()?;
        whole.then_some((u32::from_le_bytes(*row) as usize, data))
    }

    /// Save row `row` of `head`.
    ///
    /// # Errors
    /// What the driver says. The journal then holds what it held.
    pub fn save(&mut self, head: &impl Rows, row: usize) -> Result<(), JournalError<F::Error>> {
        if self.at(self.area, self.next, RECORD).is_none() {
            return self.move_on(head);
        }
        // A record that fails half way is in the way of the next.
        let off = core::mem::replace(&mut self.next, usize::MAX);
        self.append(self.area, off, self.sequence, head, row)?;
        self.next = off + RECORD;
        Ok(())
    }

    fn append(
        &mut self,
        area: usize,
        off: usize,
        sequence: u32,
        head: &impl Rows,
        row: usize,
    ) -> Result<(), JournalError<F::Error>> {
        let mut record = [0; RECORD];
        if let Some((body, crc)) = record.split_last_chunk_mut::<4>() {
            if let Some((to, data)) = body.split_first_chunk_mut::<4>() {
                *to = (row as u32).to_le_bytes();
                head.get(row, data.get_mut(..head.row_len()).unwrap_or_default());
            }
            *crc = (crc32c(body) ^ sequence).to_le_bytes();
        }
        let at = area * self.area_len() + off;
        self.flash.write(at, &record).map_err(JournalError::Flash)
    }

    /// Write every row to the other area and go on there.
    fn move_on(&mut self, head: &impl Rows) -> Result<(), JournalError<F::Error>> {
        let area = if self.sequence == 0 {
            0
        } else {
            1 - self.area.min(1)
        };
        let sequence = match self.sequence.wrapping_add(1) {
            0 => 1,
            next => next,
        };
        let start = area * self.area_len();
        for page in (start..start + self.area_len()).step_by(F::PAGE.max(1)) {
            self.flash.erase(page).map_err(JournalError::Flash)?;
        }
        for row in 0..head.rows() {
            self.append(area, HEAD + RECORD * row, sequence, head, row)?;
        }
        let mut fields = [0; HEAD];
        if let Some((body, crc)) = fields.split_last_chunk_mut::<4>() {
            let start = MAGIC.into_iter().chain(sequence.to_le_bytes());
            body.iter_mut().zip(start).for_each(|(to, b)| *to = b);
            *crc = crc32c(body).to_le_bytes();
        }
        self.flash
            .write(start, &fields)
            .map_err(JournalError::Flash)?;
        (self.area, self.sequence) = (area, sequence);
        self.next = HEAD + RECORD * head.rows();
        Ok(())
    }
}
