//! The report of a compilation, as text.

use crate::output::{TextTable, grouped, share};
use elastiq_quant::compile::{CompileReport, LayerReport, VariantReport};
use std::fmt::Write;
use std::path::Path;

/// Layers, agreement with the float network, sizes.
pub fn text(r: &CompileReport, output: &Path) -> String {
    let mut t = String::new();
    for line in &r.passes {
        let _ = writeln!(t, "pass: {line}");
    }
    let _ = write!(t, "\n{}\n", layers(r));
    match &r.variants[..] {
        [] => agreement(&mut t, r),
        variants => t.push_str(&points(variants)),
    }
    let _ = writeln!(
        t,
        "flash     {} bytes, {} of them weights",
        n(r.file_bytes),
        n(r.weights_bytes)
    );
    let _ = writeln!(
        t,
        "arena     {} bytes, lower bound {}, scratch {}",
        n(r.arena_bytes),
        n(r.arena_bound_bytes),
        n(r.scratch_bytes)
    );
    let _ = writeln!(
        t,
        "MACs      {}, {} as imported",
        grouped(r.macs),
        grouped(r.macs_imported)
    );
    let _ = writeln!(t, "wrote     {}", output.display());
    t
}

/// One line per layer; of the first variant where there are several, with the codings of all.
fn layers(r: &CompileReport) -> String {
    let mut table = TextTable::new(&[
        "#", "layer", "op", "out", "MACs", "bits", "coding", "weights", "SQNR dB",
    ]);
    for (i, l) in r.layers.iter().enumerate() {
        let skip = l.out_shape.iter().take(3).take_while(|&&d| d == 1).count();
        let shape: Vec<String> = l.out_shape.iter().skip(skip).map(u32::to_string).collect();
        table.row([
            i.to_string(),
            l.name.clone(),
            l.op.clone(),
            shape.join("x"),
            grouped(l.macs),
            match l.bits {
                0 => String::new(),
                _ => distinct(r, i, |l| l.bits.to_string()),
            },
            distinct(r, i, |l| l.coding.clone()),
            l.weights_bytes.to_string(),
            l.sqnr_db.map_or_else(|| "-".into(), |v| format!("{v:.1}")),
        ]);
    }
    table.render(&[1, 2, 3, 6])
}

/// What `of` says about layer `i` in all variants, each answer once.
fn distinct(r: &CompileReport, i: usize, of: impl Fn(&LayerReport) -> String) -> String {
    let mut found: Vec<String> = r.layers.get(i).map(&of).into_iter().collect();
    for layer in r.variants.iter().filter_map(|v| v.layers.get(i)) {
        let text = of(layer);
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found.join(" ")
}

/// One line per variant.
fn points(variants: &[VariantReport]) -> String {
    let mut table = TextTable::new(&["variant", "mean bits", "top-1", "float", "agree", "SQNR dB"]);
    for v in variants {
        let o = &v.output;
        table.row([
            v.name.clone(),
            format!("{:.2}", v.average_bits),
            share(o.top1),
            share(o.float_top1),
            share(o.agree),
            o.sqnr_db.map_or_else(|| "-".into(), |v| format!("{v:.1}")),
        ]);
    }
    let samples = variants.first().map_or(0, |v| v.output.samples);
    format!("{}on {samples} samples\n", table.render(&[0]))
}

/// How near the network is to the float network.
fn agreement(t: &mut String, r: &CompileReport) {
    let o = &r.output;
    if o.top1.is_some() {
        let _ = writeln!(
            t,
            "top-1     {} (float {}) on {} samples",
            share(o.top1),
            share(o.float_top1),
            o.samples
        );
    }
    if o.agree.is_some() {
        let _ = writeln!(
            t,
            "agree     {} of the classes with the float network",
            share(o.agree)
        );
    }
    let sqnr = o
        .sqnr_db
        .map_or_else(|| "-".into(), |v| format!("{v:.1} dB"));
    let _ = writeln!(
        t,
        "output    mean error {:.3e}, largest {:.3e}, SQNR {sqnr}",
        o.mean_error, o.max_error
    );
}

fn n(bytes: usize) -> String {
    grouped(bytes as u64)
}
