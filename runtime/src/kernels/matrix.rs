//! Convolution as a product of weight rows and columns, in the blocks that a backend computes at once.
//!
//! A column holds the `k` input codes under the window at one position. Where scratch does not hold all decoded
//! rows, they are taken a block at a time, and every block meets all positions.

use super::Requant;
use super::conv::{Conv, Patch, Runs};
use super::pieces::{pieces, pieces_mut};
use super::weights::Weights;
use super::window::{Taps, Window};
use crate::Backend;
use crate::OpSet;
use crate::format::QuantRow;
use core::ops::Range;
use zerocopy::IntoBytes;

/// What a backend does.
pub(crate) trait Tile {
    /// Whose [`crate::Layout`] scratch has.
    const BACKEND: Backend;

    /// Decode rows `first .. first + n` of `weights` to `to`, which holds [`crate::Layout::row_len`] bytes for each,
    /// `n` rounded up to whole tiles. Rows behind the last and weights behind `k` are 0.
    fn load<const OPS: u32>(weights: &Weights, first: usize, n: usize, to: &mut [u32]);

    /// Widen `x` to codes `at ..` of the columns `to`. Called where [`crate::Layout::column`] is not 0 but for [`Tile::INNER`]; `at` is a
    /// multiple of 4, and so is `x.len` unless it ends the column.
    #[inline(always)]
    fn widen<const OPS: u32>(_x: &Columns, _at: usize, _to: &mut [u32]) {}

    /// Copy column `j` of `x` to codes `j * stride ..` of `to`.
    #[inline(always)]
    fn gather(x: &Columns, to: &mut [i8], stride: usize) {
        for j in 0..x.n {
            let from = x.bytes.get(j.wrapping_mul(x.stride)..).unwrap_or_default();
            let to = to.get_mut(j.wrapping_mul(stride)..).unwrap_or_default();
            to.iter_mut()
                .zip(from)
                .take(x.len)
                .for_each(|(to, x)| *to = *x);
        }
    }

    /// [`Tile::widen`] for `runs` of `n` columns that are `step` codes apart in `image`.
    #[inline(always)]
    fn widen_runs<const OPS: u32>(
        image: &[i8],
        step: usize,
        n: usize,
        runs: &Runs,
        to: &mut [u32],
    ) {
        runs.columns(image, step, n, |at, x| Self::widen::<OPS>(&x, at, to));
    }

    /// [`Tile::gather`] for `runs` of `n` columns that are `step` codes apart in `image`.
    #[inline(always)]
    fn gather_runs(image: &[i8], step: usize, n: usize, runs: &Runs, to: &mut [i8], stride: usize) {
        runs.columns(image, step, n, |at, x| {
            Self::gather(&x, to.get_mut(at..).unwrap_or_default(), stride);
        });
    }

    /// Columns multiplied together where they are in place, in the input.
    const IN_PLACE: usize = Self::BACKEND.layout().cols;

    /// The backend has [`Tile::inner`], which takes the place of [`Tile::widen`] and [`Tile::multiply`].
    const INNER: bool = false;

    /// Outputs of `n` positions whose columns are `runs` in `image`, of the first of them, and each `step` codes behind the
    /// one before. The runs begin a column and have no gaps in it; together they are `k` codes, or these and padding.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "a product with its operands")]
    fn inner<const OPS: u32>(
        _block: &Block,
        _image: &[i8],
        _step: usize,
        _n: usize,
        _runs: &Runs,
        _staging: &mut [u32],
        _wide: &mut [u32],
        _out: &mut [i8],
        _stride: usize,
    ) {
    }

    /// `out[j * stride + r] = requant(bias[r] + Σ_i w[r, i] · x[j, i])` for all rows of the block and all columns.
    #[inline(always)]
    fn multiply<const OPS: u32>(
        _block: &Block,
        _x: &Columns,
        _wide: &[u32],
        _out: &mut [i8],
        _stride: usize,
    ) {
    }
}

/// `n` columns of `len` codes, `stride` codes apart. All of them are inside of `bytes`.
pub(crate) struct Columns<'x> {
    pub bytes: &'x [i8],
    pub stride: usize,
    pub n: usize,
    pub len: usize,
}

impl<'x> Columns<'x> {
    #[inline(always)]
    pub fn new(bytes: &'x [i8], stride: usize, n: usize, len: usize) -> Option<Self> {
        let reach = n.saturating_sub(1).wrapping_mul(stride).wrapping_add(len);
        Some(Columns {
            bytes: bytes.get(..reach)?,
            stride,
            n,
            len,
        })
    }
}

