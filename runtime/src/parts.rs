//! Parts of kernels that firmware for one artifact can leave out, found from its rows when the firmware is compiled.

use crate::format::{
    CODING_CODEBOOK, CODING_NESTED, FLAG_ZEROS, Header, ORDER_PAIRS, OpKind, OpRow, PAIRS_MOST,
    SectionKind, SectionRow, TensorRow,
};
use crate::{Backend, OpSet, PLANE_CHANNELS};

/// The backend of the program, if the parts of its kernels are known.
const BACKEND: Option<Backend> = if cfg!(elastiq_backend = "dsp") {
    Some(Backend::Dsp)
} else {
    None
};

/// The [`OpSet::PARTS`] that this program needs for `bytes`; all of them where that cannot be told.
pub(crate) const fn of_artifact(bytes: &[u8]) -> u32 {
    match BACKEND {
        Some(backend) => on(bytes, backend),
        None => OpSet::PARTS,
    }
}

/// The same on `backend`, whose kernels divide into [`OpSet::PARTS`].
const fn on(bytes: &[u8], backend: Backend) -> u32 {
    let (Some(tensors), Some(ops)) = (
        section(bytes, SectionKind::Tensors),
        section(bytes, SectionKind::Ops),
    ) else {
        return OpSet::PARTS;
    };
    let mut parts = 0;
    let mut at = ops.0;
    while at < ops.1 {
        let Some(row) = piece::<{ size_of::<OpRow>() }>(bytes, at) else {
            return OpSet::PARTS;
        };
        let row: OpRow = zerocopy::transmute!(row);
        let (x, y) = (
            tensor(bytes, tensors, row.in0.get()),
            tensor(bytes, tensors, row.out.get()),
        );
        let (Some(x), Some(y)) = (x, y) else {
            return OpSet::PARTS;
        };
        parts |= of_row(&row, dims(&x), dims(&y), backend);
        at += size_of::<OpRow>();
    }
    parts
}

/// `N` bytes from `at` on.
const fn piece<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    match bytes.split_at_checked(at) {
        Some((_, rest)) => match rest.first_chunk() {
            Some(piece) => Some(*piece),
            None => None,
        },
        None => None,
    }
}

/// Start and end of a section.
const fn section(bytes: &[u8], kind: SectionKind) -> Option<(usize, usize)> {
    let mut at = size_of::<Header>();
    let Some([.., sections]) = piece::<8>(bytes, 0) else {
        return None;
    };
    let mut left = sections;
    while left > 0 {
        let Some(row) = piece::<{ size_of::<SectionRow>() }>(bytes, at) else {
            return None;
        };
        let row: SectionRow = zerocopy::transmute!(row);
        if row.kind.get() == kind as u16 {
            let start = row.off.get() as usize;
            return Some((start, start.saturating_add(row.len.get() as usize)));
        }
        at += size_of::<SectionRow>();
        left -= 1;
    }
    None
}

const fn tensor(bytes: &[u8], tensors: (usize, usize), i: u16) -> Option<TensorRow> {
    let at = tensors
        .0
        .saturating_add(i as usize * size_of::<TensorRow>());
    match piece::<{ size_of::<TensorRow>() }>(bytes, at) {
        Some(row) if at < tensors.1 => Some(zerocopy::transmute!(row)),
        _ => None,
    }
}

const fn dims(row: &TensorRow) -> [usize; 4] {
    let [n, h, w, c] = row.dims;
    [
        n.get() as usize,
        h.get() as usize,
        w.get() as usize,
        c.get() as usize,
    ]
}

