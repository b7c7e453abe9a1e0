//! Real numbers to codes and back, from what the artifact itself says.

use crate::Error;
use crate::lower::quant::Quant;
use crate::pack::{Meta, MetaPort};
use crate::samples::permuted;
use elastiq::format::{DTYPE_I32, TensorRow};
use elastiq::{Model, Session};
use ndarray::{ArrayD, IxDyn};

/// Layouts of all ports of an artifact, read once.
#[derive(Clone, Debug)]
pub struct Ports {
    inputs: Vec<(MetaPort, TensorRow)>,
    outputs: Vec<(MetaPort, TensorRow)>,
}

impl Ports {
    /// Ports of `model`.
    ///
    /// # Errors
    /// If META is missing or does not belong to the ports.
    pub fn of(model: &Model) -> Result<Ports, Error> {
        let meta = Meta::of(model)?;
        let pair = |ports: Vec<MetaPort>, rows: Vec<TensorRow>| {
            let fits = |(p, r): (&MetaPort, &TensorRow)| {
                let mut axes = p.perm.clone();
                axes.sort_unstable();
                axes.into_iter().eq(0..p.file_shape.len())
                    && p.file_shape.iter().product::<usize>() == len(r)
            };
            if ports.len() != rows.len() || !ports.iter().zip(&rows).all(fits) {
                return Err(Error::input(
                    "META section of the artifact does not fit its inputs and outputs",
                ));
            }
            Ok(ports.into_iter().zip(rows).collect())
        };
        Ok(Ports {
            inputs: pair(meta.inputs, model.inputs().map(|io| *io.row).collect())?,
            outputs: pair(meta.outputs, model.outputs().map(|io| *io.row).collect())?,
        })
    }

    /// Codes of input `i` for `x` in the layout of the model file (a batch axis of one may be left out).
    ///
    /// # Errors
    /// Names the input, the shape it needs and the shape given.
    pub fn quantize(&self, i: usize, x: &ArrayD<f32>) -> Result<Vec<u8>, Error> {
        let (port, row) = self
            .inputs
            .get(i)
            .ok_or_else(|| Error::input(format!("the artifact has no input {i}")))?;
        let batchless = port
            .file_shape
            .split_first()
            .filter(|(n, _)| **n == 1)
            .map(|(_, rest)| rest);
        if x.shape() != port.file_shape && Some(x.shape()) != batchless {
            let text = format!(
                "has shape {:?}, the network needs {:?}",
                x.shape(),
                port.file_shape
            );
            return Err(Error::at(format!("data for input '{}'", port.name), text));
        }
        let flat: Vec<f32> = x.iter().copied().collect();
        let shaped = ArrayD::from_shape_vec(IxDyn(&port.file_shape), flat)
            .map_err(|e| Error::at(format!("data for input '{}'", port.name), e))?;
        let q = quant(row);
        Ok(permuted(&shaped, &port.perm)
            .into_iter()
            .map(|v| q.code(f64::from(v)) as u8)
            .collect())
    }

    /// Write all inputs of a run from arrays in the layout of the model file, in IO order; gives their codes, one
    /// input after the other.
    ///
    /// # Errors
    /// As [`Ports::quantize`], and if `session` belongs to another artifact.
    pub fn feed<const OPS: u32>(
        &self,
        session: &mut Session<'_, '_, OPS>,
        inputs: &[ArrayD<f32>],
    ) -> Result<Vec<u8>, Error> {
        let mut fed = Vec::new();
        for (i, x) in inputs.iter().enumerate() {
            let codes = self.quantize(i, x)?;
            let slot = session
                .input_mut(i)
                .filter(|slot| slot.len() == codes.len());
            slot.ok_or_else(|| Error::input(format!("input {i} belongs to another artifact")))?
                .copy_from_slice(&codes);
            fed.extend(codes);
        }
        Ok(fed)
    }

    /// Real values of output `i` in the layout of the model file; indices stay whole numbers.
    ///
    /// # Errors
    /// If there is no such output or `bytes` has another length.
    pub fn dequantize(&self, i: usize, bytes: &[u8]) -> Result<ArrayD<f32>, Error> {
        let (port, row) = self
            .outputs
            .get(i)
            .ok_or_else(|| Error::input(format!("the artifact has no output {i}")))?;
        let values = reals(row, bytes);
        let moved: Vec<usize> = port.perm.iter().map(|&a| port.file_shape[a]).collect();
        let mut back = vec![0; port.perm.len()];
        port.perm
            .iter()
            .enumerate()
            .for_each(|(to, &from)| back[from] = to);
        let shaped = ArrayD::from_shape_vec(IxDyn(&moved), values)
            .map_err(|e| Error::at(format!("output '{}'", port.name), e))?;
        Ok(shaped
            .permuted_axes(IxDyn(&back))
            .as_standard_layout()
            .into_owned())
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }
}

fn len(row: &TensorRow) -> usize {
    row.dims.iter().map(|d| d.get() as usize).product()
}

/// Scale and zero point of a tensor row.
pub fn quant(row: &TensorRow) -> Quant {
    Quant {
        scale: f32::from_bits(row.scale_bits.get()),
        zero: row.zero,
    }
}

/// Real values behind the bytes of a tensor, row-major.
pub fn reals(row: &TensorRow, bytes: &[u8]) -> Vec<f32> {
    if row.dtype == DTYPE_I32 {
        return bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| i32::from_le_bytes(*b) as f32)
            .collect();
    }
    let q = quant(row);
    bytes.iter().map(|&b| q.real(b as i8) as f32).collect()
}

/// [`Ports::quantize`] for a single call.
///
/// # Errors
/// As [`Ports::of`] and [`Ports::quantize`].
pub fn quantize_input(model: &Model, i: usize, x: &ArrayD<f32>) -> Result<Vec<u8>, Error> {
    Ports::of(model)?.quantize(i, x)
}

/// [`Ports::dequantize`] for a single call.
///
/// # Errors
/// As [`Ports::of`] and [`Ports::dequantize`].
pub fn dequantize_output(model: &Model, i: usize, bytes: &[u8]) -> Result<ArrayD<f32>, Error> {
    Ports::of(model)?.dequantize(i, bytes)
}
