//! Proof by symbols: no heap, no float library, no panic in a linked program. On Arm also no float instruction.

use super::vfp::float_arithmetic;
use crate::failure::{Failure, Outcome};
use object::{Architecture, Object, ObjectSymbol};
use std::path::Path;

/// A symbol that must not be in firmware, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name, demangled, or the address of an instruction.
    pub symbol: String,
    /// `heap`, `float` or `panic`.
    pub what: &'static str,
}

/// Names of the float library: `__aeabi_` and what follows, for Arm.
const AEABI_TO_FLOAT: [&str; 14] = [
    "i2f", "i2d", "ui2f", "ui2d", "l2f", "l2d", "ul2f", "ul2d", "h2f", "h2d", "f2h", "d2h", "f2d",
    "d2f",
];

/// Beginnings of the float library's names elsewhere; `s`, `d`, `t`, `h` for the width come next.
const SOFT_FLOAT: [&str; 20] = [
    "__add",
    "__sub",
    "__mul",
    "__div",
    "__neg",
    "__pow",
    "__cmp",
    "__unord",
    "__eq",
    "__ne",
    "__ge",
    "__lt",
    "__le",
    "__gt",
    "__fix",
    "__fixuns",
    "__float",
    "__floatun",
    "__extend",
    "__trunc",
];

/// What `name` stands for if it must not be in firmware.
pub fn forbidden(name: &str) -> Option<&'static str> {
    let plain = rustc_demangle::demangle(name).to_string();
    let heap = [
        "__rust_alloc",
        "__rust_dealloc",
        "__rust_realloc",
        "__rg_",
        "__rdl_",
        "alloc::alloc::",
    ];
    if heap.iter().any(|part| plain.contains(part))
        || ["malloc", "free", "calloc", "realloc"].contains(&name)
    {
        return Some("heap");
    }
    if float(name) || plain.contains("compiler_builtins::float") {
        return Some("float");
    }
    let panic = [
        "core::panicking",
        "core::panic",
        "rust_begin_unwind",
        "panic_fmt",
        "core::result::unwrap_failed",
    ];
    panic
        .iter()
        .any(|part| plain.contains(part))
        .then_some("panic")
}

fn float(name: &str) -> bool {
    if let Some(rest) = name.strip_prefix("__aeabi_") {
        let op = rest.starts_with(['f', 'd']);
        let conversion =
            AEABI_TO_FLOAT.contains(&rest) || rest.starts_with("cf") || rest.starts_with("cd");
        return op || conversion;
    }
    let ends = [
        "sf2", "df2", "tf2", "hf2", "sf3", "df3", "tf3", "hf3", "sf", "df", "tf", "sfsi", "dfsi",
        "sfdi", "dfdi",
    ];
    let ends_more = [
        "sisf", "sidf", "disf", "didf", "dfsf2", "sfdf2", "dfhf2", "sfhf2", "hfsf2", "sfti", "dfti",
    ];
    SOFT_FLOAT.iter().any(|start| {
        name.strip_prefix(start)
            .is_some_and(|rest| ends.contains(&rest) || ends_more.contains(&rest))
    })
}

/// All symbols and float instructions of the program `elf` that must not be there.
///
/// # Errors
/// A file that is not an object file, or has no symbols to look at.
pub fn scan(elf: &Path) -> Outcome<Vec<Finding>> {
    let bytes = std::fs::read(elf).map_err(|e| Failure::at(elf, e))?;
    let file = object::File::parse(&*bytes).map_err(|e| Failure::at(elf, e))?;
    let mut seen = 0;
    let mut findings = vec![];
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        seen += usize::from(!name.is_empty());
        if let Some(what) = forbidden(name) {
            let symbol = format!("{:#}", rustc_demangle::demangle(name));
            findings.push(Finding { symbol, what });
        }
    }
    if matches!(
        file.architecture(),
        Architecture::Arm | Architecture::Aarch64
    ) {
        let symbol = |at| Finding {
            symbol: format!("instruction at {at:#x}"),
            what: "float",
        };
        findings.extend(float_arithmetic(&file).into_iter().map(symbol));
    }
    if seen == 0 {
        return Err(Failure::at(elf, "has no symbols, nothing can be proven"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::forbidden;

    #[test]
    fn float_library_is_found() {
        for name in [
            "__aeabi_fadd",
            "__aeabi_dmul",
            "__aeabi_i2f",
            "__aeabi_cdcmple",
            "__aeabi_f2iz",
            "__aeabi_d2f",
            "__addsf3",
            "__muldf3",
            "__floatsisf",
            "__floatunsidf",
            "__fixdfsi",
            "__fixunssfsi",
            "__extendsfdf2",
            "__ltdf2",
        ] {
            assert_eq!(forbidden(name), Some("float"), "{name}");
        }
    }

    #[test]
    fn heap_and_panics_are_found() {
        assert_eq!(forbidden("__rust_alloc"), Some("heap"));
        assert_eq!(
            forbidden("_ZN5alloc5alloc18handle_alloc_error17h0123456789abcdefE"),
            Some("heap")
        );
        assert_eq!(
            forbidden("_ZN4core9panicking5panic17h0123456789abcdefE"),
            Some("panic")
        );
        assert_eq!(
            forbidden("_RNvNtCs1234_4core9panicking9panic_fmt"),
            Some("panic")
        );
        assert_eq!(forbidden("rust_begin_unwind"), Some("panic"));
    }

    #[test]
    fn integer_helpers_are_allowed() {
        for name in [
            "__aeabi_memcpy",
            "__aeabi_memclr4",
            "__aeabi_uidivmod",
            "__aeabi_idiv",
            "__aeabi_lmul",
            "__aeabi_ldivmod",
            "__aeabi_llsl",
            "memcpy",
            "__muldi3",
            "__divsi3",
            "__udivdi3",
            "__ashldi3",
            "main",
            "reset",
        ] {
            assert_eq!(forbidden(name), None, "{name}");
        }
    }
}
