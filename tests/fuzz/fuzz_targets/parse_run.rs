//! Any bytes go to `Model::parse`; whatever it accepts must run without a trap.
//!
//! Built with `--cfg fuzzing`, which lets the reader get past its checksums.
#![no_main]

#[path = "../../src/parse_run.rs"]
mod parse_run;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    parse_run::parse_run(data);
});
