//! What the workers share: inputs from a file, the timing loop, the printed lines.
//!
//! A worker prints `y VALUE..` for every input (the output as real numbers) and then `us TIME..` (microseconds of one
//! run, one figure per sample). Quantization of the input and reading of the output are not timed.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

/// What a worker may end with.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

const WARM: Duration = Duration::from_millis(50);
const SAMPLE: Duration = Duration::from_millis(20);

/// Scale, zero point and length of an input or output: real = scale * (code - zero).
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Real value of one step.
    pub scale: f32,
    /// Code of zero.
    pub zero: i8,
    /// Elements.
    pub len: usize,
}

impl Port {
    /// Codes of real values.
    pub fn quantize(&self, x: &[f32]) -> Vec<i8> {
        let code = |v: &f32| (v / self.scale).round() + f32::from(self.zero);
        x.iter().map(|v| code(v) as i8).collect()
    }

    /// Real values of codes.
    pub fn dequantize(&self, q: &[i8]) -> Vec<f32> {
        let real = |&v: &i8| self.scale * (f32::from(v) - f32::from(self.zero));
        q.iter().map(real).collect()
    }
}

/// The arguments `MODEL INPUTS SAMPLES`.
pub struct Job {
    /// Artifact or layer list.
    pub model: String,
    /// Raw little-endian f32.
    inputs: Vec<f32>,
    samples: usize,
}

impl Job {
    /// From the command line.
    pub fn from_args() -> Outcome<Job> {
        let mut args = std::env::args().skip(1);
        let mut next = |what: &str| args.next().ok_or(format!("missing argument {what}"));
        let (model, inputs) = (next("MODEL")?, next("INPUTS")?);
        let samples = next("SAMPLES")?.parse()?;
        let bytes = fs::read(&inputs).map_err(|e| format!("{inputs}: {e}"))?;
        let (words, _) = bytes.as_chunks();
        let inputs = words.iter().map(|w| f32::from_le_bytes(*w)).collect();
        Ok(Job {
            model,
            inputs,
            samples,
        })
    }

    /// Runs every input once for its output, then the last one for time. `run` takes codes and leaves its output where
    /// `read` finds it.
    pub fn measure<S, I>(
        &self,
        state: &mut S,
        input: Port,
        prepare: impl Fn(&[i8]) -> I,
        mut run: impl FnMut(&mut S, &I) -> Outcome<()>,
        read: impl Fn(&S) -> Vec<f32>,
    ) -> Outcome<()> {
        let mut last = None;
        for x in self.inputs.chunks_exact(input.len) {
            let x = prepare(&input.quantize(x));
            run(state, &x)?;
            println!("y{}", line(&read(state)));
            last = Some(x);
        }
        let x = last.ok_or("no inputs")?;
        let (mut calls, start) = (0u32, Instant::now());
        while start.elapsed() < WARM {
            run(state, &x)?;
            calls += 1;
        }
        let share = SAMPLE.as_secs_f64() / WARM.as_secs_f64();
        let count = (f64::from(calls) * share).round().max(1.0) as u32;
        let mut times = Vec::new();
        for _ in 0..self.samples {
            let start = Instant::now();
            for _ in 0..count {
                run(state, &x)?;
            }
            times.push((start.elapsed().as_secs_f64() / f64::from(count) * 1e6) as f32);
        }
        println!("us{}", line(&times));
        Ok(())
    }
}

fn line(values: &[f32]) -> String {
    let mut text = String::new();
    for v in values {
        // Writing to a string cannot fail.
        let _ = write!(text, " {v}");
    }
    text
}

/// Prints the error of a worker as one line; exit code 2.
pub fn finish(outcome: Outcome<()>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::from(2)
        }
    }
}
