//! A model in flash and its arena, as firmware declares them; runs on any target, here on the host.
//!
//! ```sh
//! cargo run -p elastiq-examples --example embed
//! ```
//! Everything is known at compile time: the operators to link, the arena, the buffer lengths. A malformed artifact
//! does not compile. `engine.run` reads nothing but the model, the arena and the input.

use core::error::Error;
use elastiq::{Aligned, Engine, ModelInfo, include_model};

static MODEL: &Aligned<[u8]> = &include_model!("models/digits_cnn.eqm");
const INFO: ModelInfo = ModelInfo::of(&MODEL.0);

/// A seven, 8x8 grey levels in 0..=16.
const SEVEN: [u8; INFO.input_len] = [
    0, 0, 7, 13, 15, 16, 9, 0, //
    0, 0, 11, 12, 9, 16, 8, 0, //
    0, 0, 0, 0, 3, 16, 3, 0, //
    0, 0, 4, 7, 13, 14, 2, 0, //
    0, 3, 16, 16, 16, 14, 8, 0, //
    0, 0, 4, 15, 6, 0, 0, 0, //
    0, 0, 9, 13, 0, 0, 0, 0, //
    0, 0, 12, 7, 0, 0, 0, 0,
];

/// Class with the largest output code.
fn classify(pixels: &[u8; INFO.input_len]) -> Result<Option<usize>, Box<dyn Error>> {
    // Firmware would keep the arena in a static and lend it per run; several models can share it.
    let mut arena = [0; INFO.arena_len];
    let engine = Engine::<{ INFO.ops }>::new(&MODEL.0)?;
    // The network takes 0..=1 at a scale of 1/255 and zero point -128; `elastiq inspect` prints both.
    let input = pixels.map(|p| (i32::from(p) * 255 / 16 - 128) as i8);
    let mut output = [0; INFO.output_len];
    engine.run(&mut arena, &input, &mut output)?;
    Ok((0..output.len()).max_by_key(|&class| output[class]))
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{} bytes of model, {} of arena",
        INFO.total_len, INFO.arena_len
    );
    println!("class {:?}", classify(&SEVEN)?);
    Ok(())
}

#[test]
fn a_seven_is_a_seven() {
    assert_eq!(classify(&SEVEN).unwrap(), Some(7));
}
