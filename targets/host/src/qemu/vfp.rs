//! Float arithmetic of Arm's floating-point unit, found in the code itself: it needs no library and leaves no symbol.
//!
//! Mapping symbols (`$t` code, `$d` data) say which bytes are instructions. Thumb instructions have two or four
//! bytes; the first halfword tells which. The pattern of float data processing is that of the Armv7-M and
//! Armv8-M manuals, coprocessors 10 and 11; moves between registers and memory do not match, nor do the integer
//! instructions of Helium.

use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeMap;

/// Addresses of float arithmetic in a linked Arm program.
pub fn float_arithmetic(file: &object::File<'_>) -> Vec<u64> {
    // Start of every stretch of code or data.
    let mut stretches = BTreeMap::new();
    for symbol in file.symbols() {
        match symbol.name().map(|name| name.get(..2)) {
            Ok(Some("$t")) => stretches.insert(symbol.address() & !1, true),
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
            found.extend(sweep(code).map(|offset| at + offset as u64));
        }
    }
    found
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
    use super::sweep;

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
}
