//! MaxPool and AveragePool.

use super::spatial::{Declared, from_nhwc, kernel, to_nhwc};
use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{Op, ValueId};

fn open(c: &mut Call) -> Res<(ValueId, usize, Declared)> {
    let x = c.data(0)?;
    let rank = c.shape(x).len();
    let x = to_nhwc(c, x)?;
    let taps = kernel(c, rank - 2, None)?;
    Ok((x, rank, Declared::read(c, rank - 2, taps)?))
}

pub fn max(c: &mut Call) -> Res<()> {
    if c.attrs.int("storage_order", 0)? != 0 {
        return Err("storage_order 1 is not supported".into());
    }
    let (x, rank, declared) = open(c)?;
    let shape = c.shape(x);
    let (window, _) = declared.resolve(shape[1], shape[2])?;
    let y = c.emit(Op::MaxPool(window), &[x])?;
    let y = from_nhwc(c, y, rank)?;
    c.finish(y)
}

pub fn average(c: &mut Call) -> Res<()> {
    let count = c.attrs.flag("count_include_pad", false)?;
    let (mut x, rank, declared) = open(c)?;
    let shape = c.shape(x);
    let (mut window, pads) = declared.resolve(shape[1], shape[2])?;
    let mut count_pad = count && window.pads != [0; 4];
    // Cells of the last window beyond the declared padding (ceil mode) never count.
    if count_pad && (window.pads[2] > pads[2] || window.pads[3] > pads[3]) {
        let [top, left, bottom, right] = pads;
        let op = Op::Pad {
            before: vec![0, top, left, 0],
            after: vec![0, bottom, right, 0],
            value: 0.0,
        };
        x = c.emit(op, &[x])?;
        let beyond = |axis: usize| window.pads[axis].saturating_sub(pads[axis]);
        window.pads = [0, 0, beyond(2), beyond(3)];
        count_pad = false;
    }
    let y = c.emit(Op::AvgPool { window, count_pad }, &[x])?;
    let y = from_nhwc(c, y, rank)?;
    c.finish(y)
}