impl Runs {
    /// One of `len` codes, at the start of image and column.
    #[inline(always)]
    fn one(len: usize) -> Runs {
        Runs {
            at: 0,
            start: 0,
            len,
            count: 1,
            from_step: 0,
            to_step: len,
        }
    }

    /// Call `f` for every run with its place in the column and the run in `n` columns.
    #[inline(always)]
    fn columns(&self, image: &[i8], step: usize, n: usize, mut f: impl FnMut(usize, Columns)) {
        for i in 0..self.count {
            let start = self.start.wrapping_add(i.wrapping_mul(self.from_step));
            let run = image.get(start..).unwrap_or_default();
            if let Some(run) = Columns::new(run, step, n, self.len) {
                f(self.at.wrapping_add(i.wrapping_mul(self.to_step)), run);
            }
        }
    }
}

/// Rows of weights, ready to be multiplied: one per row of `quant`.
pub(crate) struct Block<'b> {
    /// Plain weights from the artifact, `k` bytes a row, for backends that take them so.
    pub plain: Option<&'b [i8]>,
    /// Decoded weights, where `plain` is `None`.
    pub decoded: &'b [u32],
    /// Every weight fits `i8`.
    pub narrow: bool,
    pub k: usize,
    pub quant: &'b [QuantRow],
    pub rq: Requant,
}

/// Scratch, cut up.
struct Parts<'s> {
    staging: &'s mut [u32],
    wide: &'s mut [u32],
    block: &'s mut [u32],
    /// Rows in a block.
    rows: usize,
}

impl<'s> Parts<'s> {
    /// `None` if not even one tile of rows fits.
    fn new<T: Tile>(
        scratch: &'s mut [u32],
        k: usize,
        outputs: usize,
        plain: bool,
        needs_staging: bool,
    ) -> Option<Self> {
        let layout = const { T::BACKEND.layout() };
        let staging = match needs_staging || layout.column > 0 {
            true => layout.staging_len(k) / 4,
            false => 0,
        };
        let (staging, rest) = scratch.split_at_mut_checked(staging)?;
        let (wide, block) = rest.split_at_mut_checked(layout.columns_len(k) / 4)?;
        let rows = match plain {
            true => outputs,
            false => {
                // Blocks of nearly equal size, all as large as fits.
                let tiles = (block.len() * 4).checked_div(layout.row_len(k))? / layout.rows;
                let all = outputs.div_ceil(layout.rows);
                let blocks = all.checked_add(tiles)?.checked_sub(1)?.checked_div(tiles)?;
                all.checked_add(blocks)?
                    .checked_sub(1)?
                    .checked_div(blocks)?
                    * layout.rows
            }
        };
        Some(Parts {
            staging,
            wide,
            block,
            rows,
        })
    }
}

/// Run `conv` on a backend; `false` if scratch is too small for it.
#[inline(always)]
pub(crate) fn conv<T: Tile, const OPS: u32>(
    conv: &Conv,
    x: &[i8],
    y: &mut [i8],
    scratch: &mut [u32],
) -> bool {
    let layout = const { T::BACKEND.layout() };
    let plain = conv.weights.plain().filter(|_| layout.direct);
    let point = conv.window.is_point();
    let Some(parts) = Parts::new::<T>(scratch, conv.k, conv.mg, plain.is_some(), !point) else {
        return false;
    };
    let outputs = conv.quant.len();
    let mut row = 0;
    while row < outputs {
        // The group that the row is in ends before row `end`.
        let group = row.checked_div(conv.mg).unwrap_or(0);
        let end = group.wrapping_add(1).wrapping_mul(conv.mg).min(outputs);
        let n = parts.rows.min(end.saturating_sub(row)).max(1);
        if plain.is_none() {
            T::load::<OPS>(&conv.weights, row, n, parts.block);
        }
        let first = row.wrapping_mul(conv.k);
        let block = Block {
            plain: plain.map(|w| w.get(first..).unwrap_or_default()),
            decoded: parts.block,
            narrow: conv.weights.fits_i8::<OPS>(),
            k: conv.k,
            quant: conv.quant.get(row..row.wrapping_add(n)).unwrap_or_default(),
            rq: conv.rq,
        };
        let place = Place {
            row,
            channel: group.wrapping_mul(conv.cg),
        };
        match point || OPS & OpSet::WINDOWS == 0 {
            true => points::<T, OPS>(conv, &block, &place, x, y, parts.staging, parts.wide),
            false => windows::<T, OPS>(conv, &block, &place, x, y, parts.staging, parts.wide),
        }
        row = row.wrapping_add(n);
    }
    true
}

