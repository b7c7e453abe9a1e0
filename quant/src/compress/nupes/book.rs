//! Codes and levels as the artifact has them: linear where the exponent is 1, else a book of integers.

use super::learn::Learned;
use super::power::Spare;
use crate::lower::format::{Grid, Levels};
use crate::lower::given::GivenWeights;

/// Largest entries of a book, finest first. The sum of a channel over inputs of any code has to stay below
/// [`MOST`]; lowering proves it again for the weights and bias at hand.
const TOPS: [f64; 6] = [4095.0, 2047.0, 1023.0, 511.0, 255.0, 127.0];
/// A quarter of what 32 bits hold: the rest is for bias and zero point.
const MOST: f64 = (1 << 29) as f64;
/// Largest magnitude of an input code.
const INPUT: f64 = 128.0;

/// Codes and grid of a layer.
pub fn given(learned: &Learned) -> GivenWeights {
    let (power, clip) = (learned.fit.power, &learned.fit.clip);
    let live = |unit: f64| {
        // Channels without weights have no scale of their own.
        let scale = move |&c: &f64| if c > 0.0 { c / unit } else { 1.0 };
        clip.iter().map(scale).collect::<Vec<f64>>()
    };
    let first = *power.codes().start();
    if power.exponent == 1.0 && power.spare == Spare::Below {
        let code = |&i: &usize| (i as i32 + first) as i8;
        return GivenWeights {
            bits: power.bits,
            grid: Grid {
                scale: live(f64::from(power.q())),
                levels: Levels::Linear {
                    lo: first,
                    hi: power.q(),
                    zeros: vec![0],
                },
            },
            codes: learned.indices.iter().map(code).collect(),
            nested: false,
        };
    }
    let fits = |book: &[i16]| {
        let rows = learned.indices.rows();
        let sum = |row: ndarray::ArrayView1<usize>| -> f64 {
            row.iter().map(|&i| f64::from(book[i]).abs()).sum()
        };
        rows.into_iter().map(sum).fold(0.0, f64::max) * INPUT <= MOST
    };
    let last = TOPS[TOPS.len() - 1];
    let (book, m) = TOPS
        .iter()
        .map(|&top| power.book(top))
        .find(|(book, _)| fits(book))
        .unwrap_or_else(|| power.book(last));
    GivenWeights {
        bits: power.bits,
        grid: Grid {
            scale: live(m),
            levels: Levels::Book(book),
        },
        codes: learned.indices.iter().map(|&i| i as u8 as i8).collect(),
        nested: false,
    }
}
