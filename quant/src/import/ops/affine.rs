//! BatchNormalization as a multiplication and an addition per channel.

use super::elementwise::reshaped;
use crate::import::Res;
use crate::import::call::Call;
use crate::ir::Op;
use ndarray::{ArrayD, IxDyn};

pub fn batch_norm(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let epsilon = c.attrs.float("epsilon", 1e-5)?;
    c.attrs.ignore(&["momentum"]);
    if c.attrs.flag("training_mode", false)? {
        return Err(
            "training_mode is on; export the model in inference mode (model.eval())".into(),
        );
    }
    if !c.attrs.flag("spatial", true)? {
        return Err("spatial 0 is not supported".into());
    }
    if shape.len() < 2 {
        return Err(format!("input of shape {shape:?} has no channel axis"));
    }
    let mut parts = Vec::new();
    for (i, what) in [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")] {
        let (array, _) = c.floats(i, what)?;
        if array.shape() != [shape[1]] {
            return Err(format!(
                "{what} of shape {:?} for {} channels",
                array.shape(),
                shape[1]
            ));
        }
        parts.push(array);
    }
    let each = |f: &dyn Fn(f64, f64, f64, f64) -> f64| -> Vec<f32> {
        let at = |p: usize, i: usize| f64::from(parts[p][[i]]);
        (0..shape[1])
            .map(|i| f(at(0, i), at(1, i), at(2, i), at(3, i)) as f32)
            .collect()
    };
    let root = |var: f64| (var + f64::from(epsilon)).sqrt();
    let factor = each(&|scale, _, _, var| scale / root(var));
    let shift = each(&|scale, bias, mean, var| bias - mean * scale / root(var));
    let mut wide = vec![1; shape.len()];
    wide[1] = shape[1];
    let array = |v: Vec<f32>| -> Res<ArrayD<f32>> {
        reshaped(
            ArrayD::from_shape_vec(IxDyn(&[shape[1]]), v).map_err(|e| e.to_string())?,
            &wide,
        )
    };
    let factor = c.add_const(1, array(factor)?, None)?;
    let shift = c.add_const(2, array(shift)?, None)?;
    let y = c.emit(Op::Mul, &[x, factor])?;
    let y = c.emit(Op::Add, &[y, shift])?;
    c.finish(y)
}
