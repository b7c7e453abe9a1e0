//! Windows, and the way from the channel-first layout of ONNX to NHWC and back.

use crate::import::Res;
use crate::import::call::Call;
use crate::ir::{Op, ValueId, Window};

/// Channel-first `x` (rank 3 or 4) as NHWC.
pub fn to_nhwc(c: &mut Call, x: ValueId) -> Res<ValueId> {
    let shape = c.shape(x);
    match shape.len() {
        3 => {
            let t = c.transpose(x, vec![0, 2, 1])?;
            c.reshape(t, vec![shape[0], 1, shape[2], shape[1]])
        }
        4 => c.transpose(x, vec![0, 2, 3, 1]),
        5 => Err(format!(
            "3-D operators are not supported (input of shape {shape:?})"
        )),
        _ => Err(format!(
            "input of shape {shape:?} is not a sequence or an image"
        )),
    }
}

/// NHWC `y` back to the channel-first layout of the given rank.
pub fn from_nhwc(c: &mut Call, y: ValueId, rank: usize) -> Res<ValueId> {
    if rank == 4 {
        return c.transpose(y, vec![0, 3, 1, 2]);
    }
    let s = c.shape(y);
    let y = c.reshape(y, vec![s[0], s[2], s[3]])?;
    c.transpose(y, vec![0, 2, 1])
}

/// Rows and columns from a spatial attribute of 1 or 2 entries; 1-D is a row of height 1.
fn pair(list: Option<Vec<i64>>, dims: usize, name: &str) -> Res<[usize; 2]> {
    let list = list.unwrap_or_else(|| vec![1; dims]);
    let ints: Option<Vec<usize>> = list
        .iter()
        .map(|&v| usize::try_from(v).ok().filter(|&v| v > 0))
        .collect();
    match (ints.as_deref(), dims) {
        (Some(&[w]), 1) => Ok([1, w]),
        (Some(&[h, w]), 2) => Ok([h, w]),
        _ => Err(format!(
            "attribute `{name}` is {list:?} for {dims} spatial axes"
        )),
    }
}

/// A window with declared padding before the output size is known.
#[derive(Clone, Copy)]
pub struct Declared {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    same: Option<bool>,
    ceil: bool,
}

/// Kernel of the attribute `kernel_shape`, or `default` where it is missing.
pub fn kernel(c: &Call, dims: usize, default: Option<[usize; 2]>) -> Res<[usize; 2]> {
    let list = c.attrs.ints("kernel_shape")?;
    let own = list
        .is_some()
        .then(|| pair(list, dims, "kernel_shape"))
        .transpose()?;
    match (own, default) {
        (Some(own), Some(d)) if own != d => {
            Err(format!("kernel_shape {own:?} and weights {d:?} differ"))
        }
        (own, default) => own
            .or(default)
            .ok_or_else(|| "attribute `kernel_shape` is missing".into()),
    }
}

