//! Several operating points of one network in one artifact.

use super::{
    CompileOptions, CompileReport, Compiled, LayerReport, Progress, check, layers, self_test,
};
use crate::calibrate::{Ranges, calibrate};
use crate::ir::{self, Graph, passes};
use crate::lower::format::Formats;
use crate::lower::given::Given;
use crate::lower::linear::Codes;
use crate::lower::{Lowered, Place, lower};
use crate::pack::{Extras, Variant, pack_variants};
use crate::plan::{merge_in_place, plan_variants};
use crate::verify::{Verification, verify};
use crate::{Error, Samples};
use elastiq::Model;
use serde::Serialize;

/// An operating point to compile.
#[derive(Clone, Debug, Default)]
pub struct VariantOptions {
    /// By which it is found in the artifact; of no effect where it is the only one.
    pub name: String,
    /// Width and coding of the weights; layers of several widths have a master in common where they are nested.
    pub weights: Formats,
    /// Quantization of layers and activations that is decided already.
    pub given: Given,
}

/// What was found out about an operating point.
#[derive(Clone, Debug, Serialize)]
pub struct VariantReport {
    pub name: String,
    /// Bits per weight, averaged over all weights.
    pub average_bits: f64,
    pub layers: Vec<LayerReport>,
    /// Comparison with the float network.
    pub output: Verification,
}

/// Compile a network that is in memory to an artifact with all of `variants`, at least one, in that order; what `opts`
/// says about weights and given quantization does not count. Each variant gives the bytes that
/// [`compile_graph`](super::compile_graph) gives for its options alone.
///
/// Weights that several variants read with different widths are stored once, as 8-bit masters, where they are nested;
/// what all of them read in the same way is stored in that way.
///
/// # Errors
/// As [`compile_graph`](super::compile_graph); names that are empty or appear twice, variants whose operators differ.
pub fn compile_variants(
    imported: Graph,
    source: &str,
    calib: &Samples,
    variants: &[VariantOptions],
    opts: &CompileOptions,
    progress: &mut Progress,
) -> Result<Compiled, Error> {
    check_all(variants)?;
    let points = &mut |_: &Graph, _: &Ranges, _: &mut Progress| Ok(variants.to_vec());
    build(imported, source, calib, opts, points, progress)
}

/// What decides the operating points, for the network after passes and its calibrated ranges.
type Points<'a> =
    dyn FnMut(&Graph, &Ranges, &mut Progress) -> Result<Vec<VariantOptions>, Error> + 'a;

/// [`compile_variants`] with operating points that are chosen once the network is calibrated.
pub(super) fn build(
    imported: Graph,
    source: &str,
    calib: &Samples,
    opts: &CompileOptions,
    points: &mut Points,
    progress: &mut Progress,
) -> Result<Compiled, Error> {
    check(&opts.weights)?;
    let macs_imported = ir::stats(&imported).macs;
    let chosen: &[passes::Pass] = match opts.dead_channels {
        true => &passes::PASSES,
        false => &passes::PASSES_KEEPING_CHANNELS,
    };
    let (graph, notes) = passes::optimize_with(imported, chosen);
    let ranges = calibrate(&graph, calib, opts.method, &mut |done, total| {
        progress("calibrate", done, total)
    })?;
    let variants = points(&graph, &ranges, progress)?;
    check_all(&variants)?;
    let mut all = Vec::new();
    for v in &variants {
        let net = lower(&graph, &ranges, &v.weights, &v.given);
        let mut net = net.map_err(|e| match v.name.is_empty() {
            true => e,
            false => e.within(format!("variant '{}'", v.name)),
        })?;
        merge_in_place(&mut net);
        all.push(Variant {
            name: v.name.clone(),
            net,
        });
    }
    share(&mut all)?;
    let nets: Vec<&Lowered> = all.iter().map(|v| &v.net).collect();
    let plan = plan_variants(&nets, opts.backend);
    let mut extras = Extras {
        source: source.to_owned(),
        macs_imported,
        labels: opts.labels.clone(),
        self_test: Vec::new(),
    };
    let mut bytes = pack_variants(&all, &plan, &graph, &extras)?;
    if opts.self_test_cases > 0 {
        extras.self_test = self_test(&graph, &bytes, calib, opts.self_test_cases)?;
        bytes = pack_variants(&all, &plan, &graph, &extras)?;
    }
    let subset;
    let samples = match &opts.verify_on {
        Some(samples) => samples,
        None => {
            subset = calib.evenly(opts.verify_samples);
            &subset
        }
    };
    let model = Model::parse(&bytes).map_err(|e| Error::input(format!("artifact: {e:?}")))?;
    let mut reports = Vec::new();
    for (i, v) in all.iter().enumerate() {
        let (before, total) = (i * samples.len(), all.len() * samples.len());
        let output = verify(&graph, &v.net, (&bytes, i), samples, &mut |done, _| {
            progress("verify", before + done, total)
        })?;
        let chosen = model.with_variant(i);
        let chosen = chosen.map_err(|e| Error::input(format!("artifact: {e}")))?;
        reports.push(VariantReport {
            name: v.name.clone(),
            average_bits: average_bits(&v.net),
            layers: layers(&v.net, &chosen, &output),
            output,
        });
    }
    let (layers, output) = (reports[0].layers.clone(), reports[0].output.clone());
    let report = CompileReport {
        model: source.to_owned(),
        arena_bytes: plan.arena_len,
        arena_bound_bytes: plan.bound,
        scratch_bytes: plan.scratch_len,
        weights_bytes: model.weights().len(),
        file_bytes: bytes.len(),
        macs: nets[0].ops.iter().map(|op| op.macs).sum(),
        macs_imported,
        layers,
        passes: notes,
        calibration_samples: calib.len(),
        self_test_cases: extras.self_test.len(),
        output,
        variants: if reports.len() > 1 {
            reports
        } else {
            Vec::new()
        },
    };
    Ok(Compiled {
        bytes,
        report,
        graph,
    })
}

