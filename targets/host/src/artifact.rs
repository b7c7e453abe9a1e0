//! An artifact on the host: loading, running, and the way between reals in the file's layout and codes.

use crate::data::{InputSpec, read_file};
use crate::failure::{Failure, Outcome};
use elastiq::format::{NONE, OpKind, OpRow, PLACE_ARENA, TensorRow};
use elastiq::{Engine, Io, Model, OpSet, RunError};
use elastiq_quant::io::Ports;
use elastiq_quant::pack::{Meta, kind_name};
use ndarray::{ArrayD, Axis};
use std::path::{Path, PathBuf};

/// The engine that runs every operator.
pub type FullEngine<'a> = Engine<'a, { OpSet::ALL }>;

/// The bytes of an artifact that has been checked once, with its text part.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where it came from, for messages.
    pub path: PathBuf,
    /// The artifact.
    pub bytes: Vec<u8>,
    /// Names and layouts; empty where the artifact has no such text.
    pub meta: Meta,
    /// The operating point in use.
    pub variant: usize,
}

impl Artifact {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One line that names the file, what is wrong in it and at which byte.
    pub fn load(path: &Path) -> Outcome<Artifact> {
        Artifact::of(path, read_file(path)?)
    }

    /// Checks bytes; `path` is for messages.
    pub fn of(path: &Path, bytes: Vec<u8>) -> Outcome<Artifact> {
        let model = Model::parse(&bytes).map_err(|e| Failure::at(path, e))?;
        let meta = match model.meta() {
            Some(_) => Meta::of(&model).map_err(|e| Failure::at(path, e))?,
            None => Meta::default(),
        };
        Ok(Artifact {
            path: path.into(),
            bytes,
            meta,
            variant: 0,
        })
    }

    /// The same artifact with the variant of that name, or failing that of that index, in use.
    ///
    /// # Errors
    /// If there is none; names all there are.
    pub fn with_variant(mut self, name: &str) -> Outcome<Artifact> {
        let model = Model::parse(&self.bytes).map_err(|e| Failure::at(&self.path, e))?;
        let names: Vec<&str> = (0..model.variants())
            .filter_map(|i| model.variant_name(i))
            .collect();
        let named = names.iter().position(|n| *n == name && !n.is_empty());
        let index = || name.parse().ok().filter(|i| *i < names.len());
        self.variant = named.or_else(index).ok_or_else(|| {
            let known = match &names[..] {
                [""] => "the artifact has one, without a name".to_string(),
                names => format!("there are {}", names.join(", ")),
            };
            Failure::at(
                &self.path,
                format!("--variant {name}: no such variant ({known})"),
            )
        })?;
        Ok(self)
    }

    /// An engine on these bytes, with the variant in use.
    pub fn engine(&self) -> Outcome<FullEngine<'_>> {
        let mut engine = Engine::new(&self.bytes).map_err(|e| Failure::at(&self.path, e))?;
        engine
            .select(self.variant)
            .map_err(|e| Failure::at(&self.path, e))?;
        Ok(engine)
    }

    /// Name of the variant in use; `None` where the artifact has only one.
    pub fn variant_name(&self, model: &Model<'_>) -> Option<String> {
        let name = model.variant_name(self.variant);
        name.filter(|_| model.variants() > 1).map(str::to_string)
    }

    /// Name of operator `i`.
    pub fn layer_name(&self, i: usize) -> String {
        self.meta
            .layers
            .get(i)
            .map_or_else(|| format!("op{i}"), |l| l.name.clone())
    }

    /// Name of tensor `i`.
    pub fn tensor_name(&self, i: usize) -> String {
        self.meta
            .tensors
            .get(i)
            .cloned()
            .unwrap_or_else(|| format!("t{i}"))
    }

    /// What the network wants to be fed with, in the file's layout.
    pub fn input_specs(&self, model: &Model<'_>) -> Vec<InputSpec> {
        let spec = |(i, io): (usize, Io<'_>)| InputSpec {
            name: io.name().to_string(),
            shape: match self.meta.inputs.get(i) {
                Some(p) if p.file_shape.iter().product::<usize>() == elements(io.row) => {
                    p.file_shape.clone()
                }
                _ => dims(io.row).to_vec(),
            },
        };
        model.inputs().enumerate().map(spec).collect()
    }

    /// Class labels of the first output, where it has them.
    pub fn labels(&self, model: &Model<'_>) -> Vec<String> {
        let text = model
            .outputs()
            .map(|io| io.labels())
            .find(|l| !l.is_empty())
            .unwrap_or("");
        text.lines().map(str::to_string).collect()
    }

    /// Input bytes of sample `i`: all inputs one after the other. `samples` are arrays `[n, ...]` from
    /// [`Dataset::fit`](crate::data::Dataset::fit).
    pub fn encode(&self, ports: &Ports, samples: &[ArrayD<f32>], i: usize) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        for (k, x) in samples.iter().enumerate() {
            let sample = x.index_axis(Axis(0), i).to_owned();
            bytes.extend(
                ports
                    .quantize(k, &sample)
                    .map_err(|e| Failure::at(&self.path, e))?,
            );
        }
        Ok(bytes)
    }

    /// Layouts of the inputs and outputs.
    pub fn ports(&self, model: &Model<'_>) -> Outcome<Ports> {
        Ports::of(model).map_err(|e| Failure::at(&self.path, e))
    }
}

