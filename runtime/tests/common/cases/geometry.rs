//! Windows over H and W.

use proptest::prelude::*;

/// One axis of a window; whatever a tap reads outside of `0..size` is padding.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub size: usize,
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pad: usize,
}

impl Axis {
    /// Input coordinate that tap `k` of output `o` reads.
    fn source(&self, o: usize, k: usize) -> i64 {
        (o * self.stride + k * self.dilation) as i64 - self.pad as i64
    }

    /// Outputs whose windows begin inside of the input padded on both sides.
    fn usual(mut self) -> Axis {
        let span = (self.kernel - 1) * self.dilation + 1;
        self.out = (self.size + 2 * self.pad).saturating_sub(span) / self.stride + 1;
        self
    }
}

/// Images, and both axes of the window.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub n: usize,
    pub v: Axis,
    pub h: Axis,
}

impl Geometry {
    /// The first eight parameters of an operator row.
    pub fn p(&self) -> Vec<usize> {
        let (v, h) = (self.v, self.h);
        let (dilation, pad) = ([v.dilation, h.dilation], [v.pad, h.pad]);
        [[v.kernel, h.kernel], [v.stride, h.stride], dilation, pad].concat()
    }

    pub fn taps(&self) -> usize {
        self.v.kernel * self.h.kernel
    }

    /// Input coordinates that tap `k` of output `o` reads.
    pub fn source(&self, o: [usize; 4], k: usize) -> (i64, i64) {
        let [_, y, x, _] = o;
        let kw = self.h.kernel;
        (self.v.source(y, k / kw), self.h.source(x, k % kw))
    }

    pub fn input(&self, c: usize) -> [usize; 4] {
        [self.n, self.v.size, self.h.size, c]
    }

    pub fn output(&self, c: usize) -> [usize; 4] {
        [self.n, self.v.out, self.h.out, c]
    }

    /// As many positions as cost at most `limit` in all, at least one.
    pub fn within(mut self, cost: usize, limit: usize) -> Geometry {
        while self.n * self.v.out * self.h.out * cost > limit {
            let axis = match self.v.out > self.h.out {
                true => &mut self.v,
                false => &mut self.h,
            };
            match axis.out {
                1 if self.n == 1 => break,
                1 => self.n = 1,
                out if axis.kernel == 1 && axis.size == out => {
                    (axis.size, axis.out) = (out - 1, out - 1);
                }
                out => axis.out = out - 1,
            }
        }
        self
    }
}

prop_compose! {
    fn any_axis()(
        size in 1..=12usize,
        out in 1..=11usize,
        kernel in 1..=5usize,
        stride in 1..=3usize,
        dilation in 1..=2usize,
        pad in 0..=3usize,
    ) -> Axis {
        Axis { size, out, kernel, stride, dilation, pad }
    }
}

fn point_axis() -> impl Strategy<Value = Axis> {
    (1..=12usize).prop_map(|size| Axis {
        size,
        out: size,
        kernel: 1,
        stride: 1,
        dilation: 1,
        pad: 0,
    })
}

/// Outputs as in networks, or any number of them; sometimes one element wide as in a network over time.
fn window_axis() -> impl Strategy<Value = Axis> {
    prop_oneof![
        6 => any_axis().prop_map(Axis::usual),
        3 => any_axis(),
        1 => point_axis(),
    ]
}

/// Any window; `points` more of them are single elements at every position.
pub fn geometry(points: u32) -> impl Strategy<Value = Geometry> {
    let pair = prop_oneof![
        4 => (window_axis(), window_axis()),
        points => (point_axis(), point_axis()),
    ];
    (1..=2usize, pair).prop_map(|(n, (v, h))| Geometry { n, v, h })
}
