//! From a network file to integers and back, the way a user's code would do it.

use crate::bound::Grid;
use elastiq::{Engine, Model, OpSet};
use elastiq_quant::calibrate::{Method, calibrate};
use elastiq_quant::compile::{self, CompileOptions, Compiled};
use elastiq_quant::ir::{Graph, ValueId, exec, passes};
use elastiq_quant::lower::{Lowered, lower};
use elastiq_quant::pack::{Extras, pack};
use elastiq_quant::plan::{merge_in_place, plan};
use elastiq_quant::{Error, Samples, import};
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;
use std::path::Path;

/// Compile with the defaults, silently.
pub fn compile(file: &Path, calib: &Samples) -> Result<Compiled, Error> {
    compile::compile(file, calib, &CompileOptions::default(), &mut |_, _, _| {})
}

/// A network after every stage.
pub struct Built {
    /// Float, after the passes.
    pub graph: Graph,
    /// Integers, in real units where [`lower`] keeps them.
    pub lowered: Lowered,
    pub bytes: Vec<u8>,
}

impl Built {
    /// Grid of every value that exists in the artifact; the coarsest where a value has several tensors.
    pub fn grids(&self) -> HashMap<ValueId, Grid> {
        let mut grids: HashMap<ValueId, Grid> = HashMap::new();
        for tensor in &self.lowered.tensors {
            let grid = Grid {
                scale: tensor.quant.scale,
                zero: tensor.quant.zero,
            };
            if let (Some(value), 1) = (tensor.value, tensor.width) {
                let known = grids.entry(value).or_insert(grid);
                if known.scale < grid.scale {
                    *known = grid;
                }
            }
        }
        grids
    }
}

/// Every stage on its own, each with its defaults.
pub fn build(file: &Path, calib: &Samples) -> Result<Built, Error> {
    let (graph, _) = passes::optimize(import::load(file)?);
    let ranges = calibrate(&graph, calib, Method::MinMax, &mut |_, _| {})?;
    let mut lowered = lower(&graph, &ranges, &Default::default(), &Default::default())?;
    merge_in_place(&mut lowered);
    let plan = plan(&lowered, elastiq::Backend::Dsp);
    let bytes = pack(&lowered, &plan, &graph, &Extras::default())?;
    Ok(Built {
        graph,
        lowered,
        bytes,
    })
}

/// Codes of one sample for every input of `model`, `inputs` in IR layout.
pub fn quantize(model: &Model<'_>, inputs: &[ArrayD<f32>]) -> Vec<Vec<u8>> {
    let codes = |(io, x): (elastiq::Io<'_>, &ArrayD<f32>)| {
        let scale = f32::from_bits(io.row.scale_bits.get());
        let zero = f32::from(io.row.zero);
        x.iter()
            .map(|v| ((v / scale).round() + zero).clamp(-128.0, 127.0) as i8 as u8)
            .collect()
    };
    model.inputs().zip(inputs).map(codes).collect()
}

/// Run every op on `inputs`; `each(op, bytes of its output)` after every one. Bytes of all outputs.
pub fn run(
    engine: &Engine<'_, { OpSet::ALL }>,
    inputs: &[Vec<u8>],
    each: &mut dyn FnMut(u16, &[u8]),
) -> Result<Vec<Vec<u8>>, String> {
    // Rubbish in the arena: a run may not depend on what was there.
    let mut arena = vec![0xA5; engine.model().arena_len()];
    let mut session = engine
        .start(&mut arena)
        .map_err(|e| format!("start: {e:?}"))?;
    for (i, bytes) in inputs.iter().enumerate() {
        let input = session
            .input_mut(i)
            .ok_or_else(|| format!("no input {i}"))?;
        if input.len() != bytes.len() {
            return Err(format!(
                "input {i} has {} bytes, {} were prepared",
                input.len(),
                bytes.len()
            ));
        }
        input.copy_from_slice(bytes);
    }
    while let Some(op) = session.step().map_err(|e| format!("step: {e:?}"))? {
        let out = engine
            .model()
            .operator(op.into())
            .expect("an executed operator")
            .out
            .get();
        each(
            op,
            session
                .tensor(out)
                .ok_or_else(|| format!("op {op}: no bytes"))?,
        );
    }
    Ok((0..)
        .map_while(|i| session.output(i))
        .map(<[u8]>::to_vec)
        .collect())
}

/// Real values of the outputs in the layout of the file.
pub fn dequantize(model: &Model<'_>, graph: &Graph, outputs: &[Vec<u8>]) -> Vec<ArrayD<f32>> {
    let ports = graph.outputs.iter().zip(model.outputs());
    ports
        .zip(outputs)
        .map(|((port, io), bytes)| {
            let values: Vec<f32> = if io.row.dtype == elastiq::format::DTYPE_I32 {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|b| i32::from_le_bytes(*b) as f32)
                    .collect()
            } else {
                let scale = f32::from_bits(io.row.scale_bits.get());
                bytes
                    .iter()
                    .map(|b| scale * (f32::from(*b as i8) - f32::from(io.row.zero)))
                    .collect()
            };
            let shape = IxDyn(&graph.value(port.value).shape);
            let ir = ArrayD::from_shape_vec(shape, values)
                .expect("the artifact has the shapes of the graph");
            exec::from_ir_layout(port, &ir)
        })
        .collect()
}
