//! Evolution with direct evaluation.
//!
//! ```text
//! parent = best uniform or random configuration within the budget
//! repeat: make offspring: a few levels up, others down until the budget is kept
//!         compare all of them on few samples, the survivors on more, ...
//!         the last survivors and the parent on all samples: the best is the next parent
//! ```
//! Source: Sieberling et al., "EvoPress", 2024, sections 3 and 4. Levels are paired whatever their layers weigh: what a
//! swap adds too much is taken away again in other layers, what it leaves unused may be spent by a later one.

use super::evaluate::{Evaluator, Halt};
use super::space::{Space, pick};
use super::{Found, Genome, Problem};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One comparison of a generation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Share of all samples that losses are taken from, above 0 and below 1.
    pub share: f64,
    /// Configurations that go on.
    pub survivors: usize,
}

/// Parameters of the evolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Evolve {
    pub generations: usize,
    /// Offspring of a generation: lambda.
    pub offspring: usize,
    /// Comparisons before the one on all samples.
    pub stages: Vec<Stage>,
    /// Random configurations within the budget that are evaluated first.
    pub randoms: usize,
}

impl Default for Evolve {
    fn default() -> Self {
        let stage = |share, survivors| Stage { share, survivors };
        Evolve {
            generations: 40,
            offspring: 16,
            stages: vec![stage(1.0 / 16.0, 4), stage(0.25, 2)],
            randoms: 20,
        }
    }
}

/// Fewest samples that a stage compares on: below that, losses are noise.
const LEAST_SAMPLES: usize = 32;
/// Most genes that differ between a parent and its offspring.
const MOST_CHANGES: usize = 10;
/// Attempts to make one child that is new and fits.
const ATTEMPTS: usize = 64;

impl Stage {
    fn samples(&self, all: usize) -> usize {
        ((all as f64 * self.share) as usize).max(LEAST_SAMPLES)
    }
}

impl Evolve {
    /// Numbers of samples of the stages that compare on fewer than `all`.
    pub(super) fn sample_counts(&self, all: usize) -> Vec<usize> {
        let counts = self.stages.iter().map(|stage| stage.samples(all));
        let mut counts: Vec<usize> = counts.filter(|&n| n < all).collect();
        counts.dedup();
        counts
    }

    pub(super) fn run<P: Problem + ?Sized>(
        &self,
        space: &Space<P>,
        evaluator: &mut Evaluator<P>,
        seed: u64,
        found: &mut Found,
    ) -> Result<(), Halt> {
        let all = space.problem.samples();
        if found.best.is_none() {
            let start = [space.within(vec![0; space.problem.genes().len()], &mut rng(seed, 0))];
            let losses = evaluator.losses("start", &start, all)?;
            found.take(space.best(&start, &losses));
        }
        for generation in 0..self.generations {
            evaluator.report("generations", generation, self.generations)?;
            let Some(parent) = found.best.clone() else {
                break;
            };
            let mut rng = rng(seed, 1 + generation as u64);
            let mut children: Vec<Genome> = Vec::new();
            for _ in 0..self.offspring {
                if let Some(child) = child(space, &parent.genome, &children, &mut rng) {
                    children.push(child);
                }
            }
            for stage in &self.stages {
                let samples = stage.samples(all);
                if samples < all && children.len() > stage.survivors {
                    let losses = evaluator.losses("generations", &children, samples)?;
                    children = least(children, &losses, stage.survivors);
                }
            }
            let losses = evaluator.losses("generations", &children, all)?;
            found.take(space.best(&children, &losses));
            found.history.extend(found.best.as_ref().map(|b| b.loss));
        }
        Ok(())
    }
}

/// A generator of its own for every generation.
fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// The `n` genomes with the least loss, in the order in which they were made.
fn least(genomes: Vec<Genome>, losses: &[f64], n: usize) -> Vec<Genome> {
    let mut order: Vec<usize> = (0..genomes.len()).collect();
    order.sort_by(|&a, &b| losses[a].total_cmp(&losses[b]).then(a.cmp(&b)));
    order.truncate(n);
    order.sort_unstable();
    order.into_iter().map(|i| genomes[i].clone()).collect()
}

/// A configuration within the budget that is neither `parent` nor one of `others`; `None` where none was found.
fn child<P: Problem + ?Sized>(
    space: &Space<P>,
    parent: &Genome,
    others: &[Genome],
    rng: &mut ChaCha8Rng,
) -> Option<Genome> {
    for _ in 0..ATTEMPTS {
        let mut child = parent.clone();
        let swaps = rng.random_range(1..=3).min(rng.random_range(1..=3));
        for _ in 0..swaps {
            change(space, &mut child, rng);
        }
        child = space.within(child, rng);
        let changes = parent.iter().zip(&child).filter(|(a, b)| a != b).count();
        if (1..=MOST_CHANGES).contains(&changes) && !others.contains(&child) {
            return Some(child);
        }
    }
    None
}

/// One level up and another down, one of the two, or another choice where choices have no order.
fn change<P: Problem + ?Sized>(space: &Space<P>, genome: &mut Genome, rng: &mut ChaCha8Rng) {
    let genes = space.problem.genes();
    let free: Vec<usize> = (0..genes.len()).filter(|&i| genes[i].levels > 1).collect();
    let Some(&first) = pick(&free, rng) else {
        return;
    };
    if !genes[first].ordered {
        let step = rng.random_range(1..genes[first].levels);
        genome[first] = (genome[first] + step) % genes[first].levels;
        return;
    }
    // A swap as often as one level alone.
    let (up, down) =
        [(true, true), (true, true), (true, false), (false, true)][rng.random_range(0..4_usize)];
    if up {
        let can = |i: &usize| genes[*i].ordered && genome[*i] + 1 < genes[*i].levels;
        let list: Vec<usize> = free.iter().copied().filter(can).collect();
        if let Some(&i) = pick(&list, rng) {
            genome[i] += 1;
        }
    }
    if down {
        let can = |i: &usize| genes[*i].ordered && genome[*i] > 0;
        let list: Vec<usize> = free.iter().copied().filter(can).collect();
        if let Some(&i) = pick(&list, rng) {
            genome[i] -= 1;
        }
    }
}