/// Dimensions of a tensor, `[n, h, w, c]`.
pub fn dims(row: &TensorRow) -> [usize; 4] {
    row.dims.map(|d| d.get() as usize)
}

/// Number of elements of a tensor.
pub fn elements(row: &TensorRow) -> usize {
    dims(row).iter().product()
}

/// Dimensions without leading ones: `8x8x16`.
pub fn shape_text(row: &TensorRow) -> String {
    let d = dims(row);
    let skip = d.iter().take(3).take_while(|&&v| v == 1).count();
    d[skip..]
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join("x")
}

/// Storage of a tensor: the tensor itself, or the one it is a view of.
pub fn root<'m>(model: &Model<'m>, i: u16) -> (u16, &'m TensorRow) {
    let tensors = model.tensors();
    let row = &tensors[usize::from(i)];
    match row.root.get() {
        NONE => (i, row),
        r => (r, &tensors[usize::from(r)]),
    }
}

/// Whether the output of an operator takes the place of its first input.
pub fn in_place(model: &Model<'_>, op: &OpRow) -> bool {
    let (x, y) = (root(model, op.in0.get()).1, root(model, op.out.get()).1);
    x.place == PLACE_ARENA && y.place == PLACE_ARENA && x.off.get() == y.off.get()
}

/// Name of the operator of a row.
pub fn op_name(op: &OpRow) -> String {
    OpKind::from_u8(op.kind).map_or_else(|| format!("kind {}", op.kind), |k| kind_name(k).into())
}

/// Name of the weight coding of a row, such as `int8` or `book4`; empty where it has no weights.
pub fn coding_name(op: &OpRow) -> String {
    match op.bits {
        0 => String::new(),
        bits => elastiq_quant::pack::coding_name(op.coding, bits),
    }
}

/// Multiply-accumulates of an operator: every weight of an output channel once per element of that channel.
pub fn macs(model: &Model<'_>, op: &OpRow) -> u64 {
    let tensor = |i: u16| &model.tensors()[usize::from(i)];
    let [kh, kw, .., groups] = [0, 1, 8].map(|i| u64::from(op.p[i].get()));
    let channels = u64::from(tensor(op.in0.get()).dims[3].get());
    let each = match OpKind::from_u8(op.kind) {
        Some(OpKind::Conv) => kh * kw * channels / groups.max(1),
        Some(OpKind::Depthwise) => kh * kw,
        Some(OpKind::Dense) => channels,
        _ => 0,
    };
    elements(tensor(op.out.get())) as u64 * each
}

/// Runs a model again and again in one arena.
pub struct Host<'a> {
    engine: FullEngine<'a>,
    arena: Vec<u8>,
}

impl<'a> Host<'a> {
    /// A runner with an arena of the right size.
    pub fn new(engine: FullEngine<'a>) -> Host<'a> {
        let arena = vec![0; engine.model().arena_len()];
        Host { engine, arena }
    }

    /// The model.
    pub fn model(&self) -> &Model<'a> {
        self.engine.model()
    }

    /// Bytes of every output for `input`: the bytes of all inputs, one after the other. `after` sees every operator
    /// that was executed: its index and the bytes of its output.
    pub fn run_with(
        &mut self,
        input: &[u8],
        mut after: impl FnMut(u16, &[u8]),
    ) -> Result<Vec<Vec<u8>>, RunError> {
        let model = *self.engine.model();
        let mut session = elastiq_fw::session::start(&self.engine, input, &mut self.arena)?;
        while let Some(op) = session.step()? {
            let row = model.operator(op.into());
            let out = row.ok_or(RunError::Invalid { op })?.out.get();
            after(op, session.tensor(out).unwrap_or_default());
        }
        Ok((0..model.outputs().count())
            .map(|i| session.output(i).unwrap_or_default().to_vec())
            .collect())
    }

    /// Bytes of every output.
    pub fn run(&mut self, input: &[u8]) -> Result<Vec<Vec<u8>>, RunError> {
        self.run_with(input, |_, _| {})
    }

    /// Runs the recorded cases: how many gave the recorded bytes, and how many there are.
    pub fn self_test(&mut self) -> Result<(usize, usize), RunError> {
        let (mut passed, mut cases) = (0, 0);
        let model = *self.model();
        for (input, want) in model.self_test_cases() {
            cases += 1;
            passed += usize::from(self.run(input)?.concat() == want);
        }
        Ok((passed, cases))
    }
}
