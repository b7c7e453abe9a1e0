//! One quantization per activation: fixed by the file, by the nature of a function, or from calibration.
//!
//! Values whose codes only move (pooling maximum, reshape, slice, ...) form a class with one quantization.

use super::given::{Given, GivenActivation, layers_of};
use super::quant::Quant;
use super::steps::{Kind, Step, Steps};
use crate::Error;
use crate::calibrate::Ranges;
use crate::ir::{FileQuant, Graph, ValueId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Quantization of every value that a step reads or writes.
#[derive(Debug, Default)]
pub struct Params {
    quant: HashMap<ValueId, Quant>,
    /// First and last code of activations that do not use all.
    range: HashMap<ValueId, (i8, i8)>,
    /// Values of type `i32`: indices from ArgMax.
    indices: HashSet<ValueId>,
}

impl Params {
    /// Quantization of activation `v`.
    pub fn get(&self, v: ValueId) -> Quant {
        self.quant.get(&v).copied().unwrap_or(Quant::UNIT)
    }

    /// First and last code that activation `v` uses.
    pub fn range(&self, v: ValueId) -> (i8, i8) {
        self.range.get(&v).copied().unwrap_or((i8::MIN, i8::MAX))
    }

    /// True where `v` holds `i32` indices.
    pub fn is_index(&self, v: ValueId) -> bool {
        self.indices.contains(&v)
    }
}

/// Per-tensor quantization that a file fixes for value `name`.
///
/// # Errors
/// Per-channel scales, scales that are not positive and zero points outside `i8` name the value.
pub fn from_file(name: &str, q: &FileQuant) -> Result<Quant, Error> {
    let place = format!("quantization of '{name}' in the file");
    let (&[scale], &[zero]) = (q.scale.as_slice(), q.zero.as_slice()) else {
        return Err(Error::at(
            place,
            "an activation needs one scale and zero point",
        ));
    };
    let zero = i8::try_from(zero)
        .map_err(|_| Error::at(&place, format!("zero point {zero} is not an 8-bit code")))?;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(Error::at(place, format!("scale {scale} is not positive")));
    }
    Ok(Quant { scale, zero })
}

/// Union-find over values; the root of a class is its smallest id.
struct Classes {
    parent: HashMap<ValueId, ValueId>,
    fixed: HashMap<ValueId, Quant>,
}

impl Classes {
    fn root(&self, mut v: ValueId) -> ValueId {
        while let Some(&p) = self.parent.get(&v).filter(|p| **p != v) {
            v = p;
        }
        v
    }

    /// Merge two classes unless the file fixes them differently.
    fn tie(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a), self.root(b));
        let (fa, fb) = (self.fixed.get(&a).copied(), self.fixed.get(&b).copied());
        if a == b || (fa.is_some() && fb.is_some() && fa != fb) {
            return;
        }
        let (low, high) = (a.min(b), a.max(b));
        self.parent.insert(high, low);
        if let Some(q) = fa.or(fb) {
            self.fixed.insert(low, q);
        }
    }
}

/// Choose the quantization of every activation.
///
/// # Errors
/// A value without a calibrated range, an unusable quantization in the file, or arithmetic on indices.
pub fn assign(
    graph: &Graph,
    steps: &Steps,
    ranges: &Ranges,
    given: &Given,
) -> Result<Params, Error> {
    let Groups {
        indices,
        members,
        classes,
        joined,
    } = group(graph, steps, given)?;
    let names: Vec<&str> = members
        .iter()
        .map(|&v| graph.value(v).name.as_str())
        .collect();
    given.check(&layers_of(steps), &names)?;
    let natural = natural(&steps.steps, &classes, &joined);
    let mut limits: HashMap<ValueId, (i8, i8)> = HashMap::new();
    for (v, a) in given_to(graph, &members, given) {
        let limit = limits.entry(classes.root(v)).or_insert((a.lo, a.hi));
        *limit = (limit.0.max(a.lo), limit.1.min(a.hi));
    }

    let mut hulls: BTreeMap<ValueId, (f32, f32)> = BTreeMap::new();
    for &v in &members {
        if let Some((lo, hi)) = ranges.get(v) {
            let hull = hulls.entry(classes.root(v)).or_insert((lo, hi));
            *hull = (hull.0.min(lo), hull.1.max(hi));
        }
    }
    let (mut quant, mut range) = (HashMap::new(), HashMap::new());
    for &v in &members {
        let root = classes.root(v);
        let known = classes
            .fixed
            .get(&root)
            .or_else(|| natural.get(&root))
            .copied();
        let q = match (known, hulls.get(&root)) {
            (Some(q), _) => q,
            (None, Some(&(lo, hi))) => Quant::from_range(lo, hi),
            (None, None) => {
                return Err(Error::input(format!(
                    "calibration: '{}' has no range",
                    graph.value(v).name
                )));
            }
        };
        quant.insert(v, q);
        if let Some(&limit) = limits.get(&root) {
            range.insert(v, limit);
        }
    }
    Ok(Params {
        quant,
        range,
        indices,
    })
}

