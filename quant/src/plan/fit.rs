//! Placement of blocks with lifetimes (dynamic storage allocation), deterministic and bounded.
//!
//! First-fit in several orders gives a good height; where that is above the lower bound, a depth-first search tries to
//! fit everything under a target, placing each block at an edge of a free gap, until its budget is used up.

use std::cmp::Reverse;

/// A storage: size in words, first and last time (both included) at which it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub size: usize,
    pub first: usize,
    pub last: usize,
}

impl Block {
    fn meets(&self, other: &Block) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Offsets in words, one per block, and the height they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub offsets: Vec<usize>,
    pub height: usize,
}

/// Gaps that one depth-first search may look at.
const BUDGET: usize = 20_000;

/// Most words alive at one time: no placement is lower.
pub fn bound(blocks: &[Block]) -> usize {
    // The sum only rises where a block begins.
    let alive = |t: usize| {
        blocks
            .iter()
            .filter(|b| b.first <= t && t <= b.last)
            .map(|b| b.size)
            .sum()
    };
    blocks.iter().map(|b| alive(b.first)).max().unwrap_or(0)
}

/// Place `blocks` as low as the search finds.
pub fn place(blocks: &[Block]) -> Placement {
    let orders = orders(blocks);
    let neighbours: Vec<Vec<usize>> = blocks
        .iter()
        .enumerate()
        .map(|(i, a)| {
            (0..blocks.len())
                .filter(|&j| j != i && a.meets(&blocks[j]))
                .collect()
        })
        .collect();
    let search = Search { blocks, neighbours };
    let first_fits = orders.iter().map(|order| search.first_fit(order));
    let mut best = first_fits.min_by_key(|p| p.height).unwrap_or(Placement {
        offsets: Vec::new(),
        height: 0,
    });
    let least = bound(blocks);
    for part in [0, 1, 2, 4, 8] {
        // The bound itself, then an eighth, a quarter, half of the way up to the best so far.
        let target = least + (best.height - least) * part / 16;
        if target >= best.height {
            break;
        }
        if let Some(found) = orders.iter().find_map(|order| search.under(order, target)) {
            best = found;
            break;
        }
    }
    best
}

/// Orders in which blocks are worth placing: large first, long first, in time, backwards in time.
fn orders(blocks: &[Block]) -> Vec<Vec<usize>> {
    let life = |b: &Block| b.last - b.first + 1;
    let by = |key: fn(&Block, usize) -> [Reverse<usize>; 2]| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|&i| (key(&blocks[i], life(&blocks[i])), blocks[i].first, i));
        order
    };
    vec![
        by(|b, life| [Reverse(b.size), Reverse(life)]),
        by(|b, life| [Reverse(b.size * life), Reverse(b.size)]),
        by(|b, life| [Reverse(life), Reverse(b.size)]),
        by(|_, _| [Reverse(0), Reverse(0)]),
        by(|b, _| [Reverse(b.last), Reverse(b.size)]),
    ]
}