/// What one operator from shape `x` to shape `y` needs.
const fn of_row(row: &OpRow, x: [usize; 4], y: [usize; 4], backend: Backend) -> u32 {
    let layout = backend.layout();
    let [n, ih, iw, c] = x;
    let [_, oh, ow, m] = y;
    let [kh, kw, sh, sw, dh, dw, pt, pl, groups, ..] = row.p;
    let kernel = [kh.get() as usize, kw.get() as usize];
    let stride = [sh.get() as usize, sw.get() as usize];
    let whole = dh.get() == 1 && dw.get() == 1;
    let scratch = row.scratch.len.get() as usize & !3;
    let aligned = row.scratch.off.get().is_multiple_of(4);
    let codebook = row.coding == CODING_CODEBOOK;
    let nested = row.coding == CODING_NESTED;
    let zeros = row.w_zero.get() != 0 || row.flags & FLAG_ZEROS != 0;
    let coded = row.bits != 8 || codebook || zeros || row.order == ORDER_PAIRS;
    let clamp = match row.lo == i8::MIN && row.hi == i8::MAX {
        true => 0,
        false => OpSet::CLAMP,
    };
    match OpKind::from_u8(row.kind) {
        Some(OpKind::Conv) => {
            let cg = match c.checked_div(groups.get() as usize) {
                Some(cg) => cg,
                None => return OpSet::PARTS,
            };
            let k = kernel[0].saturating_mul(kernel[1]).saturating_mul(cg);
            if !aligned || scratch < layout.matrix_len(k, 1) {
                return OpSet::PORTABLE_CONV;
            }
            let point = kernel[0] == 1 && kernel[1] == 1 && stride[0] == 1 && stride[1] == 1;
            let inside = pt.get() == 0 && pl.get() == 0 && ih == oh && iw == ow;
            let windows = match point && inside {
                true => 0,
                false if cg == c && whole => OpSet::WINDOWS,
                false => OpSet::WINDOWS | OpSet::BROKEN_WINDOWS,
            };
            let coded = if coded { OpSet::CODED_CONV } else { 0 };
            clamp | windows | coded | ragged(k, m / (c / cg))
        }
        Some(OpKind::Depthwise) => {
            let fits = match layout.planes(kernel, stride, [oh, ow]) {
                Some(planes) => aligned && scratch >= planes.least(),
                None => false,
            };
            if m != c || !whole || !fits {
                return OpSet::PORTABLE_DEPTHWISE;
            }
            let along = if oh > ow { stride[0] } else { stride[1] };
            let narrow = if c < PLANE_CHANNELS {
                OpSet::PLANES_ANY
            } else {
                0
            };
            let three = kernel[0] == 3 && kernel[1] == 3 && row.shift == 0;
            let planes = match along {
                1 if three => OpSet::PLANES_1,
                2 if three => OpSet::PLANES_2,
                _ => OpSet::PLANES_ANY,
            };
            let coded = if coded { OpSet::CODED_DEPTHWISE } else { 0 };
            clamp | planes | narrow | coded
        }
        Some(OpKind::Dense) => {
            let positions = n.saturating_mul(ih).saturating_mul(iw);
            let linear = row.bits == 8 && !codebook || nested;
            let fits = aligned && scratch >= layout.dense_len(c);
            let blocks = aligned && scratch >= layout.matrix_len(c, 1);
            let pairs = row.order == ORDER_PAIRS;
            let direct = match pairs {
                true => linear && c.is_multiple_of(2) && c <= PAIRS_MOST,
                false => linear && !nested && positions < 4,
            };
            let part = match direct {
                true if fits && pairs => OpSet::DENSE_PAIRS,
                true if fits => OpSet::DENSE_ROWS,
                false if blocks && coded => OpSet::DENSE_BLOCKS | OpSet::CODED_CONV,
                false if blocks => OpSet::DENSE_BLOCKS,
                _ => OpSet::PORTABLE_DENSE,
            };
            clamp | part | ragged(c, m)
        }
        _ => 0,
    }
}

