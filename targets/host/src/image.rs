//! Flash images: what of a linked program is written to flash, and the file formats that flashing tools take.

use crate::failure::{Failure, Outcome, io_text};
use elastiq_board::Board;
use ihex::Record;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};
use std::path::Path;

/// Bytes of the flash of a board, from its first byte on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Address of the first byte as flashing tools count it.
    pub at: u32,
    /// Gaps hold 0xFF, as erased flash does.
    pub bytes: Vec<u8>,
}

/// File format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The linked program with its symbols
    Elf,
    /// Bytes from the start of flash on
    Bin,
    /// Intel HEX
    Hex,
    /// USB drive of a boot loader (microsoft/uf2)
    Uf2,
}

impl Format {
    /// Ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Elf => "elf",
            Format::Bin => "bin",
            Format::Hex => "hex",
            Format::Uf2 => "uf2",
        }
    }
}

/// What erased flash reads as.
const ERASED: u8 = 0xFF;

impl Image {
    /// What the program `elf` puts into the flash of `board`.
    ///
    /// # Errors
    /// A program with bytes for somewhere else.
    pub fn of(elf: &Path, board: &Board) -> Outcome<Image> {
        let file = std::fs::read(elf).map_err(|e| Failure::at(elf, io_text(&e)))?;
        Image::parse(&file, board).map_err(|what| Failure::at(elf, what))
    }

    fn parse(file: &[u8], board: &Board) -> Result<Image, String> {
        let text = |e: object::Error| e.to_string();
        let header = elf::FileHeader32::<Endianness>::parse(file).map_err(text)?;
        let endian = header.endian().map_err(text)?;
        let mut bytes = vec![];
        for segment in header.program_headers(endian, file).map_err(text)? {
            let data = segment.data(endian, file).map_err(|()| "truncated")?;
            if segment.p_type(endian) != elf::PT_LOAD || data.is_empty() {
                continue;
            }
            let at = segment.p_paddr(endian);
            let end = u64::from(at) + data.len() as u64;
            if at < board.flash.start || end > board.flash.end() {
                return Err(format!(
                    "bytes for {at:#x}..{end:#x} are outside of the flash of {}",
                    board.name
                ));
            }
            let off = (at - board.flash.start) as usize;
            if bytes.len() < off + data.len() {
                bytes.resize(off + data.len(), ERASED);
            }
            bytes[off..off + data.len()].copy_from_slice(data);
        }
        match bytes.is_empty() {
            true => Err("has nothing for flash".into()),
            false => Ok(Image {
                at: board.flashed_at(),
                bytes,
            }),
        }
    }

    /// Intel HEX: 16 bytes a record, 32-bit addresses.
    pub fn hex(&self) -> String {
        let mut records = vec![];
        let mut upper = None;
        let mut at = self.at;
        for bytes in self.bytes.chunks(16) {
            let high = (at >> 16) as u16;
            if upper.replace(high) != Some(high) {
                records.push(Record::ExtendedLinearAddress(high));
            }
            records.push(Record::Data {
                offset: at as u16,
                value: bytes.to_vec(),
            });
            at = at.wrapping_add(16);
        }
        records.push(Record::EndOfFile);
        // What it refuses are records of more than 255 bytes and a missing or second end.
        ihex::create_object_file_representation(&records).unwrap_or_default()
    }

    /// UF2: blocks of 256 bytes, for boot loaders that look like a USB drive.
    pub fn uf2(&self, family: u32) -> Vec<u8> {
        const PAGE: usize = 256;
        let blocks = self.bytes.len().div_ceil(PAGE) as u32;
        let mut file = Vec::with_capacity(512 * blocks as usize);
        for (number, bytes) in self.bytes.chunks(PAGE).enumerate() {
            let number = number as u32;
            let at = self.at.wrapping_add(number * PAGE as u32);
            for word in [
                UF2_START[0],
                UF2_START[1],
                UF2_FAMILY_PRESENT,
                at,
                PAGE as u32,
                number,
                blocks,
                family,
            ] {
                file.extend(word.to_le_bytes());
            }
            let mut data = [0; 476];
            data[..PAGE].fill(ERASED);
            data[..bytes.len()].copy_from_slice(bytes);
            file.extend(data);
            file.extend(UF2_END.to_le_bytes());
        }
        file
    }
}

const UF2_START: [u32; 2] = [0x0A32_4655, 0x9E5D_5157];
const UF2_END: u32 = 0x0AB1_6F30;
const UF2_FAMILY_PRESENT: u32 = 0x2000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes by address, as a loader of HEX files sees them.
    fn read_hex(text: &str) -> Vec<(u32, u8)> {
        let (mut high, mut found, mut ended) = (0, vec![], false);
        for record in ihex::Reader::new(text) {
            match record.unwrap() {
                Record::ExtendedLinearAddress(v) => high = u32::from(v) << 16,
                Record::Data { offset, value } => {
                    let at = high + u32::from(offset);
                    found.extend(value.into_iter().zip(at..).map(|(byte, at)| (at, byte)));
                }
                Record::EndOfFile => ended = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(ended);
        found
    }

    fn image(at: u32, len: usize) -> Image {
        Image {
            at,
            bytes: (0..len).map(|i| (i * 7 + i / 256) as u8).collect(),
        }
    }

    /// Records continue behind a 64 KiB boundary, and one that does not start at a multiple of 16.
    #[test]
    fn hex_is_read_back() {
        for image in [
            image(0x1000_FFE8, 1000),
            image(0, 70_000),
            image(0x0800_0000, 1),
        ] {
            let bytes: Vec<u8> = read_hex(&image.hex()).iter().map(|b| b.1).collect();
            assert!(bytes == image.bytes, "at {:#x}", image.at);
            let at: Vec<u32> = read_hex(&image.hex()).iter().map(|b| b.0).collect();
            assert!(
                at.iter()
                    .copied()
                    .eq(image.at..image.at + bytes.len() as u32)
            );
        }
    }

    /// By the text of the specification: 512-byte blocks, three magic numbers, numbers in order.
    #[test]
    fn uf2_is_read_back() {
        let image = image(0x1000_0000, 1000);
        let file = image.uf2(0xE48B_FF56);
        assert_eq!(file.len(), 4 * 512);
        let mut bytes = vec![];
        for (i, block) in file.chunks(512).enumerate() {
            let word = |n: usize| u32::from_le_bytes(block[4 * n..4 * n + 4].try_into().unwrap());
            assert_eq!(
                [word(0), word(1), word(127)],
                [0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30]
            );
            assert_eq!(
                [word(2), word(4), word(6), word(7)],
                [0x2000, 256, 4, 0xE48B_FF56]
            );
            assert_eq!([word(3), word(5)], [0x1000_0000 + 256 * i as u32, i as u32]);
            bytes.extend_from_slice(&block[32..32 + 256]);
        }
        assert!(bytes[..1000] == image.bytes[..]);
        assert!(bytes[1000..].iter().all(|&b| b == 0xFF));
    }
}
