//! Moves single codes, and scales, as long as that lowers the error of the layer's output.
//!
//! For one weight the error is a parabola, `h_jj v^2 + 2 v (g_j - h_jj v_j)`, so its best level is the one next to
//! the vertex `v_j - g_j / h_jj`: any code of the grid, not only a neighbour. For given codes the best scale is a
//! quotient of two sums. Neither can raise the error.

use super::learn::Learned;
use super::moments::{Moments, Part};
use super::power::Table;
use ndarray::{Array1, ArrayView1, s};
use rayon::prelude::*;

/// Rounds of codes and scales, and sweeps over the codes of a row in a round.
const ROUNDS: usize = 6;
const SWEEPS: usize = 30;

/// Improve `state` in place.
pub fn descend(data: &Moments, state: &mut Learned) {
    for _ in 0..ROUNDS {
        let before = state.fit.error;
        let mut next = state.clone();
        codes(data, &mut next);
        scales(data, &mut next);
        next.fit.error = data.error(&next.fit.values(&next.indices));
        if next.fit.error >= before {
            break;
        }
        *state = next;
    }
}

fn codes(data: &Moments, state: &mut Learned) {
    let table = state.fit.power.table();
    for part in &data.parts {
        let at = s![part.rows.clone(), part.cols.clone()];
        let clip = &state.fit.clip[part.rows.clone()];
        let old = state.indices.slice(at).to_owned();
        let rows: Vec<Vec<usize>> = (0..old.nrows())
            .into_par_iter()
            .map(|r| row(part, r, old.row(r), clip[r], &table))
            .collect();
        let mut to = state.indices.slice_mut(at);
        for (mut to, row) in to.rows_mut().into_iter().zip(rows) {
            to.iter_mut().zip(row).for_each(|(to, i)| *to = i);
        }
    }
}

fn row(part: &Part, r: usize, old: ArrayView1<usize>, clip: f64, table: &Table) -> Vec<usize> {
    let mut indices = old.to_vec();
    if clip <= 0.0 {
        return indices;
    }
    let value = |i: usize| clip * table.levels[i];
    let v: Array1<f64> = indices.iter().map(|&i| value(i)).collect();
    let mut g = part.h.dot(&v) - part.t.row(r);
    for _ in 0..SWEEPS {
        let mut moved = false;
        for j in 0..indices.len() {
            let curve = part.h[(j, j)];
            if curve <= 0.0 {
                continue;
            }
            let now = value(indices[j]);
            let next = table.index((now - g[j] / curve) / clip);
            if next != indices[j] {
                let by = value(next) - now;
                // The vertex says which level is best; that rounding may not turn a tie into a step to and fro.
                if by * (2.0 * g[j] + by * curve) < -1e-12 * curve * clip * clip {
                    g.scaled_add(by, &part.h.row(j));
                    indices[j] = next;
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    indices
}

fn scales(data: &Moments, state: &mut Learned) {
    let levels = state.fit.power.table().levels;
    let m = state.indices.nrows();
    let (mut cross, mut square) = (vec![0.0; m], vec![0.0; m]);
    for part in &data.parts {
        for (r, c) in part.rows.clone().enumerate() {
            let row = state.indices.slice(s![c, part.cols.clone()]);
            let l: Array1<f64> = row.iter().map(|&i| levels[i]).collect();
            cross[c] += l.dot(&part.t.row(r));
            square[c] += l.dot(&part.h.dot(&l));
        }
    }
    let best = |rows: std::ops::Range<usize>| -> Option<f64> {
        let (x, y): (f64, f64) = (cross[rows.clone()].iter().sum(), square[rows].iter().sum());
        (x > 0.0 && y > 0.0 && (x / y).is_finite()).then(|| x / y)
    };
    let clip = &mut state.fit.clip;
    match state.fit.per_tensor {
        true => {
            if let Some(scale) = best(0..m) {
                clip.fill(scale);
            }
        }
        false => {
            for (c, clip) in clip.iter_mut().enumerate().filter(|(_, v)| **v > 0.0) {
                *clip = best(c..c + 1).unwrap_or(*clip);
            }
        }
    }
}