impl Declared {
    /// Read the attributes of a convolution or pool with `dims` spatial axes.
    pub fn read(c: &Call, dims: usize, kernel: [usize; 2]) -> Res<Declared> {
        let pads = c.attrs.ints("pads")?;
        let list = pads.clone().unwrap_or_else(|| vec![0; 2 * dims]);
        let ints: Option<Vec<usize>> = list.iter().map(|&v| usize::try_from(v).ok()).collect();
        let pads = match (ints.as_deref(), dims) {
            (Some(&[l, r]), 1) => [0, l, 0, r],
            (Some(&[t, l, b, r]), 2) => [t, l, b, r],
            _ => {
                return Err(format!(
                    "attribute `pads` is {list:?} for {dims} spatial axes"
                ));
            }
        };
        let same = match c.attrs.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => None,
            _ if pads != [0; 4] => {
                return Err("attributes `pads` and `auto_pad` are both given".into());
            }
            "VALID" => None,
            "SAME_UPPER" => Some(true),
            "SAME_LOWER" => Some(false),
            other => return Err(format!("auto_pad `{other}` is unknown")),
        };
        Ok(Declared {
            kernel,
            stride: pair(c.attrs.ints("strides")?, dims, "strides")?,
            dilation: pair(c.attrs.ints("dilations")?, dims, "dilations")?,
            pads,
            same,
            ceil: c.attrs.flag("ceil_mode", false)?,
        })
    }

    /// Padding before, declared padding after and implied padding after, along `axis` of extent `size`.
    fn along(&self, axis: usize, size: usize) -> Res<(usize, usize, usize)> {
        let (k, s, d) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        let span = (k - 1)
            .checked_mul(d)
            .and_then(|e| e.checked_add(1))
            .ok_or("window is too large")?;
        let reach = |out: usize| {
            ((out - 1) * s)
                .checked_add(span)
                .ok_or("window is too large".to_string())
        };
        if let Some(upper) = self.same {
            let out = size.div_ceil(s);
            let total = reach(out)?.saturating_sub(size);
            let small = total / 2;
            let before = if upper { small } else { total - small };
            return Ok((before, total - before, total - before));
        }
        let (before, after) = (self.pads[axis], self.pads[axis + 2]);
        let padded = size
            .checked_add(before)
            .and_then(|p| p.checked_add(after))
            .ok_or("pads are too large")?;
        let room = padded.checked_sub(span).ok_or_else(|| {
            format!("window of {span} is larger than the padded input of {padded}")
        })?;
        let mut out = if self.ceil {
            room.div_ceil(s)
        } else {
            room / s
        } + 1;
        if self.ceil && (out - 1) * s >= size + before {
            out -= 1;
        }
        Ok((before, after, reach(out)?.saturating_sub(size + before)))
    }

    /// The window over `h` x `w`, with implied padding at bottom and right, and the padding as declared.
    pub fn resolve(&self, h: usize, w: usize) -> Res<(Window, [usize; 4])> {
        let (top, declared_bottom, bottom) = self.along(0, h)?;
        let (left, declared_right, right) = self.along(1, w)?;
        let window = Window {
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pads: [top, left, bottom, right],
        };
        Ok((window, [top, left, declared_bottom, declared_right]))
    }
}

/// Pool the whole of the given axes of `x`: those axes become 1.
pub fn pool_axes(c: &mut Call, x: ValueId, reduced: &[usize], max: bool) -> Res<ValueId> {
    let shape = c.shape(x);
    let rank = shape.len();
    if reduced.is_empty() {
        return Ok(x);
    }
    let lead = usize::from(!reduced.contains(&0));
    let rest: Vec<usize> = (lead..rank).filter(|a| !reduced.contains(a)).collect();
    let perm: Vec<usize> = (0..lead)
        .chain(reduced.iter().copied())
        .chain(rest.iter().copied())
        .collect();
    let product = |axes: &[usize]| axes.iter().map(|&a| shape[a]).product::<usize>();
    let [h, w] = match reduced {
        [a] => [1, shape[*a]],
        [a, others @ ..] => [shape[*a], product(others)],
        [] => [1, 1],
    };
    let n = if lead == 1 { shape[0] } else { 1 };
    let t = c.transpose(x, perm.clone())?;
    let t = c.reshape(t, vec![n, h, w, product(&rest)])?;
    let window = Window {
        kernel: [h, w],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [0; 4],
    };
    let op = match max {
        true => Op::MaxPool(window),
        false => Op::AvgPool {
            window,
            count_pad: false,
        },
    };
    let y = c.emit(op, &[t])?;
    let moved = perm
        .iter()
        .map(|a| if reduced.contains(a) { 1 } else { shape[*a] });
    let moved: Vec<usize> = moved.collect();
    let y = c.reshape(y, moved)?;
    let mut back = vec![0; rank];
    for (i, &a) in perm.iter().enumerate() {
        back[a] = i;
    }
    c.transpose(y, back)
}
