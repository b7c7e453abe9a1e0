//! The arena: which storage lies where, when.
//!
//! An operator that may overwrite its input does so where the input is not needed afterwards, so both are one
//! storage. A storage lives from the first to the last operator that touches it; storages that live at the same
//! time must not overlap. Sizes and offsets are whole words of [`WORD`] bytes, so that every tensor starts aligned.

mod fit;

use crate::lower::{LOp, Lowered, Place};
use elastiq::format::OpKind;
use fit::Block;

/// Bytes that every offset is a multiple of.
pub const WORD: usize = 4;

/// Place and life of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Byte offset in the arena.
    pub off: usize,
    /// First and last operator that uses it; the number of operators for outputs.
    pub first: usize,
    pub last: usize,
}

/// Placement of all storages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Per tensor; `None` for views and constants.
    pub spots: Vec<Option<Spot>>,
    /// Byte offset of the scratch of each operator, 0 where it has none.
    pub scratch: Vec<usize>,
    /// Bytes of arena, scratch included.
    pub arena_len: usize,
    /// Bytes that no placement can do without: the most that is alive during one operator.
    pub bound: usize,
    /// Part of `arena_len` that exists only because of scratch.
    pub scratch_len: usize,
}

/// Turn outputs into views of an input that dies at the operator, where the operator allows it.
pub fn merge_in_place(net: &mut Lowered) {
    for i in 0..net.ops.len() {
        let last = last_uses(net);
        let op = &net.ops[i];
        if !matches!(
            op.kind,
            OpKind::Add | OpKind::Mul | OpKind::Lut | OpKind::PRelu | OpKind::Softmax
        ) {
            continue;
        }
        let out = op.out;
        let can = |t: usize| {
            let root = net.root(t);
            let storage = &net.tensors[root];
            storage.place == Place::Arena
                && last[root] == i
                && storage.bytes() == net.tensors[out].bytes()
                && net.root(out) != root
        };
        let second = op.in1.filter(|&t| can(t));
        if can(op.in0) {
            net.tensors[out].place = Place::View(net.root(op.in0));
        } else if let Some(t) = second {
            net.tensors[out].place = Place::View(net.root(t));
            swap_inputs(&mut net.ops[i]);
        }
    }
}

/// Exchange the operands of Add or Mul: only the first may be overwritten.
fn swap_inputs(op: &mut LOp) {
    if let Some(second) = op.in1 {
        op.in1 = Some(op.in0);
        op.in0 = second;
        if op.kind == OpKind::Add {
            op.p.swap(0, 1);
        }
    }
}

/// Per storage the last operator that touches it; the number of operators for outputs.
fn last_uses(net: &Lowered) -> Vec<usize> {
    let mut last = vec![0; net.tensors.len()];
    for (i, op) in net.ops.iter().enumerate() {
        for t in op.inputs().chain([op.out]) {
            last[net.root(t)] = i;
        }
    }
    for &t in &net.outputs {
        last[net.root(t)] = net.ops.len();
    }
    last
}

fn first_uses(net: &Lowered) -> Vec<usize> {
    let mut first = vec![0; net.tensors.len()];
    for (i, op) in net.ops.iter().enumerate().rev() {
        first[net.root(op.out)] = i;
    }
    for &t in &net.inputs {
        first[net.root(t)] = 0;
    }
    first
}

/// Place all storages of `net`; call [`merge_in_place`] first to let operators overwrite their inputs.
pub fn plan(net: &Lowered) -> Plan {
    let (first, last) = (first_uses(net), last_uses(net));
    let words = |bytes: usize| bytes.div_ceil(WORD);
    let owners: Vec<usize> = (0..net.tensors.len())
        .filter(|&t| net.tensors[t].place == Place::Arena)
        .collect();
    let mut blocks: Vec<Block> = owners
        .iter()
        .map(|&t| Block {
            size: words(net.tensors[t].bytes()),
            first: first[t],
            last: last[t],
        })
        .collect();
    let bare = fit::place(&blocks);
    let scratch_ops: Vec<usize> = (0..net.ops.len())
        .filter(|&i| net.ops[i].scratch_len > 0)
        .collect();
    blocks.extend(scratch_ops.iter().map(|&i| Block {
        size: words(net.ops[i].scratch_len),
        first: i,
        last: i,
    }));
    let full = if scratch_ops.is_empty() {
        bare.clone()
    } else {
        fit::place(&blocks)
    };

    let mut spots = vec![None; net.tensors.len()];
    for (&t, &off) in owners.iter().zip(&full.offsets) {
        spots[t] = Some(Spot {
            off: off * WORD,
            first: first[t],
            last: last[t],
        });
    }
    let mut scratch = vec![0; net.ops.len()];
    for (&i, &off) in scratch_ops
        .iter()
        .zip(full.offsets.iter().skip(owners.len()))
    {
        scratch[i] = off * WORD;
    }
    Plan {
        spots,
        scratch,
        arena_len: full.height * WORD,
        bound: fit::bound(&blocks) * WORD,
        scratch_len: full.height.saturating_sub(bare.height) * WORD,
    }
}
