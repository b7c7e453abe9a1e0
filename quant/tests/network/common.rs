//! Networks built in code, and the way from a network to a checked artifact.

use elastiq_quant::calibrate::{Method, calibrate};
use elastiq_quant::ir::{Graph, Node, Op, Port, Value, ValueId, Window};
use elastiq_quant::lower::{Lowered, lower};
use elastiq_quant::pack::{Extras, pack};
use elastiq_quant::plan::{Plan, merge_in_place, plan};
use elastiq_quant::verify::{Verification, verify};
use elastiq_quant::{Error, Samples};
use ndarray::{ArrayD, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// A graph under construction; channel-last, weights drawn from a seed.
pub struct Net {
    pub graph: Graph,
    rng: ChaCha8Rng,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net {
            graph: Graph {
                name: "net".into(),
                ..Graph::default()
            },
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn value(&mut self, shape: &[usize], constant: Option<Arc<ArrayD<f32>>>) -> ValueId {
        let name = format!("v{}", self.graph.values.len());
        self.graph.add_value(Value {
            name,
            shape: shape.to_vec(),
            constant,
            quant: None,
        })
    }

    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let value = self.value(shape, None);
        let name = format!("in{}", self.graph.inputs.len());
        let perm = (0..shape.len()).collect();
        self.graph.inputs.push(Port {
            value,
            name,
            file_shape: shape.to_vec(),
            perm,
        });
        value
    }

    pub fn output(&mut self, value: ValueId) {
        let file_shape = self.shape(value);
        let name = format!("out{}", self.graph.outputs.len());
        let perm = (0..file_shape.len()).collect();
        self.graph.outputs.push(Port {
            value,
            name,
            file_shape,
            perm,
        });
    }

    pub fn shape(&self, v: ValueId) -> Vec<usize> {
        self.graph.value(v).shape.clone()
    }

    pub fn constant(&mut self, shape: &[usize], data: Vec<f32>) -> ValueId {
        let array = ArrayD::from_shape_vec(IxDyn(shape), data).unwrap();
        self.value(shape, Some(Arc::new(array)))
    }

    pub fn random(&mut self, shape: &[usize], amplitude: f32) -> ValueId {
        let n = shape.iter().product();
        let data = (0..n)
            .map(|_| self.rng.random_range(-amplitude..=amplitude))
            .collect();
        self.constant(shape, data)
    }

    pub fn op(&mut self, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let output = self.value(shape, None);
        let name = format!("n{}", self.graph.nodes.len());
        self.graph.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// Elementwise operator with the shape of its first input.
    pub fn map(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let shape = self.shape(inputs[0]);
        self.op(op, inputs, &shape)
    }

    pub fn conv(&mut self, x: ValueId, m: usize, window: Window, groups: usize) -> ValueId {
        let shape = self.shape(x);
        let per = shape[3] / groups;
        let taps = window.kernel[0] * window.kernel[1] * per;
        let amplitude = 1.5 / (taps as f32).sqrt();
        let w = self.random(&[m, window.kernel[0], window.kernel[1], per], amplitude);
        let b = self.random(&[m], 0.3);
        let out = [
            shape[0],
            extent(&window, 0, shape[1]),
            extent(&window, 1, shape[2]),
            m,
        ];
        self.op(Op::Conv { window, groups }, &[x, w, b], &out)
    }

    pub fn dense(&mut self, x: ValueId, m: usize) -> ValueId {
        let mut shape = self.shape(x);
        let k = *shape.last().unwrap();
        let w = self.random(&[m, k], 1.5 / (k as f32).sqrt());
        let b = self.random(&[m], 0.3);
        *shape.last_mut().unwrap() = m;
        self.op(Op::Dense, &[x, w, b], &shape)
    }

    pub fn pool(&mut self, op: Op, x: ValueId) -> ValueId {
        let (Op::MaxPool(window) | Op::AvgPool { window, .. }) = op else {
            panic!("not a pool")
        };
        let s = self.shape(x);
        self.op(
            op,
            &[x],
            &[
                s[0],
                extent(&window, 0, s[1]),
                extent(&window, 1, s[2]),
                s[3],
            ],
        )
    }
}

fn extent(w: &Window, axis: usize, size: usize) -> usize {
    let reach = (w.kernel[axis] - 1) * w.dilation[axis] + 1;
    (size + w.pads[axis] + w.pads[axis + 2] - reach) / w.stride[axis] + 1
}

/// Square window with the same stride and padding on all sides.
pub fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1, 1],
        pads: [pad; 4],
    }
}

/// A network on its way to the artifact.
pub struct Built {
    pub net: Lowered,
    pub plan: Plan,
    pub bytes: Vec<u8>,
    pub check: Verification,
}

/// Calibrate on `n` uniform samples in [-1, 1], lower, plan, pack, and compare with the float network.
pub fn build(graph: &Graph, n: usize) -> Result<Built, Error> {
    build_with(
        graph,
        &Samples::synthetic(graph, n, 1, -1.0, 1.0),
        Method::MinMax,
    )
}

pub fn build_with(graph: &Graph, samples: &Samples, method: Method) -> Result<Built, Error> {
    let ranges = calibrate(graph, samples, method, &mut |_, _| {})?;
    let mut net = lower(graph, &ranges, &Default::default(), &Default::default())?;
    merge_in_place(&mut net);
    let plan = plan(&net, elastiq::Backend::Portable);
    let bytes = pack(&net, &plan, graph, &Extras::default())?;
    let check = verify(graph, &net, (&bytes, 0), samples, &mut |_, _| {})?;
    Ok(Built {
        net,
        plan,
        bytes,
        check,
    })
}
