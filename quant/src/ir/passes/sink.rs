//! One step of a transposition towards the outputs: `f(T(x))` becomes `T(f'(x))`.
//!
//! ```text
//! t = transpose(x, perm); y = f(t)     ->     y' = f'(x); y = transpose(y', perm')
//! ```

use super::edit::{agree, alike, constant, inverse, is_unary, per_channel, reshaped};
use crate::ir::{Graph, Node, Op, ValueId};
use ndarray::IxDyn;

/// What `f'` is: operator, inputs, output shape, and the permutation that gives the old output.
struct Swapped {
    op: Op,
    inputs: Vec<ValueId>,
    shape: Vec<usize>,
    perm: Vec<usize>,
}

/// Move the transposition at node `t` behind its reader at node `r`; false where that cannot be done.
pub(super) fn sink(graph: &mut Graph, t: usize, r: usize) -> bool {
    let Op::Transpose { perm } = graph.nodes[t].op.clone() else {
        return false;
    };
    let (x, reader) = (graph.nodes[t].inputs[0], graph.nodes[r].clone());
    if !agree(graph, graph.nodes[t].output, x) {
        return false;
    }
    let Some(swapped) = swap(graph, &reader, x, graph.nodes[t].output, &perm) else {
        return false;
    };
    let inner = alike(graph, reader.output, swapped.shape);
    graph.nodes[r] = Node {
        name: reader.name.clone(),
        op: swapped.op,
        inputs: swapped.inputs,
        output: inner,
    };
    let name = format!("{}/transpose", reader.name);
    let back = Node {
        name,
        op: Op::Transpose { perm: swapped.perm },
        inputs: vec![inner],
        output: reader.output,
    };
    graph.nodes.insert(r + 1, back);
    true
}

fn swap(
    graph: &mut Graph,
    reader: &Node,
    x: ValueId,
    t: ValueId,
    perm: &[usize],
) -> Option<Swapped> {
    let before = graph.value(x).shape.clone();
    let rank = before.len();
    let back = inverse(perm);
    let out = graph.value(reader.output).shape.clone();
    let moved = |shape: &[usize]| -> Vec<usize> { back.iter().map(|&p| shape[p]).collect() };
    let plain = |op: Op, inputs: Vec<ValueId>| -> Option<Swapped> {
        let shape = if out.len() == rank {
            moved(&out)
        } else {
            return None;
        };
        Some(Swapped {
            op,
            inputs,
            shape,
            perm: perm.to_vec(),
        })
    };
    match &reader.op {
        op if is_unary(op) => plain(op.clone(), vec![x]),
        Op::PRelu => {
            let slope = graph.value(reader.inputs[1]).constant.clone()?;
            let stays = perm.last() == Some(&(rank - 1)) || slope.len() == 1;
            if !stays || slope.ndim() != 1 {
                return None;
            }
            plain(Op::PRelu, vec![x, reader.inputs[1]])
        }
        Op::Add | Op::Sub | Op::Mul => {
            let inputs = operands(graph, reader, x, t, perm)?;
            plain(reader.op.clone(), inputs)
        }
        Op::Concat { axis } => {
            let inputs = operands(graph, reader, x, t, perm)?;
            plain(Op::Concat { axis: perm[*axis] }, inputs)
        }
        Op::Softmax { axis } => plain(Op::Softmax { axis: perm[*axis] }, vec![x]),
        Op::ArgMax { axis, select_last } => {
            let op = Op::ArgMax {
                axis: perm[*axis],
                select_last: *select_last,
            };
            if out.len() == rank {
                return plain(op, vec![x]);
            }
            let gone = perm[*axis];
            let mut shape = before.clone();
            shape.remove(gone);
            let kept = perm
                .iter()
                .filter(|&&p| p != gone)
                .map(|&p| p - usize::from(p > gone));
            Some(Swapped {
                op,
                inputs: vec![x],
                shape,
                perm: kept.collect(),
            })
        }
        Op::Pad {
            before,
            after,
            value,
        } => {
            let op = Op::Pad {
                before: moved(before),
                after: moved(after),
                value: *value,
            };
            plain(op, vec![x])
        }
        Op::Slice { start, step } => plain(
            Op::Slice {
                start: moved(start),
                step: moved(step),
            },
            vec![x],
        ),
        Op::Dense if reader.inputs[0] == t && perm.last() == Some(&(rank - 1)) => {
            let inputs = [&[x], &reader.inputs[1..]].concat();
            plain(Op::Dense, inputs)
        }
        Op::Reshape => reshape(&before, &out, perm).map(|(shape, perm)| Swapped {
            op: Op::Reshape,
            inputs: vec![x],
            shape,
            perm,
        }),
        _ => None,
    }
}

