//! Stack need of a linked program, computed from frame sizes and calls.
//!
//! The compiler writes the frame size of every function into `.stack_sizes`, the linker keeps the relocations.
//! Every relocation in a function that points to another one counts as a call, also where only the address is
//! taken, and data with function addresses (tables of methods) counts as a function without a frame. That gives
//! at least all calls of a program without computed jumps, so the deepest path is an upper bound.

use crate::failure::{Failure, Outcome};
use object::read::{Relocation, RelocationTarget};
use object::{Architecture, Object, ObjectSection, ObjectSymbol, RelocationKind, SymbolKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the function that the runner measures: one whole run of the engine.
pub const INFER: &str = "elastiq_fw::session::infer";

/// Stack need of a function with everything it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackReport {
    /// Bytes on the deepest path.
    pub bytes: u32,
    /// Functions on that path from the outside in, each with its frame in bytes.
    pub path: Vec<(String, u32)>,
    /// Functions reached for which the compiler gave no frame size (written in assembly); counted as 0.
    pub unknown: Vec<String>,
}

struct Node {
    name: String,
    end: u64,
    frame: Option<u32>,
    code: bool,
    calls: Vec<u64>,
}

/// Stack need of the function whose demangled path is `root`, in the program `elf`.
///
/// # Errors
/// No such function, no frame sizes, or recursion, which has no bound.
pub fn report(elf: &Path, root: &str) -> Outcome<StackReport> {
    let bytes = std::fs::read(elf).map_err(|e| Failure::at(elf, e))?;
    let file = object::File::parse(&*bytes).map_err(|e| Failure::at(elf, e))?;
    let graph = graph(&file).map_err(|text| Failure::at(elf, text))?;
    let starts = |node: &Node| node.code && plain(&node.name) == root;
    let roots: Vec<u64> = graph
        .iter()
        .filter(|(_, node)| starts(node))
        .map(|(&at, _)| at)
        .collect();
    let mut walk = Walk {
        graph: &graph,
        known: BTreeMap::new(),
        open: vec![],
    };
    let mut deepest = None;
    for at in roots {
        let bytes = walk.depth(at).map_err(|text| Failure::at(elf, text))?;
        deepest = deepest.max(Some((bytes, at)));
    }
    let (bytes, at) = deepest.ok_or_else(|| Failure::at(elf, format!("no function {root}")))?;
    let unknown = walk.known.keys().filter_map(|at| graph.get(at));
    let unknown = unknown
        .filter(|node| node.code && node.frame.is_none())
        .map(|node| plain(&node.name))
        .collect();
    Ok(StackReport {
        bytes,
        path: walk.path(at),
        unknown,
    })
}

/// Demangled path without hash and generic arguments.
fn plain(name: &str) -> String {
    let text = format!("{:#}", rustc_demangle::demangle(name));
    text.split_once("::<")
        .map_or(text.as_str(), |(path, _)| path)
        .to_string()
}

/// Functions and data by address.
fn graph(file: &object::File<'_>) -> Result<BTreeMap<u64, Node>, String> {
    // Bit 0 of a function address says Thumb.
    let clear = if file.architecture() == Architecture::Arm {
        !1
    } else {
        !0
    };
    let mut graph = BTreeMap::new();
    for symbol in file.symbols().filter(|s| s.is_definition()) {
        let code = symbol.kind() == SymbolKind::Text;
        if symbol.size() == 0 || !(code || symbol.kind() == SymbolKind::Data) {
            continue;
        }
        let at = if code {
            symbol.address() & clear
        } else {
            symbol.address()
        };
        let name = symbol.name().unwrap_or_default().to_string();
        let frame = (!code).then_some(0);
        graph.insert(
            at,
            Node {
                name,
                end: at + symbol.size(),
                frame,
                code,
                calls: vec![],
            },
        );
    }
    let sizes = file
        .section_by_name(".stack_sizes")
        .ok_or("has no frame sizes")?;
    let mut data = sizes.data().map_err(|e| e.to_string())?;
    let word = if file.is_64() { 8 } else { 4 };
    while let Some((at, frame, rest)) = entry(data, word) {
        data = rest;
        if let Some(node) = graph.get_mut(&(at & clear)) {
            node.frame = Some(frame);
        }
    }
    for section in file
        .sections()
        .filter(|s| s.address() != 0 || s.name() == Ok(".text"))
    {
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
            let to = match symbol.kind() {
                SymbolKind::Text => symbol.address() & clear,
                SymbolKind::Section => within(&section, &symbol, offset, &relocation),
                _ => symbol.address(),
            };
            let Some((&to, _)) = containing(&graph, to) else {
                continue;
            };
            let Some((&from, _)) = containing(&graph, offset) else {
                continue;
            };
            if from != to
                && let Some(node) = graph.get_mut(&from)
            {
                node.calls.push(to);
            }
        }
    }
    Ok(graph)
}

