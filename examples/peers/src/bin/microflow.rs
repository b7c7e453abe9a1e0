//! Times the network that microflow compiled in: `microflow LAYERS.txt INPUTS SAMPLES`; the list is read for the input
//! quantization alone.

use elastiq_peers::{Job, Outcome, Port, finish};
use nalgebra::SMatrix;
use std::hint::black_box;
use std::process::ExitCode;

include!(concat!(env!("OUT_DIR"), "/net.rs"));

/// The two kinds of buffers of microflow, from and to NHWC values.
trait Buffer<T> {
    fn fill(values: &[T]) -> Self;
    fn flat(&self) -> Vec<T>;
}

impl<T: nalgebra::Scalar + Copy, const R: usize, const C: usize> Buffer<T> for SMatrix<T, R, C> {
    fn fill(values: &[T]) -> Self {
        SMatrix::from_fn(|r, c| values[r * C + c])
    }

    fn flat(&self) -> Vec<T> {
        self.transpose().iter().copied().collect()
    }
}

impl<T: nalgebra::Scalar + Copy, const H: usize, const W: usize, const C: usize> Buffer<T>
    for [SMatrix<[T; C], H, W>; 1]
{
    fn fill(values: &[T]) -> Self {
        [SMatrix::from_fn(|r, c| {
            std::array::from_fn(|i| values[(r * W + c) * C + i])
        })]
    }

    fn flat(&self) -> Vec<T> {
        self[0].transpose().iter().flatten().copied().collect()
    }
}

fn worker() -> Outcome<()> {
    let job = Job::from_args()?;
    let text = std::fs::read_to_string(&job.model).map_err(|e| format!("{}: {e}", job.model))?;
    let part: Vec<&str> = text.lines().next().unwrap_or("").split(' ').collect();
    let [_, _, len, bits, zero] = part[..] else {
        return Err(format!("{}: bad port line", job.model).into());
    };
    let scale = f32::from_bits(bits.parse()?);
    let input = Port {
        scale,
        zero: zero.parse()?,
        len: len.parse()?,
    };
    job.measure(
        &mut None,
        input,
        |x| Buffer::fill(x),
        |y, x| {
            *y = Some(black_box(Net::predict_quantized(*black_box(x))));
            Ok(())
        },
        |y| y.as_ref().map(Buffer::flat).unwrap_or_default(),
    )
}

fn main() -> ExitCode {
    // Every activation is a value on the stack.
    let thread = std::thread::Builder::new()
        .stack_size(256 << 20)
        .spawn(|| finish(worker()));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        _ => ExitCode::from(2),
    }
}
