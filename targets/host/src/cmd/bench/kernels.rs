//! Report on the standing set of layers.

use crate::kernels::{Cost, KernelReport};
use crate::output::{TextTable, grouped};

/// One line per layer.
pub fn text(r: &KernelReport) -> String {
    let same = match (r.matches_host, r.core.as_str()) {
        (false, _) => "BYTES DIFFER",
        (true, "host") => "every byte as the portable kernels give it",
        (true, _) => "every byte as on this machine",
    };
    let timed = r.kernels.iter().any(|row| row.cost.median_us.is_some());
    let table = if timed { times(r) } else { counts(r) };
    format!(
        "{} ({}): 64 to 64 channels on 16 x 16 positions, {same}\n{table}\
         tight: no byte of the arena is free beside input and output; - where it makes no difference\n",
        r.core, r.backend
    )
}

/// Instructions per multiply-accumulate, or else per element of the output.
fn rate(cost: &Cost) -> String {
    match (cost.per_mac, cost.per_element) {
        (Some(v), _) => format!("{v:.3}"),
        (None, Some(v)) => format!("{v:.2} per element"),
        (None, None) => "-".into(),
    }
}

fn counts(r: &KernelReport) -> String {
    let mut table = TextTable::new(&[
        "kernel",
        "weights",
        "scratch",
        "instructions",
        "per MAC",
        "tight: scratch",
        "instructions",
        "per MAC",
    ]);
    for row in &r.kernels {
        let mut cells = vec![row.kernel.to_string(), row.coding.clone()];
        for cost in [Some(&row.cost), row.tight.as_ref()] {
            cells.extend(match cost {
                Some(cost) => [
                    grouped(cost.scratch_bytes),
                    cost.instructions.map_or_else(|| "-".into(), grouped),
                    rate(cost),
                ],
                None => ["-", "-", "-"].map(String::from),
            });
        }
        table.row(cells);
    }
    table.render(&[0, 1])
}

fn times(r: &KernelReport) -> String {
    let mut table = TextTable::new(&[
        "kernel",
        "weights",
        "scratch",
        "median us",
        "spread us",
        "GMAC/s",
        "tight: scratch",
        "median us",
        "spread us",
        "GMAC/s",
    ]);
    let us = |v: Option<f64>| v.map_or_else(|| "-".into(), |us| format!("{us:.1}"));
    for row in &r.kernels {
        let mut cells = vec![row.kernel.to_string(), row.coding.clone()];
        for cost in [Some(&row.cost), row.tight.as_ref()] {
            cells.extend(match cost {
                Some(cost) => [
                    grouped(cost.scratch_bytes),
                    us(cost.median_us),
                    us(cost.spread_us),
                    cost.gmac_per_s.map_or("-".into(), |v| format!("{v:.2}")),
                ],
                None => ["-", "-", "-", "-"].map(String::from),
            });
        }
        table.row(cells);
    }
    table.render(&[0, 1])
}