/// Activations and how they hang together.
struct Groups {
    indices: HashSet<ValueId>,
    members: Vec<ValueId>,
    classes: Classes,
    /// Classes of the outputs of concatenations.
    joined: HashSet<ValueId>,
}

/// Activations that share a quantization because their codes only move; see [`super::given::activations`].
pub fn classes(graph: &Graph, steps: &Steps) -> Result<Vec<Vec<ValueId>>, Error> {
    let groups = group(graph, steps, &Given::default())?;
    let mut by_root: BTreeMap<ValueId, Vec<ValueId>> = BTreeMap::new();
    for &v in &groups.members {
        by_root.entry(groups.classes.root(v)).or_default().push(v);
    }
    Ok(by_root.into_values().collect())
}

/// What `given` says about `members`.
fn given_to<'a>(
    graph: &'a Graph,
    members: &'a [ValueId],
    given: &'a Given,
) -> impl Iterator<Item = (ValueId, GivenActivation)> + 'a {
    let of = |&v| Some((v, *given.activations.get(&graph.value(v).name)?));
    members.iter().filter_map(of)
}

fn group(graph: &Graph, steps: &Steps, given: &Given) -> Result<Groups, Error> {
    let indices = indices(graph, &steps.steps)?;
    let mut members: Vec<ValueId> = graph.inputs.iter().map(|p| p.value).collect();
    for step in &steps.steps {
        members.push(step.output);
    }
    members.retain(|v| !indices.contains(v));
    members.sort_unstable();
    members.dedup();

    let mut classes = Classes {
        parent: HashMap::new(),
        fixed: HashMap::new(),
    };
    for &v in &members {
        if let Some(q) = steps.fixed.get(&v) {
            classes.fixed.insert(v, from_file(&graph.value(v).name, q)?);
        }
    }
    for (v, a) in given_to(graph, &members, given) {
        classes.fixed.insert(v, a.quant);
    }
    for step in steps
        .steps
        .iter()
        .filter(|s| s.kind.moves() && !indices.contains(&s.output))
    {
        classes.tie(step.inputs[0], step.output);
    }
    let joined = tie_concats(graph, &steps.steps, &members, &mut classes);
    Ok(Groups {
        indices,
        members,
        classes,
        joined,
    })
}

/// Values that hold indices, which only outputs and reshapes may use.
fn indices(graph: &Graph, steps: &[Step]) -> Result<HashSet<ValueId>, Error> {
    let mut found = HashSet::new();
    for step in steps {
        let reads = step.inputs.iter().any(|v| found.contains(v));
        match step.kind {
            Kind::ArgMax { .. } if !reads => found.insert(step.output),
            Kind::Reshape if reads => found.insert(step.output),
            _ if reads => {
                let name = &graph.value(step.inputs[0]).name;
                let text = format!(
                    "calculates with the indices '{name}'; the output of ArgMax can only be an output of the network"
                );
                return Err(Error::layer(&step.name, step.op, text));
            }
            _ => false,
        };
    }
    Ok(found)
}

/// Let an input of a concatenation that is free take the output's quantization. Returns the classes of
/// concatenation outputs.
fn tie_concats(
    graph: &Graph,
    steps: &[Step],
    members: &[ValueId],
    classes: &mut Classes,
) -> HashSet<ValueId> {
    let mut uses: HashMap<ValueId, usize> = HashMap::new();
    steps
        .iter()
        .flat_map(|s| &s.inputs)
        .for_each(|v| *uses.entry(*v).or_default() += 1);
    graph
        .outputs
        .iter()
        .for_each(|p| *uses.entry(p.value).or_default() += 1);
    graph
        .inputs
        .iter()
        .for_each(|p| *uses.entry(p.value).or_default() += 1);
    let mut size: HashMap<ValueId, usize> = HashMap::new();
    members
        .iter()
        .for_each(|&v| *size.entry(classes.root(v)).or_default() += 1);
    let concats = || {
        steps
            .iter()
            .filter(|s| matches!(s.kind, Kind::Concat { .. }))
    };
    for step in concats() {
        for &v in &step.inputs {
            if uses.get(&v) == Some(&1)
                && size.get(&classes.root(v)) == Some(&1)
                && !classes.fixed.contains_key(&v)
            {
                classes.tie(v, step.output);
            }
        }
    }
    concats().map(|s| classes.root(s.output)).collect()
}

/// Quantization by the nature of the writing step, for classes where all such steps agree.
fn natural(
    steps: &[Step],
    classes: &Classes,
    except: &HashSet<ValueId>,
) -> HashMap<ValueId, Quant> {
    let mut found: BTreeMap<ValueId, Option<Quant>> = BTreeMap::new();
    for step in steps.iter().filter(|s| !s.kind.moves()) {
        let own = match &step.kind {
            Kind::Softmax { .. } => Some(Quant::UNSIGNED_UNIT),
            Kind::Lut(f) => f.natural(),
            _ => None,
        };
        let root = classes.root(step.output);
        let agreed = found.entry(root).or_insert(own);
        if *agreed != own {
            *agreed = None;
        }
    }
    found
        .into_iter()
        .filter(|(root, _)| !except.contains(root))
        .filter_map(|(root, q)| q.map(|q| (root, q)))
        .collect()
}
