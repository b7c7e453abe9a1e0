//! The standing table: what one layer of each kind costs on a core, for every width and coding of the weights.
//!
//! All layers of a core are one network, so that one start of the emulator measures them. Shapes are fixed: 64 to 64
//! channels on 16 x 16 positions, 512 to 64 for the dense layer.

use crate::artifact::Artifact;
use crate::failure::{Failure, Outcome};
use crate::measure::{CoreReport, LayerReport, emulated_with, host};
use crate::qemu::{self, Core, RunOptions};
use elastiq::Backend;
use elastiq_quant::Samples;
use elastiq_quant::calibrate::Method;
use elastiq_quant::compile::{CompileOptions, compile_graph};
use elastiq_quant::ir::{Graph, Node, Op, Port, Value, ValueId, Window};
use elastiq_quant::lower::format::{Coding, Formats, WeightFormat};
use ndarray::{ArrayD, IxDyn};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SIDE: usize = 16;
const CHANNELS: usize = 64;
const DENSE: [usize; 2] = [512, 64];
/// Side of the input where scratch is ample: while it lives no layer does, so every layer finds that much free.
const AMPLE_SIDE: usize = 64;

/// A kind of layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    Conv1x1,
    Conv3x3,
    Depthwise3x3,
    Dense,
    Add,
    /// 2 x 2, stride 2.
    MaxPool,
}

impl Kernel {
    const ALL: [Kernel; 6] = [
        Kernel::Conv1x1,
        Kernel::Conv3x3,
        Kernel::Depthwise3x3,
        Kernel::Dense,
        Kernel::Add,
        Kernel::MaxPool,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kernel::Conv1x1 => "conv1x1",
            Kernel::Conv3x3 => "conv3x3",
            Kernel::Depthwise3x3 => "depthwise3x3",
            Kernel::Dense => "dense512x64",
            Kernel::Add => "add",
            Kernel::MaxPool => "maxpool2x2",
        }
    }

    fn weighted(self) -> bool {
        !matches!(self, Kernel::Add | Kernel::MaxPool)
    }
}

/// Every width and coding of weights: 8 to 2 bits on a linear grid, then codebooks.
pub fn all_formats() -> Vec<WeightFormat> {
    let of = |coding| {
        (2..=8).rev().map(move |bits| WeightFormat {
            bits,
            coding,
            ..Default::default()
        })
    };
    of(Coding::Linear).chain(of(Coding::Codebook)).collect()
}

/// Cost of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Scratch memory that it was lent.
    pub scratch_bytes: u64,
    pub instructions: Option<u64>,
    /// Instructions per multiply-accumulate.
    pub per_mac: Option<f64>,
    /// Instructions per element of the output, where there are no multiply-accumulates.
    pub per_element: Option<f64>,
    /// Median time on this machine, and the distance between its quartiles.
    pub median_us: Option<f64>,
    pub spread_us: Option<f64>,
    /// 10^9 multiply-accumulates per second.
    pub gmac_per_s: Option<f64>,
}

/// A layer and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub kernel: &'static str,
    /// Bits per weight, 0 without weights.
    pub bits: u8,
    /// `int4`, `book4`; `-` without weights.
    pub coding: String,
    pub macs: u64,
    /// Elements of the output.
    pub elements: u64,
    /// With all the scratch that the kernel can use.
    #[serde(flatten)]
    pub cost: Cost,
    /// With the least that the planner gives, where the kernel can do with less.
    pub tight: Option<Cost>,
}

/// The table of a core.
#[derive(Clone, Debug, Serialize)]
pub struct KernelReport {
    /// `host`, or the name of a core file.
    pub core: String,
    /// Kernels that ran, as the program that ran them says.
    pub backend: String,
    /// Emulated cores: every layer gave the bytes of this machine. Host: those of the portable kernels.
    pub matches_host: bool,
    /// The first difference, where there is one.
    pub difference: Option<String>,
    /// Set where the firmware has other kernels than its core file names.
    pub other_kernels: Option<String>,
    pub kernels: Vec<Row>,
}

impl KernelReport {
    /// What the run proves wrong, in words.
    pub fn fault(&self) -> Option<&str> {
        self.difference.as_deref().or(self.other_kernels.as_deref())
    }
}

