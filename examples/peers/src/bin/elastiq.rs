//! Times an artifact in the engine: `elastiq MODEL.eqm INPUTS SAMPLES`.

use elastiq::{Aligned, Engine, Io, ModelInfo, OpSet};
use elastiq_peers::{Job, Outcome, Port, finish};
use std::hint::black_box;
use std::process::ExitCode;

/// Longest artifact.
const SPACE: usize = 1 << 20;

fn port(io: Option<Io<'_>>) -> Outcome<Port> {
    let io = io.ok_or("the artifact has no input or output")?;
    let scale = f32::from_bits(io.row.scale_bits.get());
    Ok(Port {
        scale,
        zero: io.row.zero,
        len: io.len,
    })
}

fn worker() -> Outcome<()> {
    let job = Job::from_args()?;
    let file = std::fs::read(&job.model).map_err(|e| format!("{}: {e}", job.model))?;
    // Aligned as in flash.
    let mut space = Box::new(Aligned([0; SPACE]));
    let bytes = space
        .0
        .get_mut(..file.len())
        .ok_or("the artifact is longer than 1 MiB")?;
    bytes.copy_from_slice(&file);
    let info = ModelInfo::of(bytes);
    let engine =
        Engine::<{ OpSet::ALL }>::new(bytes).map_err(|e| format!("{}: {e:?}", job.model))?;
    let (input, output) = (
        port(engine.model().inputs().next())?,
        port(engine.model().outputs().next())?,
    );
    let mut arena = vec![0; info.arena_len];
    job.measure(
        &mut vec![0; info.output_len],
        input,
        <[i8]>::to_vec,
        |y, x| {
            engine
                .run(&mut arena, black_box(x), y)
                .map_err(|e| format!("{e:?}").into())
        },
        |y| output.dequantize(y),
    )
}

fn main() -> ExitCode {
    finish(worker())
}
