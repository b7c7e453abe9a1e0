//! Float arithmetic of Arm's floating-point units, found in the code itself: it needs no library and leaves no symbol.
//!
//! Mapping symbols (`$t` Thumb code, `$x` A64 code, `$d` data) say which bytes are instructions. Thumb instructions
//! have two or four bytes; the first halfword tells which. The pattern of float data processing is that of the
//! Armv7-M and Armv8-M manuals, coprocessors 10 and 11, and that of the Armv8-A manual; moves between registers and
//! memory do not match, nor do the integer instructions of Helium and Advanced SIMD.

use object::{Architecture, Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeMap;

/// Addresses of float arithmetic in a linked Arm program.
pub fn float_arithmetic(file: &object::File<'_>) -> Vec<u64> {
    let a64 = file.architecture() == Architecture::Aarch64;
    // Start of every stretch of code or data.
    let mut stretches = BTreeMap::new();
    for symbol in file.symbols() {
        match symbol.name().map(|name| name.get(..2)) {
            Ok(Some("$t" | "$x")) => stretches.insert(symbol.address() & !1, true),
            Ok(Some("$d")) => stretches.insert(symbol.address(), false),
            _ => None,
        };
    }
    let mut found = vec![];
    for section in file.sections() {
        let Ok(data) = section.data() else { continue };
        let (start, end) = (section.address(), section.address() + data.len() as u64);
        let starts: Vec<(u64, bool)> = stretches
            .range(start..end)
            .map(|(&at, &code)| (at, code))
            .collect();
        for (i, &(at, _)) in starts.iter().enumerate().filter(|(_, (_, code))| *code) {
            let stop = starts.get(i + 1).map_or(end, |&(next, _)| next);
            let code = &data[(at - start) as usize..(stop - start) as usize];
            match a64 {
                true => found.extend(sweep_a64(code).map(|offset| at + offset as u64)),
                false => found.extend(sweep(code).map(|offset| at + offset as u64)),
            }
        }
    }
    found
}

/// Offsets of float arithmetic in A64 code.
fn sweep_a64(code: &[u8]) -> impl Iterator<Item = usize> {
    let words = code.as_chunks::<4>().0.iter().enumerate();
    words.filter_map(|(i, word)| is_float_a64(u32::from_le_bytes(*word)).then_some(i * 4))
}

fn is_float_a64(word: u32) -> bool {
    let bits = |from: u32, n: u32| word >> from & ((1 << n) - 1);
    match word & 0x5F00_0000 {
        // Multiply-add.
        0x1F00_0000 => return true,
        0x1E00_0000 => {
            let to_integer_register = bits(10, 6) == 0 && bits(17, 2) == 3;
            let to_float_register = bits(10, 11) == 0b10000;
            let immediate = bits(5, 8) == 0b1000_0000;
            let select = bits(10, 2) == 3;
            let moves = to_integer_register || to_float_register || immediate || select;
            return bits(21, 1) == 0 || !moves;
        }
        _ => {}
    }
    let three_same = word & 0x9F20_0400 == 0x0E20_0400 && bits(11, 5) >= 24;
    let convert = word & 0x9F3E_0C00 == 0x0E20_0800 && bits(12, 5) >= 24 && bits(12, 5) != 28;
    three_same || convert
}

/// Offsets of float arithmetic in Thumb code.
fn sweep(code: &[u8]) -> impl Iterator<Item = usize> {
    let half = |at: usize| Some(u16::from_le_bytes(code.get(at..at + 2)?.try_into().ok()?));
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let here = at;
            let first = half(at)?;
            if first < 0xE800 {
                at += 2;
                continue;
            }
            at += 4;
            if is_float_arithmetic(first, half(here + 2)?) {
                return Some(here);
            }
        }
    })
}

fn is_float_arithmetic(first: u16, second: u16) -> bool {
    let data_processing = matches!(first & 0xFF00, 0xEE00 | 0xFE00) && second & 0x10 == 0;
    data_processing && second & 0x0E00 == 0x0A00
}

#[cfg(test)]
mod tests {
    use super::{sweep, sweep_a64};

    /// Encodings as the LLVM assembler gives them.
    #[test]
    fn arithmetic_is_told_from_moves_and_integers() {
        let one = |first: u16, second: u16| {
            let bytes = [first.to_le_bytes(), second.to_le_bytes()].concat();
            sweep(&bytes).count()
        };
        // vadd.f32 s0, s1, s2; vdiv.f64 d0, d1, d2; vcvt.f32.s32 s0, s0; vsqrt.f32 s0, s0
        for (first, second) in [
            (0xEE30, 0x0A81),
            (0xEE81, 0x0B02),
            (0xEEB8, 0x0AC0),
            (0xEEB1, 0x0AC0),
        ] {
            assert_eq!(one(first, second), 1, "{first:x} {second:x}");
        }
        // vmov r0, s0; vldr d0, [r0]; vpush {d8}; smlad r0, r1, r2, r3; vdup.8 q0, r0; vmladava.s8 r0, q0, q1
        for (first, second) in [
            (0xEE10, 0x0A10),
            (0xED90, 0x0B00),
            (0xED2D, 0x8B02),
            (0xFB21, 0x3002),
            (0xEEE0, 0x0B10),
            (0xEEF0, 0x0F02),
        ] {
            assert_eq!(one(first, second), 0, "{first:x} {second:x}");
        }
        // A data word of two 16-bit instructions in front does not shift the sweep.
        assert_eq!(
            sweep(&[0x00, 0xBF, 0x30, 0xEE, 0x81, 0x0A]).collect::<Vec<_>>(),
            [2]
        );
    }

    /// Encodings as the LLVM assembler gives them.
    #[test]
    fn a64_arithmetic_is_told_from_moves_and_integers() {
        let one = |word: u32| sweep_a64(&word.to_le_bytes()).count();
        // fadd, fdiv, scvtf, fcvtzs, fsqrt, fmadd, fcmp, fcvt, scvtf with scale; vectors: fmul, fmla, scvtf, fcvtzs
        for word in [
            0x1E22_2820,
            0x1E62_1820,
            0x1E22_0000,
            0x1E78_0000,
            0x1E21_C000,
            0x1F42_0C20,
            0x1E21_2000,
            0x1E22_C000,
            0x1E02_F020,
            0x6E22_DC20,
            0x4E62_CC20,
            0x4E21_D820,
            0x4EA1_B820,
        ] {
            assert_eq!(one(word), 1, "{word:x}");
        }
        // fmov, fcsel, loads, integer arithmetic of vectors, add
        for word in [
            0x1E26_0000,
            0x9E67_0000,
            0x1E20_4020,
            0x1E2E_1000,
            0x1E22_0C20,
            0x3DC0_0000,
            0x0E62_8020,
            0x6EA2_B420,
            0x4E82_9420,
            0x4EA2_8420,
            0x4E22_6420,
            0x4EA2_BC20,
            0x0E61_4820,
            0x0F08_A420,
            0x2D40_0400,
            0x4EA2_9C20,
            0x6E22_1C20,
            0x6E62_1C20,
            0x4EA0_0820,
            0x4EA0_B820,
            0x4EA0_A820,
            0x4E02_1820,
            0x4EA1_C820,
            0x1100_0400,
        ] {
            assert_eq!(one(word), 0, "{word:x}");
        }
    }
}
