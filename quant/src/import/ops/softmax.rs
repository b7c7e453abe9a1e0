//! Softmax.

use crate::import::Res;
use crate::import::call::{Call, axis};
use crate::ir::Op;

/// Before operator set 13, all axes from `axis` on form one.
pub fn softmax(c: &mut Call) -> Res<()> {
    let x = c.data(0)?;
    let shape = c.shape(x);
    let flat = c.opset() < 13;
    let given = c.attrs.int("axis", if flat { 1 } else { -1 })?;
    let axis = axis(given, shape.len())?;
    let y = match flat && shape[axis + 1..].iter().any(|&d| d != 1) {
        true => {
            let rows = shape[..axis].iter().product();
            let cols = shape[axis..].iter().product();
            let x = c.reshape(x, vec![rows, cols])?;
            let y = c.emit(Op::Softmax { axis: 1 }, &[x])?;
            c.reshape(y, shape)?
        }
        false => c.emit(Op::Softmax { axis }, &[x])?,
    };
    c.finish(y)
}
