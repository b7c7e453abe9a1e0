//! Report on a network.

use crate::measure::CoreReport;
use crate::output::{TextTable, grouped};
use std::fmt::Write;

/// Totals, then one line per layer.
pub fn text(r: &CoreReport) -> String {
    let variant = match &r.variant {
        Some(name) => format!(", variant {name}"),
        None => String::new(),
    };
    let mut t = format!(
        "{} ({}){variant}: {} MACs, ",
        r.core,
        r.backend,
        grouped(r.macs)
    );
    match (r.instructions, r.median_us) {
        (Some(n), _) => {
            let _ = write!(t, "{} instructions", grouped(n));
        }
        (None, Some(us)) => {
            let _ = write!(
                t,
                "median {us:.1} us, between quartiles {:.1} us",
                r.spread_us.unwrap_or(0.0)
            );
        }
        (None, None) => t.push_str("nothing counted"),
    }
    if let Some(v) = r.per_mac {
        let _ = write!(t, " ({v:.3} per MAC)");
    }
    t.push('\n');
    if let (Some(bytes), Some(bound)) = (r.stack_bytes, r.stack_bound_bytes) {
        let (bytes, bound) = (grouped(bytes.into()), grouped(bound.into()));
        let _ = write!(t, "stack of a run {bytes} bytes (static bound {bound})");
    }
    if let Some(f) = r.firmware {
        let _ = write!(
            t,
            ", runner with all operators: code {}, constants {}, data {}, zeroed {}",
            grouped(f.code),
            grouped(f.rodata),
            grouped(f.data),
            grouped(f.bss)
        );
    }
    if r.core != "host" {
        let same = if r.matches_host {
            "same bytes as on this machine"
        } else {
            "OTHER BYTES than on this machine"
        };
        let _ = writeln!(t, "\n{} inputs, every layer: {same}", r.inputs);
    }
    if r.short_of_scratch > 0 {
        let _ = writeln!(
            t,
            "{} of {} layers have less scratch than these kernels need: aimed at another core (compile --core {})",
            r.short_of_scratch,
            r.layers.len(),
            r.core
        );
    }
    t.push_str(&match r.instructions {
        Some(_) => counted(r),
        None => timed(r),
    });
    t
}

fn counted(r: &CoreReport) -> String {
    let mut table = TextTable::new(&[
        "#",
        "layer",
        "op",
        "MACs",
        "scratch",
        "instructions",
        "per MAC",
    ]);
    for (i, l) in r.layers.iter().enumerate() {
        table.row([
            i.to_string(),
            l.name.clone(),
            l.op.clone(),
            grouped(l.macs),
            grouped(l.scratch_bytes),
            l.instructions.map_or_else(|| "-".into(), grouped),
            l.per_mac.map_or(String::new(), |v| format!("{v:.3}")),
        ]);
    }
    table.render(&[1, 2])
}

fn timed(r: &CoreReport) -> String {
    let mut table = TextTable::new(&[
        "#",
        "layer",
        "op",
        "MACs",
        "scratch",
        "median us",
        "spread us",
    ]);
    for (i, l) in r.layers.iter().enumerate() {
        let us = |v: Option<f64>| v.map_or_else(|| "-".into(), |us| format!("{us:.1}"));
        table.row([
            i.to_string(),
            l.name.clone(),
            l.op.clone(),
            grouped(l.macs),
            grouped(l.scratch_bytes),
            us(l.median_us),
            us(l.spread_us),
        ]);
    }
    table.render(&[1, 2])
}
