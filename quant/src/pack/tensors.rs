//! Rows of tensors. A tensor that has another scale or zero point in a variant is a view of its storage.

use super::tables::Blobs;
use super::{index, long};
use crate::Error;
use crate::lower::{Lowered, Place, Tensor};
use crate::plan::{Plan, Spot};
use elastiq::format::{DTYPE_I8, DTYPE_I32, NONE, PLACE_ARENA, PLACE_CONST, TensorRow};

/// Per network the row of each of its tensors: the first that is equal, in this or an earlier network.
pub fn places(nets: &[(&str, &Lowered)]) -> Vec<Vec<usize>> {
    let mut rows: Vec<(usize, usize)> = Vec::new();
    let mut places = Vec::new();
    for (v, (_, net)) in nets.iter().enumerate() {
        let mut place = Vec::new();
        for (t, tensor) in net.tensors.iter().enumerate() {
            let same = |&(u, other): &(usize, usize)| {
                let other_tensor = &nets[u].1.tensors[other];
                // Tensors of one network have rows of their own.
                u != v
                    && other == t
                    && (other_tensor.quant, &other_tensor.place) == (tensor.quant, &tensor.place)
            };
            let known = rows.iter().position(same);
            place.push(known.unwrap_or(rows.len()));
            if known.is_none() {
                rows.push((v, t));
            }
        }
        places.push(place);
    }
    places
}

/// Rows behind `places`, and their names.
pub fn rows(
    nets: &[(&str, &Lowered)],
    places: &[Vec<usize>],
    plan: &Plan,
    blobs: &mut Blobs,
) -> Result<(Vec<TensorRow>, Vec<String>), Error> {
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    for ((name, net), place) in nets.iter().zip(places) {
        for (t, tensor) in net.tensors.iter().enumerate() {
            if place[t] < rows.len() {
                continue;
            }
            // The networks have the same tensors, the first of them the storages.
            let owner = match tensor.place {
                Place::Const(_) => rows.len(),
                _ => net.root(t),
            };
            rows.push(row(plan, tensor, (rows.len(), owner), blobs)?);
            names.push(match rows.len() > nets[0].1.tensors.len() {
                true => format!("{} of {name}", tensor.name),
                false => tensor.name.clone(),
            });
        }
    }
    Ok((rows, names))
}

/// The row with index `i`, whose bytes belong to row `owner`.
fn row(
    plan: &Plan,
    tensor: &Tensor,
    (i, owner): (usize, usize),
    blobs: &mut Blobs,
) -> Result<TensorRow, Error> {
    let spot = plan.spots.get(owner).copied().flatten().unwrap_or(Spot {
        off: 0,
        first: 0,
        last: 0,
    });
    let (off, place) = match &tensor.place {
        Place::Const(codes) => {
            let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
            (blobs.add(&bytes)?.off, PLACE_CONST)
        }
        Place::Arena | Place::View(_) => (long(spot.off)?.into(), PLACE_ARENA),
    };
    Ok(TensorRow {
        dims: tensor.dims.map(Into::into),
        off,
        scale_bits: tensor.quant.scale.to_bits().into(),
        first: index(spot.first)?.into(),
        last: index(spot.last)?.into(),
        root: if owner == i { NONE } else { index(owner)? }.into(),
        zero: tensor.quant.zero,
        dtype: if tensor.width == 4 {
            DTYPE_I32
        } else {
            DTYPE_I8
        },
        place,
        pad: [0; 3],
    })
}