struct Search<'a> {
    blocks: &'a [Block],
    /// Blocks alive together with block i.
    neighbours: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// Free gaps for block `i` below `top`: pairs of start and end, ascending.
    fn gaps(&self, i: usize, offsets: &[Option<usize>], top: usize) -> Vec<(usize, usize)> {
        let placed = |&j: &usize| offsets[j].map(|off| (off, off + self.blocks[j].size));
        let mut taken: Vec<(usize, usize)> = self.neighbours[i].iter().filter_map(placed).collect();
        taken.sort_unstable();
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in taken.into_iter().chain([(top, top)]) {
            if start >= at && start - at >= self.blocks[i].size {
                gaps.push((at, start));
            }
            at = at.max(end);
        }
        gaps
    }

    fn first_fit(&self, order: &[usize]) -> Placement {
        let top = self.blocks.iter().map(|b| b.size).sum();
        let mut offsets = vec![None; self.blocks.len()];
        for &i in order {
            offsets[i] = self.gaps(i, &offsets, top).first().map(|gap| gap.0);
        }
        self.finish(&offsets)
    }

    fn finish(&self, offsets: &[Option<usize>]) -> Placement {
        let offsets: Vec<usize> = offsets.iter().map(|o| o.unwrap_or(0)).collect();
        let ends = offsets.iter().zip(self.blocks).map(|(o, b)| o + b.size);
        Placement {
            height: ends.max().unwrap_or(0),
            offsets,
        }
    }

    /// A placement no higher than `target`, if the search finds one.
    fn under(&self, order: &[usize], target: usize) -> Option<Placement> {
        let mut offsets = vec![None; self.blocks.len()];
        let mut budget = BUDGET;
        self.descend(order, target, &mut offsets, &mut budget)
            .then(|| self.finish(&offsets))
    }

    fn descend(
        &self,
        order: &[usize],
        target: usize,
        offsets: &mut Vec<Option<usize>>,
        budget: &mut usize,
    ) -> bool {
        let Some((&i, rest)) = order.split_first() else {
            return true;
        };
        let size = self.blocks[i].size;
        let gaps = self.gaps(i, offsets, target);
        let low = gaps.iter().map(|gap| gap.0);
        let high = gaps.iter().rev().map(|gap| gap.1 - size);
        let mut tried: Vec<usize> = Vec::new();
        for off in low.zip(high).flat_map(|(low, high)| [low, high]) {
            if tried.contains(&off) {
                continue;
            }
            tried.push(off);
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            offsets[i] = Some(off);
            if self.descend(rest, target, offsets, budget) {
                return true;
            }
        }
        offsets[i] = None;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    fn check(blocks: &[Block], p: &Placement) {
        for (i, a) in blocks.iter().enumerate() {
            assert!(p.offsets[i] + a.size <= p.height);
            for (j, b) in blocks.iter().enumerate().skip(i + 1) {
                let apart =
                    p.offsets[i] + a.size <= p.offsets[j] || p.offsets[j] + b.size <= p.offsets[i];
                assert!(
                    apart || a.last < b.first || b.last < a.first,
                    "blocks {i} and {j} overlap"
                );
            }
        }
        assert!(p.height >= bound(blocks));
    }

    #[test]
    fn random_lives_are_placed_without_overlap() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
        let (mut optimal, rounds) = (0, 200);
        for _ in 0..rounds {
            let n = rng.random_range(1..40);
            let blocks: Vec<Block> = (0..n)
                .map(|_| {
                    let first = rng.random_range(0..n);
                    Block {
                        size: rng.random_range(1..500),
                        first,
                        last: first + rng.random_range(0..5),
                    }
                })
                .collect();
            let p = place(&blocks);
            check(&blocks, &p);
            assert_eq!(p, place(&blocks));
            optimal += usize::from(p.height == bound(&blocks));
        }
        assert!(
            optimal * 10 >= rounds * 8,
            "only {optimal} of {rounds} placements reach the bound"
        );
    }

    #[test]
    fn chains_and_residual_chains_reach_the_bound() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(10);
        for round in 0..200 {
            let mut blocks: Vec<Block> = (0..30)
                .map(|i| Block {
                    size: rng.random_range(1..1000),
                    first: i,
                    last: i + 1,
                })
                .collect();
            if round % 2 == 1 {
                // Every third block also feeds a sum three operators later.
                blocks.iter_mut().step_by(3).for_each(|b| b.last += 2);
            }
            let p = place(&blocks);
            check(&blocks, &p);
            if round % 2 == 0 {
                assert_eq!(p.height, bound(&blocks), "{blocks:?}");
            }
        }
    }

    #[test]
    fn no_blocks_need_no_arena() {
        assert_eq!(
            place(&[]),
            Placement {
                offsets: vec![],
                height: 0
            }
        );
    }
}