/// Measure the layers with weights in all of `formats`, and those without. `core` is `None` for this machine.
pub fn measure(
    core: Option<&Core>,
    formats: &[WeightFormat],
    progress: &mut dyn FnMut(&str),
) -> Outcome<KernelReport> {
    let backend = match core {
        Some(core) => qemu::backend(&core.name)?,
        None => Backend::native(),
    };
    let mut run = |kernels: &[Kernel], ample| {
        progress("compiling the layers");
        let artifact = network(kernels, formats, ample).compile(backend)?;
        match core {
            Some(core) => on_core(core, &artifact, progress),
            None => on_host(&artifact),
        }
    };
    let ample = run(&Kernel::ALL, true)?;
    let tight = [Kernel::Conv1x1, Kernel::Conv3x3].map(|kernel| run(&[kernel], false));
    let [a, b] = tight;
    let tight = [a?, b?];

    let mut rows = Vec::new();
    for kernel in Kernel::ALL {
        let codings: Vec<Option<WeightFormat>> = match kernel.weighted() {
            true => formats.iter().copied().map(Some).collect(),
            false => vec![None],
        };
        for format in codings {
            let name = layer_name(kernel, format);
            let layer = ample
                .layers
                .iter()
                .find(|l| l.name == name)
                .ok_or_else(|| Failure::check(format!("layer {name} was not measured")))?;
            let cost = cost(kernel, layer);
            let less = tight.iter().flat_map(|r| &r.layers);
            let less = less
                .filter(|l| l.name == name && l.scratch_bytes < cost.scratch_bytes)
                .map(|l| self::cost(kernel, l))
                .next();
            rows.push(Row {
                kernel: kernel.name(),
                bits: format.map_or(0, |f| f.bits),
                coding: format.map_or("-".into(), coding),
                macs: layer.macs,
                elements: elements(kernel),
                cost,
                tight: less,
            });
        }
    }
    let difference = tight.iter().find_map(|r| r.difference.clone());
    let difference = ample.difference.clone().or(difference);
    Ok(KernelReport {
        core: ample.core,
        backend: ample.backend,
        matches_host: difference.is_none(),
        difference,
        other_kernels: ample.other_kernels,
        kernels: rows,
    })
}

/// Elements of the output of a layer.
fn elements(kernel: Kernel) -> u64 {
    let n = match kernel {
        Kernel::Dense => DENSE[1],
        Kernel::MaxPool => SIDE * SIDE * CHANNELS / 4,
        _ => SIDE * SIDE * CHANNELS,
    };
    n as u64
}

fn cost(kernel: Kernel, layer: &LayerReport) -> Cost {
    let count = layer.instructions;
    let per = |n: u64, wanted: bool| {
        count
            .filter(|_| wanted && n > 0)
            .map(|count| count as f64 / n as f64)
    };
    let time = layer.median_us.filter(|us| *us > 0.0 && layer.macs > 0);
    Cost {
        scratch_bytes: layer.scratch_bytes,
        instructions: count,
        per_mac: per(layer.macs, kernel.weighted()),
        per_element: per(elements(kernel), !kernel.weighted()),
        median_us: layer.median_us,
        spread_us: layer.spread_us,
        gmac_per_s: time.map(|us| layer.macs as f64 / us / 1e3),
    }
}

fn on_core(
    core: &Core,
    artifact: &Artifact,
    progress: &mut dyn FnMut(&str),
) -> Outcome<CoreReport> {
    let options = RunOptions {
        whole: false,
        tensors: false,
        timeout: Duration::from_secs(600),
        ..Default::default()
    };
    emulated_with(core, artifact, &[codes(artifact)], &options, progress)
}

fn on_host(artifact: &Artifact) -> Outcome<CoreReport> {
    let input = codes(artifact);
    let fail = |e: elastiq::RunError| Failure::at(&artifact.path, e);
    let run = |backend| {
        let mut tensors = Vec::new();
        let engine = artifact.engine()?.with_backend(backend);
        let mut host = crate::artifact::Host::new(engine);
        host.run_with(&input, |_, bytes| tensors.push(bytes.to_vec()))
            .map_err(fail)?;
        Ok(tensors)
    };
    let (fast, portable) = (run(Backend::native())?, run(Backend::Portable)?);
    let differs = fast.iter().zip(&portable).position(|(a, b)| a != b);
    let mut report = host(artifact, std::slice::from_ref(&input))?;
    report.difference = differs.map(|i| {
        format!(
            "{} and portable differ: output of {}",
            report.backend,
            artifact.layer_name(i)
        )
    });
    report.matches_host = differs.is_none();
    Ok(report)
}

/// Input bytes: noise, the same every time.
fn codes(artifact: &Artifact) -> Vec<u8> {
    let len = artifact.engine().map_or(0, |engine| {
        engine.model().inputs().map(|io| io.len).sum::<usize>()
    });
    let mut noise = Noise(7);
    (0..len).map(|_| (noise.next() >> 24) as u8).collect()
}

fn coding(format: WeightFormat) -> String {
    let name = match format.coding {
        Coding::Linear => "int",
        Coding::Codebook => "book",
        Coding::Nested => "nested",
    };
    format!("{name}{}", format.bits)
}

fn layer_name(kernel: Kernel, format: Option<WeightFormat>) -> String {
    match format {
        Some(format) => format!("{} {}", kernel.name(), coding(format)),
        None => kernel.name().into(),
    }
}

