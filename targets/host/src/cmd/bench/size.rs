//! Report on the sizes of a firmware.

use crate::footprint::Footprint;
use crate::output::{TextTable, grouped};
use std::fmt::Write;

/// Flash, RAM, the largest functions.
pub fn text(f: &Footprint) -> String {
    let mut t = format!(
        "{}: application with this model, optimized for size\n",
        f.core
    );
    let left_out = match f.meta_bytes {
        0 => String::new(),
        n => format!(", without {} bytes for host tools", grouped(n)),
    };
    let mut table = TextTable::new(&["part", "bytes", ""]);
    let mut row = |part: &str, bytes: u64, what: &str| {
        table.row([part.to_string(), grouped(bytes), what.to_string()]);
    };
    row("code", f.code_bytes, "kernels, engine, startup");
    row("constants", f.rodata_bytes, "");
    row("data", f.data_bytes, "variables with a start value");
    let model = format!("self-test {} of them{left_out}", grouped(f.self_test_bytes));
    row("model", f.model_bytes, &model);
    row("flash", f.flash_bytes, "all of the above");
    row("arena", f.arena_bytes, "");
    row("variables", f.data_bytes + f.bss_bytes, "");
    row("stack", f.stack_bound_bytes, "static bound");
    row("RAM", f.ram_bytes, "arena, variables, stack");
    t.push_str(&table.render(&[0, 2]));
    t.push_str("largest functions:\n");
    for function in &f.functions {
        let _ = writeln!(t, "{:>7}  {}", grouped(function.bytes), function.name);
    }
    t
}