fn check_all(variants: &[VariantOptions]) -> Result<(), Error> {
    if variants.is_empty() {
        return Err(Error::input("an artifact needs at least one variant"));
    }
    for (i, v) in variants.iter().enumerate() {
        if variants.len() > 1 && v.name.is_empty() {
            return Err(Error::input(format!("variant {i} has no name")));
        }
        if variants[..i].iter().any(|other| other.name == v.name) {
            let text = format!("two variants are called '{}'", v.name);
            return Err(Error::input(text));
        }
    }
    variants.iter().try_for_each(|v| check(&v.weights))
}

/// Let variants that read the upper bits of the same codes with different widths share those codes.
///
/// # Errors
/// Variants that differ in more than weights and scales.
fn share(variants: &mut [Variant]) -> Result<(), Error> {
    let (first, rest) = variants.split_first().expect("at least one variant");
    for v in rest.iter() {
        if let Some(what) = difference(&first.net, &v.net) {
            let text = format!(
                "variants '{}' and '{}' differ in {what}, not in weights and scales alone",
                first.name, v.name
            );
            return Err(Error::input(text));
        }
    }
    for i in 0..variants[0].net.ops.len() {
        // Plain codes are a master whose 8 bits are all read.
        let master = |w: &Codes| match w.is_plain() {
            true => (w.codes.clone(), w.bits),
            false => (w.master.clone(), w.bits),
        };
        let weights = variants.iter().map(|v| &v.net.ops[i].weights);
        let masters: Vec<(Vec<i8>, u8)> = weights.map(master).collect();
        for (v, (master, bits)) in variants.iter_mut().zip(&masters) {
            let shared = |(other, other_bits): &(Vec<i8>, u8)| {
                !other.is_empty() && other == master && other_bits != bits
            };
            if masters.iter().any(shared) {
                let weights = &mut v.net.ops[i].weights;
                *weights = std::mem::take(weights).into_nested();
            }
        }
    }
    Ok(())
}

/// What two networks must have in common and have not.
fn difference(a: &Lowered, b: &Lowered) -> Option<String> {
    let kinds = |net: &Lowered| -> Vec<_> {
        let key = |op: &crate::lower::LOp| (op.kind, op.in0, op.in1, op.out, op.quant.len());
        net.ops.iter().map(key).collect()
    };
    let tensors = |net: &Lowered| -> Vec<_> {
        let place = |t: &crate::lower::Tensor| match &t.place {
            Place::Arena => (0, 0),
            Place::View(of) => (1, *of),
            Place::Const(_) => (2, 0),
        };
        let key = |t: &crate::lower::Tensor| (t.dims, t.width, place(t));
        net.tensors.iter().map(key).collect()
    };
    let (x, y) = (kinds(a), kinds(b));
    if x.len() != y.len() {
        return Some(format!(
            "the number of operators, {} and {}",
            x.len(),
            y.len()
        ));
    }
    if let Some(i) = (0..x.len()).find(|&i| x[i] != y[i]) {
        return Some(format!("operator {i} ('{}')", a.ops[i].name));
    }
    (tensors(a) != tensors(b)).then(|| "their tensors".to_owned())
}

/// Bits per weight over all weights of a network.
fn average_bits(net: &Lowered) -> f64 {
    let sum = |f: &dyn Fn(&crate::lower::LOp) -> usize| net.ops.iter().map(f).sum::<usize>() as f64;
    let bits = sum(&|op| op.weights.codes.len() * usize::from(op.weights.bits));
    bits / sum(&|op| op.weights.codes.len()).max(1.0)
}
