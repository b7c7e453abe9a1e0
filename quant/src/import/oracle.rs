//! The original file, executed by tract: an independent float reference.

use super::consts::text;
use super::{Options, limits, ports};
use crate::Error;
use ndarray::ArrayD;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// A file that tract can run, inputs and outputs in the file's layout.
pub struct Oracle {
    path: PathBuf,
    plan: Arc<TypedRunnableModel>,
    kinds: Vec<DatumType>,
}

impl Oracle {
    /// Prepare a file for execution.
    ///
    /// # Errors
    /// See [`load`](super::load); also where tract does not know an operator.
    pub fn load(path: &Path) -> Result<Oracle, Error> {
        Oracle::load_with(path, &Options::default())
    }

    /// Prepare a file with [`Options`].
    ///
    /// # Errors
    /// See [`Oracle::load`].
    pub fn load_with(path: &Path, options: &Options) -> Result<Oracle, Error> {
        let fail = |text: String| Error::file(path, text);
        let proto = limits::read(path)?;
        let source = proto
            .graph
            .as_ref()
            .ok_or_else(|| fail("holds no graph".into()))?;
        let shapes = ports::inputs(source, options).map_err(fail)?;
        // Not decluttered: that rewrites quantized graphs into ones with other results.
        let prepare = || -> TractResult<(Arc<TypedRunnableModel>, Vec<DatumType>)> {
            let onnx = tract_onnx::onnx().with_ignore_value_info(true);
            let mut model = onnx.parse(&proto, None)?.model;
            let sources = model.input_outlets()?.to_vec();
            let mut order = Vec::new();
            let mut kinds = Vec::new();
            for (name, shape) in &shapes {
                let named = |o: &&OutletId| model.node(o.node).name == *name;
                let outlet = *sources
                    .iter()
                    .find(named)
                    .ok_or_else(|| TractError::msg(format!("input `{name}` is lost")))?;
                let kind = model
                    .outlet_fact(outlet)?
                    .datum_type
                    .concretize()
                    .unwrap_or(f32::datum_type());
                model.set_outlet_fact(outlet, InferenceFact::dt_shape(kind, shape))?;
                order.push(outlet);
                kinds.push(kind);
            }
            model.set_input_outlets(&order)?;
            Ok((model.into_typed()?.into_runnable()?, kinds))
        };
        let prepared = catch_unwind(AssertUnwindSafe(prepare))
            .map_err(|_| fail("the float reference cannot prepare this file".into()))?;
        let (plan, kinds) =
            prepared.map_err(|e| fail(format!("the float reference says: {}", text(e))))?;
        Ok(Oracle {
            path: path.into(),
            plan,
            kinds,
        })
    }

    /// Run once. Inputs and outputs in file order and layout; indices come as floats.
    ///
    /// # Errors
    /// Where shapes do not fit the file.
    pub fn run(&self, inputs: &[ArrayD<f32>]) -> Result<Vec<ArrayD<f32>>, Error> {
        let fail = |e: TractError| {
            Error::file(&self.path, format!("the float reference says: {}", text(e)))
        };
        if inputs.len() != self.kinds.len() {
            let text = format!(
                "{} inputs are given, the file has {}",
                inputs.len(),
                self.kinds.len()
            );
            return Err(Error::file(&self.path, text));
        }
        let values = inputs
            .iter()
            .zip(&self.kinds)
            .map(|(array, &kind)| {
                let tensor: Tensor = array.clone().into();
                Ok(tensor.cast_to_dt(kind)?.into_owned().into())
            })
            .collect::<TractResult<TVec<TValue>>>()
            .map_err(fail)?;
        let outputs = self.plan.run(values).map_err(fail)?;
        outputs
            .iter()
            .map(|value| {
                let cast = value.cast_to::<f32>()?;
                Ok(cast.to_plain_array_view::<f32>()?.to_owned())
            })
            .collect::<TractResult<_>>()
            .map_err(fail)
    }
}
