//! Time of one layer of each kind, with every backend of this machine and several weight codings.
//!
//! `cargo bench -p elastiq --bench kernels -- conv3x3` measures those with this in their name. Elements are
//! multiply-accumulates, or output codes of layers without weights.

#[path = "../tests/common/mod.rs"]
mod common;

use common::Builder;
use common::rng::Rng;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use elastiq::format::{CODING_CODEBOOK, OpKind, OpRow};
use elastiq::{Aligned, Backend, Engine, OpSet};
use std::hint::black_box;

/// How weights are stored.
#[derive(Clone, Copy)]
enum Coding {
    /// Symmetric, of this many bits.
    Linear(u8),
    /// Table entries by codes of this many bits.
    Codebook(u8),
}

impl Coding {
    const ALL: [Coding; 3] = [Coding::Linear(8), Coding::Linear(4), Coding::Codebook(4)];

    fn name(self) -> String {
        match self {
            Coding::Linear(bits) => format!("{bits} bits"),
            Coding::Codebook(bits) => format!("codebook of {bits} bits"),
        }
    }

    /// Append `n` weights for `outputs` channels and everything else that `row` must have.
    fn fill(self, b: &mut Builder, row: &mut OpRow, n: usize, outputs: usize) {
        let mut rng = Rng(1);
        let (Coding::Linear(bits) | Coding::Codebook(bits)) = self;
        row.bits = bits;
        row.weights = b.weights(&rng.codes(n * usize::from(bits) / 8));
        row.quant = b.quant(&vec![(1 << 10, 1 << 22); outputs]);
        if let Coding::Codebook(bits) = self {
            // Too large for bytes, as the tables of powers are.
            let entry = |i: i32| (i * i * 40) as i16;
            let table: Vec<u8> = (0..1 << bits)
                .flat_map(|i| entry(i).to_le_bytes())
                .collect();
            (row.coding, row.lut) = (CODING_CODEBOOK, b.lut(&table));
        }
    }
}

/// A layer of 64 -> 64 channels on 16 x 16 positions, or a dense one 512 -> 64.
struct Layer {
    name: &'static str,
    kind: OpKind,
    kernel: usize,
}

impl Layer {
    const ALL: [Layer; 6] = [
        Layer::new("conv1x1", OpKind::Conv, 1),
        Layer::new("conv3x3", OpKind::Conv, 3),
        Layer::new("depthwise3x3", OpKind::Depthwise, 3),
        Layer::new("dense512x64", OpKind::Dense, 1),
        Layer::new("add", OpKind::Add, 1),
        Layer::new("maxpool3x3", OpKind::MaxPool, 3),
    ];

    const fn new(name: &'static str, kind: OpKind, kernel: usize) -> Layer {
        Layer { name, kind, kernel }
    }

    fn weighty(&self) -> bool {
        matches!(self.kind, OpKind::Conv | OpKind::Depthwise | OpKind::Dense)
    }

    /// Elements of the throughput.
    fn elements(&self) -> usize {
        let taps = self.kernel * self.kernel;
        match self.kind {
            OpKind::Conv => 256 * 64 * 64 * taps,
            OpKind::Depthwise => 256 * 64 * taps,
            OpKind::Dense => 512 * 64,
            _ => 256 * 64,
        }
    }

    fn artifact(&self, coding: Coding) -> Vec<u8> {
        let (mut b, image) = (Builder::default(), [1, 16, 16, 64]);
        let (x_dims, y_dims) = match self.kind {
            OpKind::Dense => ([1, 1, 1, 512], [1, 1, 1, 64]),
            _ => (image, image),
        };
        let (x, y) = (b.tensor(x_dims, -3), b.tensor(y_dims, 5));
        let (k, pad) = (self.kernel, self.kernel / 2);
        let p = match self.kind {
            OpKind::Dense => vec![],
            OpKind::Add => vec![1 << 14, 9000, 15],
            _ => vec![k, k, 1, 1, 1, 1, pad, pad, 1],
        };
        let sum = b.quant(&[(1 << 14, 0)]);
        b.op(self.kind, x, y, &p, |_| {});
        let mut row = b.ops.remove(0);
        match self.kind {
            OpKind::Conv => coding.fill(&mut b, &mut row, k * k * 64 * 64, 64),
            OpKind::Depthwise => coding.fill(&mut b, &mut row, k * k * 64, 64),
            OpKind::Dense => coding.fill(&mut b, &mut row, 512 * 64, 64),
            OpKind::Add => {
                let x2 = b.tensor(image, 1);
                b.input(x2, "x2");
                row.in1.set(x2);
                row.quant = sum;
            }
            _ => {}
        }
        b.ops.push(row);
        b.input(x, "x");
        b.output(y, "y", "");
        b.build()
    }
}

fn kernels(c: &mut Criterion) {
    for layer in Layer::ALL {
        let mut group = c.benchmark_group(layer.name);
        group.throughput(Throughput::Elements(layer.elements() as u64));
        let codings = if layer.weighty() { 3 } else { 1 };
        for coding in Coding::ALL.into_iter().take(codings) {
            // Weights are aligned to 16 bytes in the artifact, and so must it be.
            let bytes = layer.artifact(coding);
            let mut memory = Box::new(Aligned([0u8; 1 << 17]));
            let place = &mut memory.0[..bytes.len()];
            place.copy_from_slice(&bytes);
            let engine = Engine::<{ OpSet::ALL }>::new(place).expect(layer.name);
            let mut arena = vec![3; engine.model().arena_len()];
            let name = if layer.weighty() {
                coding.name()
            } else {
                "codes".into()
            };
            for backend in Backend::available() {
                let engine = engine.with_backend(backend);
                group.bench_function(BenchmarkId::new(backend.name(), &name), |b| {
                    b.iter(|| {
                        let mut session =
                            engine.start(&mut arena).expect("the arena is large enough");
                        session.finish().expect("a checked model");
                        black_box(session.output(0).map(|y| y[0]))
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