/// [`OpSet::RAGGED`] if `m` rows of `k` weights are that.
const fn ragged(k: usize, m: usize) -> u32 {
    match k.is_multiple_of(4) && m.is_multiple_of(2) {
        true => 0,
        false => OpSet::RAGGED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn row(kind: OpKind, p: [u16; 9], scratch: usize) -> OpRow {
        let mut row = OpRow::new_zeroed();
        row.kind = kind as u8;
        (row.bits, row.lo, row.hi) = (8, i8::MIN, i8::MAX);
        row.scratch.len.set(scratch as u32);
        row.p.iter_mut().zip(p).for_each(|(to, p)| to.set(p));
        row
    }

    fn dsp(row: &OpRow, x: [usize; 4], y: [usize; 4]) -> u32 {
        of_row(row, x, y, Backend::Dsp)
    }

    #[test]
    fn convolutions() {
        let layout = Backend::Dsp.layout();
        let (x, y) = ([1, 8, 8, 8], [1, 8, 8, 4]);
        let point = [1, 1, 1, 1, 1, 1, 0, 0, 1];
        let least = layout.matrix_len(8, 1);
        let mut conv = row(OpKind::Conv, point, least);
        assert_eq!(dsp(&conv, x, y), 0);
        conv.hi = 0;
        conv.bits = 4;
        assert_eq!(dsp(&conv, x, y), OpSet::CLAMP | OpSet::CODED_CONV);
        conv.scratch.off.set(2);
        assert_eq!(dsp(&conv, x, y), OpSet::PORTABLE_CONV);
        conv = row(OpKind::Conv, point, least - 1);
        assert_eq!(dsp(&conv, x, y), OpSet::PORTABLE_CONV);
        let three = [3, 3, 1, 1, 1, 1, 1, 1, 1];
        conv = row(OpKind::Conv, three, layout.matrix_len(72, 1));
        assert_eq!(dsp(&conv, x, y), OpSet::WINDOWS);
        assert_eq!(dsp(&conv, x, [1, 8, 8, 3]), OpSet::WINDOWS | OpSet::RAGGED);
        conv.p[8].set(2);
        assert_eq!(dsp(&conv, x, y), OpSet::WINDOWS | OpSet::BROKEN_WINDOWS);
        conv.p[8].set(4);
        let parts = OpSet::WINDOWS | OpSet::BROKEN_WINDOWS | OpSet::RAGGED;
        assert_eq!(dsp(&conv, x, y), parts);
    }

    #[test]
    fn depthwise_convolutions() {
        let planes = |stride| {
            let planes = Backend::Dsp.layout().planes([3, 3], stride, [5, 8]);
            planes.map_or(0, |planes| planes.least())
        };
        let (x, y) = ([1, 5, 8, 6], [1, 5, 8, 6]);
        let mut depthwise = row(
            OpKind::Depthwise,
            [3, 3, 1, 1, 1, 1, 1, 1, 0],
            planes([1, 1]),
        );
        assert_eq!(dsp(&depthwise, x, y), OpSet::PLANES_1);
        depthwise.shift = 1;
        assert_eq!(dsp(&depthwise, x, y), OpSet::PLANES_ANY);
        assert_eq!(dsp(&depthwise, x, [1, 5, 8, 12]), OpSet::PORTABLE_DEPTHWISE);
        depthwise = row(
            OpKind::Depthwise,
            [3, 3, 1, 2, 1, 1, 1, 1, 0],
            planes([1, 2]),
        );
        assert_eq!(dsp(&depthwise, x, y), OpSet::PLANES_2);
        depthwise.w_zero.set(1);
        assert_eq!(
            dsp(&depthwise, x, y),
            OpSet::PLANES_2 | OpSet::CODED_DEPTHWISE
        );
        depthwise.scratch.len.set(planes([1, 2]) as u32 - 1);
        assert_eq!(dsp(&depthwise, x, y), OpSet::PORTABLE_DEPTHWISE);
    }

    #[test]
    fn dense_layers() {
        let layout = Backend::Dsp.layout();
        let (x, y) = ([1, 1, 1, 12], [1, 1, 1, 4]);
        let mut dense = row(OpKind::Dense, [0; 9], layout.dense_len(12));
        assert_eq!(dsp(&dense, x, y), OpSet::DENSE_ROWS);
        dense.order = ORDER_PAIRS;
        assert_eq!(dsp(&dense, x, y), OpSet::DENSE_PAIRS);
        (dense.coding, dense.bits) = (CODING_NESTED, 3);
        assert_eq!(dsp(&dense, x, y), OpSet::DENSE_PAIRS);
        dense = row(OpKind::Dense, [0; 9], layout.dense_len(12) - 4);
        assert_eq!(dsp(&dense, x, y), OpSet::PORTABLE_DENSE);
        dense = row(OpKind::Dense, [0; 9], layout.matrix_len(12, 1));
        assert_eq!(dsp(&dense, [4, 1, 1, 12], y), OpSet::DENSE_BLOCKS);
        dense.bits = 3;
        assert_eq!(dsp(&dense, x, y), OpSet::DENSE_BLOCKS | OpSet::CODED_CONV);
        dense.coding = CODING_NESTED;
        assert_eq!(dsp(&dense, x, y), OpSet::DENSE_BLOCKS | OpSet::CODED_CONV);
    }

    #[test]
    fn what_cannot_be_read_needs_everything() {
        let bytes = include_bytes!("../tests/data/classifier.eqm");
        assert_ne!(on(bytes, Backend::Dsp), OpSet::PARTS);
        let lacks = |len: usize| on(&bytes[..len], Backend::Dsp) == OpSet::PARTS;
        assert!((0..size_of::<Header>() + 12).all(lacks));
        assert_eq!(of_artifact(bytes), OpSet::PARTS);
    }
}