/// Xorshift: 32 bits at a time.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn uniform(&mut self, amplitude: f32) -> f32 {
        (self.next() as f32 / u32::MAX as f32 * 2.0 - 1.0) * amplitude
    }
}

/// A network under construction.
struct Net {
    graph: Graph,
    formats: Formats,
    noise: Noise,
}

/// Layers of `kernels`, those with weights once per format, in a chain; the dense ones side by side.
fn network(kernels: &[Kernel], formats: &[WeightFormat], ample: bool) -> Net {
    let mut net = Net {
        graph: Graph {
            name: "kernels".into(),
            ..Default::default()
        },
        formats: Formats::default(),
        noise: Noise(1),
    };
    let shape = [1, SIDE, SIDE, CHANNELS];
    let x = match ample {
        true => {
            let whole = net.input(&[1, AMPLE_SIDE, AMPLE_SIDE, CHANNELS]);
            let crop = Op::Slice {
                start: vec![0; 4],
                step: vec![1; 4],
            };
            net.op("crop", crop, &[whole], &shape)
        }
        false => net.input(&shape),
    };
    if kernels.contains(&Kernel::Dense) {
        let x = net.input(&[1, DENSE[0]]);
        for &format in formats {
            let y = net.layer(Kernel::Dense, format, x);
            net.output(y);
        }
    }
    let mut y = x;
    for &kernel in kernels {
        match kernel {
            Kernel::Dense => {}
            Kernel::Add => y = net.op(kernel.name(), Op::Add, &[y, x], &shape),
            Kernel::MaxPool => {
                let op = Op::MaxPool(window(2, 2, 0));
                y = net.op(kernel.name(), op, &[y], &[1, SIDE / 2, SIDE / 2, CHANNELS]);
            }
            _ => {
                for &format in formats {
                    y = net.layer(kernel, format, y);
                }
            }
        }
    }
    net.output(y);
    net
}

fn window(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        dilation: [1; 2],
        pads: [pad; 4],
    }
}

impl Net {
    fn compile(&self, backend: Backend) -> Outcome<Artifact> {
        let samples = Samples::synthetic(&self.graph, 1, 1, -1.0, 1.0);
        let options = CompileOptions {
            method: Method::MinMax,
            weights: self.formats.clone(),
            backend,
            self_test_cases: 0,
            verify_samples: 1,
            ..Default::default()
        };
        let graph = self.graph.clone();
        let compiled = compile_graph(graph, "kernels", &samples, &options, &mut |_, _, _| {})
            .map_err(Failure::input)?;
        Artifact::of(Path::new("kernels"), compiled.bytes)
    }

    fn value(&mut self, shape: &[usize], constant: Option<ArrayD<f32>>) -> ValueId {
        let name = format!("v{}", self.graph.values.len());
        self.graph.add_value(Value {
            name,
            shape: shape.to_vec(),
            constant: constant.map(Arc::new),
            quant: None,
        })
    }

    fn port(&self, value: ValueId) -> Port {
        let file_shape = self.graph.value(value).shape.clone();
        Port {
            value,
            name: self.graph.value(value).name.clone(),
            perm: (0..file_shape.len()).collect(),
            file_shape,
        }
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let value = self.value(shape, None);
        let port = self.port(value);
        self.graph.inputs.push(port);
        value
    }

    fn output(&mut self, value: ValueId) {
        let port = self.port(value);
        self.graph.outputs.push(port);
    }

    fn random(&mut self, shape: &[usize], amplitude: f32) -> ValueId {
        let noise = &mut self.noise;
        let array = ArrayD::from_shape_simple_fn(IxDyn(shape), || noise.uniform(amplitude));
        self.value(shape, Some(array))
    }

    fn op(&mut self, name: &str, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let output = self.value(shape, None);
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// A layer with weights of `format` that keeps the variance of its input.
    fn layer(&mut self, kernel: Kernel, format: WeightFormat, x: ValueId) -> ValueId {
        let (side, groups) = match kernel {
            Kernel::Conv3x3 => (3, 1),
            Kernel::Depthwise3x3 => (3, CHANNELS),
            _ => (1, 1),
        };
        let (op, weights, shape) = match kernel {
            Kernel::Dense => (
                Op::Dense,
                DENSE.iter().rev().copied().collect(),
                vec![1, DENSE[1]],
            ),
            _ => (
                Op::Conv {
                    window: window(side, 1, side / 2),
                    groups,
                },
                vec![CHANNELS, side, side, CHANNELS / groups],
                vec![1, SIDE, SIDE, CHANNELS],
            ),
        };
        let taps: usize = weights[1..].iter().product();
        let w = self.random(&weights, (3.0 / taps as f32).sqrt());
        let b = self.random(&[weights[0]], 0.1);
        let name = layer_name(kernel, Some(format));
        self.formats.by_layer.insert(name.clone(), format);
        self.op(&name, op, &[x, w, b], &shape)
    }
}