/// First output row of a block and first input channel of its group.
struct Place {
    row: usize,
    channel: usize,
}

/// Windows of one input position: the columns are where the input is.
#[inline(always)]
fn points<T: Tile, const OPS: u32>(
    conv: &Conv,
    block: &Block,
    place: &Place,
    x: &[i8],
    y: &mut [i8],
    staging: &mut [u32],
    wide: &mut [u32],
) {
    let layout = const { T::BACKEND.layout() };
    let (c, m) = (conv.window.c, conv.quant.len());
    let (x_step, y_step) = (T::IN_PLACE.wrapping_mul(c), T::IN_PLACE.wrapping_mul(m));
    let mut x = x.get(place.channel..).unwrap_or_default();
    let mut left = y.len().checked_div(m).unwrap_or(0);
    let mut y = y.get_mut(place.row..).unwrap_or_default();
    if T::INNER {
        let runs = Runs::one(conv.k);
        return T::inner::<OPS>(block, x, c, left, &runs, staging, wide, y, m);
    }
    while left > 0 {
        let n = T::IN_PLACE.min(left);
        left = left.wrapping_sub(n);
        let Some(columns) = Columns::new(x, c, n, conv.k) else {
            return;
        };
        if layout.column > 0 {
            T::widen::<OPS>(&columns, 0, wide);
        }
        T::multiply::<OPS>(block, &columns, wide, y, m);
        x = x.get(x_step..).unwrap_or_default();
        y = y.get_mut(y_step..).unwrap_or_default();
    }
}

/// Windows of any size: columns are gathered.
#[inline(always)]
fn windows<T: Tile, const OPS: u32>(
    conv: &Conv,
    block: &Block,
    place: &Place,
    x: &[i8],
    y: &mut [i8],
    staging: &mut [u32],
    wide: &mut [u32],
) {
    let layout = const { T::BACKEND.layout() };
    let (window, m) = (&conv.window, conv.quant.len());
    let (v, h) = (window.v, window.h);
    let positions = h.output.wrapping_mul(v.output);
    let images = pieces(x, v.input * h.input * window.c);
    for (image, mut y) in images.zip(pieces_mut(y, positions.wrapping_mul(m))) {
        let mut gather = Gather::new::<OPS>(conv, image, place.channel);
        let mut left = positions;
        while left > 0 {
            if T::INNER
                && let Some((n, runs)) = gather.inner()
            {
                let (n, step) = (n.min(left), gather.step);
                let out = y.get_mut(place.row..).unwrap_or_default();
                T::inner::<OPS>(block, image, step, n, &runs, staging, wide, out, m);
                gather.advance(n);
                left = left.wrapping_sub(n);
                y = y.get_mut(n.wrapping_mul(m)..).unwrap_or_default();
                continue;
            }
            let n = layout.cols.min(left);
            left = left.wrapping_sub(n);
            let Some(columns) = gather.columns::<T, OPS>(n, staging, wide) else {
                return;
            };
            let out = y.get_mut(place.row..).unwrap_or_default();
            if T::INNER {
                let Columns { bytes, stride, .. } = columns;
                let runs = Runs::one(stride);
                T::inner::<OPS>(block, bytes, stride, n, &runs, &mut [], wide, out, m);
            } else {
                T::multiply::<OPS>(block, &columns, wide, out, m);
            }
            y = y.get_mut(n.wrapping_mul(m)..).unwrap_or_default();
        }
    }
}

/// Positions of an output image, one after the other.
struct Gather<'g> {
    conv: &'g Conv<'g>,
    image: &'g [i8],
    channel: usize,
    /// The next position.
    oy: usize,
    ox: usize,
    /// The taps of line `oy`.
    rows: Taps,
    /// Positions of a line whose windows do not reach over its ends.
    inner: Range<usize>,
    /// Of such a window where `rows` are complete too: runs of its first block. Those of the others, `blocks` in all,
    /// are `block` further in the image.
    runs: Runs,
    blocks: usize,
    block: usize,
    /// Codes from one position to the next.
    step: usize,
}

