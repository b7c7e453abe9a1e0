//! The arena: which storage lies where, when.
//!
//! An operator that may overwrite its input does so where the input is not needed afterwards, so both are one
//! storage. A storage lives from the first to the last operator that touches it; storages that live at the same
//! time must not overlap. Sizes and offsets are whole words of [`WORD`] bytes, so that every tensor starts aligned.

mod fit;
mod scratch;

use crate::lower::{LOp, Lowered, Place};
use elastiq::Backend;
use elastiq::format::{NONE, OpKind, PLACE_ARENA, TensorRow};
use fit::{Block, Placement};
pub use scratch::{LIMIT, Need, Shape, need};

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
    /// Kernels that scratch and weight order are for.
    pub backend: Backend,
    /// Per tensor; `None` for views and constants.
    pub spots: Vec<Option<Spot>>,
    /// Byte offset and length of the scratch of each operator.
    pub scratch: Vec<(usize, usize)>,
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

/// Place all storages of `net`, with scratch for the kernels of `backend`; call [`merge_in_place`] first to let
/// operators overwrite their inputs.
///
/// Scratch may raise the arena by what one operator needs at most ([`LIMIT`]); up to that height every operator gets
/// what is free beside the tensors that live during it.
pub fn plan(net: &Lowered, backend: Backend) -> Plan {
    plan_variants(&[net], backend)
}

/// [`plan`] for networks that differ in weights and scales alone, in one arena: every operator gets the scratch of the
/// variant that wants the most. They are not empty.
pub fn plan_variants(nets: &[&Lowered], backend: Backend) -> Plan {
    let most = |i: usize| {
        let of = |net: &&Lowered| need(&Shape::of(net, &net.ops[i]), backend);
        nets.iter().map(of).fold(Need::default(), |a, b| Need {
            least: a.least.max(b.least),
            full: a.full.max(b.full),
        })
    };
    let needs: Vec<Need> = (0..nets[0].ops.len()).map(most).collect();
    plan_with(nets[0], backend, &needs)
}

/// [`plan`] with given needs, one per operator.
pub fn plan_with(net: &Lowered, backend: Backend, needs: &[Need]) -> Plan {
    let (first, last) = (first_uses(net), last_uses(net));
    let owners: Vec<usize> = (0..net.tensors.len())
        .filter(|&t| net.tensors[t].place == Place::Arena)
        .collect();
    let blocks: Vec<Block> = owners
        .iter()
        .map(|&t| Block {
            size: words(net.tensors[t].bytes()),
            first: first[t],
            last: last[t],
        })
        .collect();
    let (full, lens, bare) = arrange(&blocks, needs);
    let mut spots = vec![None; net.tensors.len()];
    for (&t, &off) in owners.iter().zip(&full.offsets) {
        spots[t] = Some(Spot {
            off: off * WORD,
            first: first[t],
            last: last[t],
        });
    }
    let mut rest = full.offsets.iter().skip(owners.len());
    let mut spot = |len: usize| match len {
        0 => (0, 0),
        len => (rest.next().map_or(0, |off| off * WORD), len),
    };
    Plan {
        backend,
        spots,
        arena_len: full.height * WORD,
        bound: least(&blocks, &lens),
        scratch_len: full.height.saturating_sub(bare) * WORD,
        scratch: lens.iter().map(|&len| spot(len)).collect(),
    }
}

/// Bytes of the arena, and of its lower bound, that [`plan`] would give `tensors` of an artifact with operators that have
/// these needs.
pub fn arena_with(tensors: &[TensorRow], needs: &[Need]) -> (usize, usize) {
    let own = |t: &&TensorRow| t.root.get() == NONE && t.place == PLACE_ARENA;
    let block = |t: &TensorRow| Block {
        size: words(t.byte_len().unwrap_or_default()),
        first: t.first.get().into(),
        last: t.last.get().into(),
    };
    let blocks: Vec<Block> = tensors.iter().filter(own).map(block).collect();
    let (full, lens, _) = arrange(&blocks, needs);
    (full.height * WORD, least(&blocks, &lens))
}

/// Offsets of `blocks` and then of scratch, bytes of scratch per operator, and the height without scratch.
fn arrange(blocks: &[Block], needs: &[Need]) -> (Placement, Vec<usize>, usize) {
    let bare = fit::place(blocks).height;
    let alive = |i: usize| -> usize {
        let now = blocks.iter().filter(|b| b.first <= i && i <= b.last);
        now.map(|b| b.size * WORD).sum()
    };
    let modest: Vec<usize> = needs.iter().map(|need| need.given(0)).collect();
    let tops = modest.iter().enumerate().map(|(i, len)| alive(i) + len);
    let top = tops.chain([bare * WORD]).max().unwrap_or(0);
    let ample: Vec<usize> = needs
        .iter()
        .enumerate()
        .map(|(i, need)| need.given(top.saturating_sub(alive(i))))
        .collect();
    let (full, lens) = match place_with(blocks, &ample) {
        full if full.height * WORD <= top => (full, ample),
        // Free bytes that lie apart: only what may be added anyway.
        high => match place_with(blocks, &modest) {
            low if low.height < high.height => (low, modest),
            _ => (high, ample),
        },
    };
    (full, lens, bare)
}

/// Bytes that no placement of `blocks` and scratch of `lens` bytes can do without.
fn least(blocks: &[Block], lens: &[usize]) -> usize {
    let all: Vec<Block> = blocks.iter().copied().chain(scratch_blocks(lens)).collect();
    fit::bound(&all) * WORD
}

fn words(bytes: usize) -> usize {
    bytes.div_ceil(WORD)
}

/// One block per operator that has scratch, alive during it.
fn scratch_blocks(lens: &[usize]) -> impl Iterator<Item = Block> {
    let some = lens.iter().enumerate().filter(|(_, len)| **len > 0);
    some.map(|(i, &len)| Block {
        size: words(len),
        first: i,
        last: i,
    })
}

fn place_with(blocks: &[Block], lens: &[usize]) -> Placement {
    let all: Vec<Block> = blocks.iter().copied().chain(scratch_blocks(lens)).collect();
    fit::place(&all)
}