/// The inputs of an operator of several values as they are before the transposition.
fn operands(
    graph: &mut Graph,
    reader: &Node,
    x: ValueId,
    t: ValueId,
    perm: &[usize],
) -> Option<Vec<ValueId>> {
    let rank = perm.len();
    let back = inverse(perm);
    let concat = matches!(reader.op, Op::Concat { .. });
    // First see that all can be had, then make what is missing.
    let ready = |graph: &Graph, id: ValueId| -> bool {
        let value = graph.value(id);
        let same = graph.nodes.iter().any(|n| {
            n.output == id && matches!(&n.op, Op::Transpose { perm: p } if p.as_slice() == perm)
        });
        let fits = value.shape.len() == rank
            || (value.constant.is_some() && value.shape.len() < rank && !concat);
        id == t
            || same
            || (fits && (value.constant.is_some() || moves_only_units(&value.shape, &back)))
    };
    if !reader.inputs.iter().all(|&id| ready(graph, id)) {
        return None;
    }
    let inputs = reader.inputs.iter().map(|&id| {
        if id == t {
            return x;
        }
        let same = graph.nodes.iter().find(|n| {
            n.output == id && matches!(&n.op, Op::Transpose { perm: p } if p.as_slice() == perm)
        });
        if let Some(node) = same {
            return node.inputs[0];
        }
        let value = graph.value(id).clone();
        let wide = [vec![1; rank - value.shape.len()], value.shape.clone()].concat();
        let shape: Vec<usize> = back.iter().map(|&p| wide[p]).collect();
        match &value.constant {
            Some(array) => {
                let quant = value.quant.clone().map(|mut q| {
                    q.axis = q.axis.map(|a| perm[a + rank - value.shape.len()]);
                    q
                });
                let array = reshaped(array, &wide).permuted_axes(IxDyn(&back));
                constant(graph, &value.name, array, quant)
            }
            None => {
                let output = alike(graph, id, shape);
                let name = format!("{}/reshape", value.name);
                let node = Node {
                    name,
                    op: Op::Reshape,
                    inputs: vec![id],
                    output,
                };
                graph.nodes.push(node);
                output
            }
        }
    });
    Some(inputs.collect())
}

/// Whether a transposition of `shape` keeps the order of its elements: only axes of extent 1 move.
pub(super) fn moves_only_units(shape: &[usize], perm: &[usize]) -> bool {
    let long: Vec<usize> = perm.iter().copied().filter(|&p| shape[p] != 1).collect();
    long.windows(2).all(|w| w[0] < w[1])
}

/// A reshape after a transposition that only inserts or removes axes of extent 1: the shape before the
/// transposition and the permutation that follows.
fn reshape(before: &[usize], out: &[usize], perm: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let long_in: Vec<usize> = perm.iter().copied().filter(|&p| before[p] != 1).collect();
    let long_out: Vec<usize> = (0..out.len()).filter(|&a| out[a] != 1).collect();
    let same = long_in.len() == long_out.len()
        && long_in
            .iter()
            .zip(&long_out)
            .all(|(&i, &o)| before[i] == out[o]);
    if !same {
        return None;
    }
    // Axes of extent 1 stay where they are in the output, the others take the remaining places in the old order.
    let mut sorted = long_in.clone();
    sorted.sort_unstable();
    let mut shape = vec![1; out.len()];
    let mut place = vec![0; before.len()];
    for (&axis, &slot) in sorted.iter().zip(&long_out) {
        shape[slot] = before[axis];
        place[axis] = slot;
    }
    let mut order: Vec<usize> = (0..out.len()).collect();
    for (&axis, &slot) in long_in.iter().zip(&long_out) {
        order[slot] = place[axis];
    }
    Some((shape, order))
}

/// An operator on single elements behind a reshape: `f(R(t))` becomes `R(f(t))`, which lets the
/// transposition before it move on. False where the reader is something else.
pub(super) fn hoist(graph: &mut Graph, r: usize, f: usize) -> bool {
    let reader = graph.nodes[f].clone();
    let source = graph.nodes[r].inputs[0];
    let inputs = match &reader.op {
        op if is_unary(op) => vec![source],
        Op::Add | Op::Mul if reader.inputs[0] == graph.nodes[r].output => {
            let Some(array) = graph.value(reader.inputs[1]).constant.clone() else {
                return false;
            };
            if array.len() != 1 || per_channel(&array, 1).is_none() {
                return false;
            }
            let flat = reshaped(&array, &vec![1; graph.value(source).shape.len()]);
            let name = graph.value(reader.inputs[1]).name.clone();
            vec![source, constant(graph, &name, flat, None)]
        }
        _ => return false,
    };
    if graph.value(graph.nodes[r].output).quant.is_some() {
        return false;
    }
    let shape = graph.value(source).shape.clone();
    let inner = alike(graph, reader.output, shape);
    graph.nodes[f] = Node {
        name: reader.name.clone(),
        op: reader.op,
        inputs,
        output: inner,
    };
    let name = format!("{}/reshape", reader.name);
    let back = Node {
        name,
        op: Op::Reshape,
        inputs: vec![inner],
        output: reader.output,
    };
    graph.nodes.insert(f + 1, back);
    true
}