impl<'g> Gather<'g> {
    #[inline(always)]
    fn new<const OPS: u32>(conv: &'g Conv, image: &'g [i8], channel: usize) -> Self {
        let Window { v, h, c } = conv.window;
        let whole_rows = OPS & OpSet::BROKEN_WINDOWS == 0 || conv.cg == c && h.dilation == 1;
        Gather {
            conv,
            image,
            channel,
            oy: 0,
            ox: 0,
            rows: v.taps(0),
            inner: h.inner(),
            runs: Runs {
                at: 0,
                start: 0,
                len: if whole_rows {
                    conv.cg.wrapping_mul(h.kernel)
                } else {
                    conv.cg
                },
                count: v.kernel,
                from_step: v.dilation.wrapping_mul(h.input).wrapping_mul(c),
                to_step: h.kernel.wrapping_mul(conv.cg),
            },
            blocks: if whole_rows { 1 } else { h.kernel },
            block: h.dilation.wrapping_mul(c),
            step: h.stride().wrapping_mul(c),
        }
    }

    /// Where the window at the next position begins in the image; it is inside.
    #[inline(always)]
    fn start(&self) -> usize {
        let Window { h, c, .. } = self.conv.window;
        let cols = self.ox.wrapping_mul(h.stride()).wrapping_sub(h.pad());
        let line = self.rows.from.wrapping_mul(h.input);
        let cell = line.wrapping_add(cols).wrapping_mul(c);
        cell.wrapping_add(self.channel)
    }

    /// How many windows from the next position on are inside and have no gaps, and the runs of the first.
    #[inline(always)]
    fn inner(&self) -> Option<(usize, Runs)> {
        let whole = self.rows.range.len() == self.conv.window.v.kernel && self.blocks == 1;
        if !whole || !self.inner.contains(&self.ox) {
            return None;
        }
        let n = self.inner.end.wrapping_sub(self.ox);
        let start = self.start();
        Some((n, Runs { start, ..self.runs }))
    }

    /// The columns at the next `n` positions: gathered in `staging`, and widened where the backend wants that.
    #[inline(always)]
    fn columns<'s, T: Tile, const OPS: u32>(
        &mut self,
        n: usize,
        staging: &'s mut [u32],
        wide: &mut [u32],
    ) -> Option<Columns<'s>> {
        let layout = const { T::BACKEND.layout() };
        let conv = self.conv;
        let stride = layout.padded(conv.k);
        let bytes = <[i8] as zerocopy::FromBytes>::mut_from_bytes(staging.as_mut_bytes()).ok()?;
        let gaps = OPS & OpSet::BROKEN_WINDOWS != 0 && self.blocks > 1;
        let inside = (!T::INNER || gaps)
            && self.inner.start <= self.ox
            && self.ox.wrapping_add(n) <= self.inner.end
            && self.rows.range.len() == conv.window.v.kernel;
        let at_once = inside && !T::INNER && layout.column > 0 && self.runs.len.is_multiple_of(4);
        if inside {
            let start = self.start();
            for j in 0..self.blocks {
                let runs = Runs {
                    at: j.wrapping_mul(conv.cg),
                    start: start.wrapping_add(j.wrapping_mul(self.block)),
                    ..self.runs
                };
                match at_once {
                    true => T::widen_runs::<OPS>(self.image, self.step, n, &runs, wide),
                    false => T::gather_runs(self.image, self.step, n, &runs, bytes, stride),
                }
            }
            self.advance(n);
        } else {
            for column in pieces_mut(bytes, stride).take(n) {
                let cols = conv.window.h.taps(self.ox);
                if !conv.window.is_full(&self.rows, &cols) {
                    column.fill(conv.z_x as i8);
                }
                self.patch(&cols)
                    .blocks::<OPS>(|runs| T::gather_runs(self.image, 0, 1, runs, column, 0));
                self.advance(1);
            }
        }
        if T::INNER {
            return Columns::new(bytes, stride, n, stride);
        }
        if layout.column > 0 && !at_once {
            // What is behind a column meets weights that are 0.
            T::widen::<OPS>(&Columns::new(bytes, stride, n, stride)?, 0, wide);
        }
        Columns::new(bytes, stride, n, conv.k)
    }

    /// Go on by `n` positions, at most to the start of the next line.
    #[inline(always)]
    fn advance(&mut self, n: usize) {
        self.ox = self.ox.wrapping_add(n);
        if self.ox >= self.conv.window.h.output {
            (self.ox, self.oy) = (0, self.oy.wrapping_add(1));
            self.rows = self.conv.window.v.taps(self.oy);
        }
    }

    #[inline(always)]
    fn patch<'p>(&'p self, cols: &'p Taps) -> Patch<'p> {
        Patch {
            conv: self.conv,
            image: self.image,
            rows: &self.rows,
            cols,
            channel: self.channel,
        }
    }
}
