//! Genetic search on a cheap score.
//!
//! Source: Xu et al., "EQ-Net", ICCV 2023, section 3.4, with the parameters of its published code: the best quarter are
//! parents and stay, one half of the children are mutations of a parent, the other half uniform crossovers of two.

use super::space::{Space, pick};
use super::{Genome, Problem};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Parameters of the genetic search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Genetic {
    pub population: usize,
    pub generations: usize,
    /// Share of the population that are parents.
    pub parents: f64,
    /// Probability that a gene of a mutation is drawn anew.
    pub mutation: f64,
}

impl Default for Genetic {
    fn default() -> Self {
        Genetic {
            population: 100,
            generations: 100,
            parents: 0.25,
            mutation: 0.1,
        }
    }
}

/// Attempts to make a child that fits and is new, before it is brought within the budget.
const ATTEMPTS: usize = 32;

impl Genetic {
    /// Search for the least score within the budget, from `start`, which fits it. Gives the last population, each
    /// configuration once, best first, with scores.
    ///
    /// # Errors
    /// What `score` or `watch`, called after every generation with the number of those done, say.
    pub fn run<P: Problem + ?Sized, E>(
        &self,
        space: &Space<P>,
        start: Vec<Genome>,
        rng: &mut ChaCha8Rng,
        mut score: impl FnMut(&[Genome]) -> Result<Vec<f64>, E>,
        mut watch: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Vec<(Genome, f64)>, E> {
        let mut seen: HashSet<Genome> = HashSet::new();
        let mut fresh: Vec<Genome> = Vec::new();
        for genome in start {
            if seen.insert(genome.clone()) {
                fresh.push(genome);
            }
        }
        for _ in 0..self.population * ATTEMPTS {
            if fresh.len() >= self.population {
                break;
            }
            let genome = space.random_within(rng);
            if seen.insert(genome.clone()) {
                fresh.push(genome);
            }
        }
        let mut population: Vec<(Genome, f64)> = Vec::new();
        for generation in 0..=self.generations {
            let scores = score(&fresh)?;
            population.extend(fresh.drain(..).zip(scores));
            population.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
            population.truncate(self.population);
            watch(generation)?;
            if generation == self.generations {
                break;
            }
            let count = (self.population as f64 * self.parents).ceil() as usize;
            population.truncate(count.max(2));
            let parents: Vec<&Genome> = population.iter().map(|(genome, _)| genome).collect();
            let wanted = self.population.saturating_sub(parents.len());
            for i in 0..wanted {
                let mutate = i < wanted / 2;
                if let Some(child) = self.child(space, &parents, mutate, &seen, rng) {
                    seen.insert(child.clone());
                    fresh.push(child);
                }
            }
        }
        Ok(population)
    }

    /// A new configuration within the budget; `None` where chance gave none.
    fn child<P: Problem + ?Sized>(
        &self,
        space: &Space<P>,
        parents: &[&Genome],
        mutate: bool,
        seen: &HashSet<Genome>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Genome> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let child = match mutate {
                true => self.mutation(space, pick(parents, rng)?, rng),
                false => crossover(pick(parents, rng)?, pick(parents, rng)?, rng),
            };
            if seen.contains(&child) {
                continue;
            }
            if space.fits(&child) {
                return Some(child);
            }
            last = Some(child);
        }
        let child = space.within(last?, rng);
        (!seen.contains(&child)).then_some(child)
    }

    fn mutation<P: Problem + ?Sized>(
        &self,
        space: &Space<P>,
        parent: &Genome,
        rng: &mut ChaCha8Rng,
    ) -> Genome {
        let mut child = parent.clone();
        for (gene, level) in space.problem.genes().iter().zip(&mut child) {
            if rng.random_bool(self.mutation) {
                *level = rng.random_range(0..gene.levels);
            }
        }
        child
    }
}

/// Every gene from one of the two.
fn crossover(a: &Genome, b: &Genome, rng: &mut ChaCha8Rng) -> Genome {
    let either = |(&x, &y)| if rng.random_bool(0.5) { x } else { y };
    a.iter().zip(b).map(either).collect()
}