/// Where a relocation leads whose symbol is only the section: an entry of a jump table, mostly.
fn within<'f>(
    section: &impl ObjectSection<'f>,
    symbol: &impl ObjectSymbol<'f>,
    offset: u64,
    relocation: &Relocation,
) -> u64 {
    let word = relocation.kind() == RelocationKind::Absolute && relocation.size() == 32;
    if !(relocation.has_implicit_addend() && word) {
        return symbol.address().wrapping_add_signed(relocation.addend());
    }
    // The linked program holds the sum.
    let stored = section.data_range(offset, 4).ok().flatten();
    let stored = stored.and_then(|bytes| bytes.first_chunk::<4>());
    stored.map_or(symbol.address(), |bytes| u32::from_le_bytes(*bytes).into())
}

fn containing(graph: &BTreeMap<u64, Node>, at: u64) -> Option<(&u64, &Node)> {
    graph
        .range(..=at)
        .next_back()
        .filter(|(_, node)| at < node.end)
}

/// One entry of `.stack_sizes`: address of `word` bytes, size as ULEB128, and the bytes behind.
fn entry(data: &[u8], word: usize) -> Option<(u64, u32, &[u8])> {
    let (address, mut rest) = data.split_at_checked(word)?;
    let at = address
        .iter()
        .rfold(0, |at, byte| at << 8 | u64::from(*byte));
    let mut size = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        size |= u32::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((at, size, rest));
        }
    }
    None
}

struct Walk<'g> {
    graph: &'g BTreeMap<u64, Node>,
    known: BTreeMap<u64, (u32, Option<u64>)>,
    open: Vec<u64>,
}

impl Walk<'_> {
    fn depth(&mut self, at: u64) -> Result<u32, String> {
        if let Some(&(bytes, _)) = self.known.get(&at) {
            return Ok(bytes);
        }
        let Some(node) = self.graph.get(&at) else {
            return Ok(0);
        };
        if self.open.contains(&at) {
            return Err(format!(
                "{} calls itself, its stack has no bound",
                plain(&node.name)
            ));
        }
        self.open.push(at);
        let mut deepest = None;
        for &to in &node.calls {
            deepest = deepest.max(Some((self.depth(to)?, to)));
        }
        self.open.pop();
        let bytes = node.frame.unwrap_or(0) + deepest.map_or(0, |(bytes, _)| bytes);
        self.known.insert(at, (bytes, deepest.map(|(_, to)| to)));
        Ok(bytes)
    }

    fn path(&self, from: u64) -> Vec<(String, u32)> {
        let mut path = vec![];
        let mut at = Some(from);
        while let Some(node) = at.and_then(|at| self.graph.get(&at)) {
            path.push((plain(&node.name), node.frame.unwrap_or(0)));
            at = at
                .and_then(|at| self.known.get(&at))
                .and_then(|&(_, next)| next);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, frame: u32, calls: &[u64]) -> Node {
        Node {
            name: name.into(),
            end: 0,
            frame: Some(frame),
            code: true,
            calls: calls.to_vec(),
        }
    }

    #[test]
    fn deepest_path_is_found() {
        let graph = BTreeMap::from([
            (1, node("a", 8, &[2, 3])),
            (2, node("b", 100, &[])),
            (3, node("c", 16, &[4])),
            (4, node("d", 90, &[])),
        ]);
        let mut walk = Walk {
            graph: &graph,
            known: BTreeMap::new(),
            open: vec![],
        };
        assert_eq!(walk.depth(1), Ok(114));
        let names: Vec<String> = walk.path(1).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "c", "d"]);
    }

    #[test]
    fn recursion_is_an_error() {
        let graph = BTreeMap::from([(1, node("a", 8, &[2])), (2, node("b", 8, &[1]))]);
        let mut walk = Walk {
            graph: &graph,
            known: BTreeMap::new(),
            open: vec![],
        };
        assert!(walk.depth(1).unwrap_err().contains("calls itself"));
    }

    #[test]
    fn entries_end_cleanly() {
        assert_eq!(
            entry(&[4, 3, 2, 1, 0x80, 0x01, 9], 4),
            Some((0x0102_0304, 128, &[9][..]))
        );
        assert_eq!(
            entry(&[4, 3, 2, 1, 0, 0, 0, 1, 7], 8),
            Some((0x0100_0000_0102_0304, 7, &[][..]))
        );
        assert_eq!(entry(&[4, 3, 2, 1, 0x80], 4), None);
        assert_eq!(entry(&[], 4), None);
    }
}
