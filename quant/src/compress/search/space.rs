//! The configurations within a budget: cheapest, uniform, random, and the way back inside.

use super::{Budget, Costs, Gene, Genome, Problem, Scored, Unit};
use crate::Error;
use rand::Rng;
use std::collections::HashSet;

/// A problem and its budget, which at least one configuration fits.
pub struct Space<'a, P: ?Sized> {
    pub problem: &'a P,
    pub budget: Budget,
    cheapest: Genome,
}

/// Most uniform configurations: beyond that, those of the first groups.
const MOST_UNIFORM: usize = 512;

impl<'a, P: Problem + ?Sized> Space<'a, P> {
    /// Find out whether anything fits.
    ///
    /// # Errors
    /// A budget in a unit whose cost is not known; a budget that the cheapest configuration found exceeds.
    pub fn new(problem: &'a P, budget: Budget) -> Result<Space<'a, P>, Error> {
        if let Some(gene) = problem.genes().iter().find(|g| g.levels == 0) {
            return Err(Error::at(&gene.name, "nothing to choose from"));
        }
        let lowest: Genome = vec![0; problem.genes().len()];
        budget.excess(|unit| problem.cost(&lowest, unit))?;
        for (unit, most) in budget.limits() {
            let cost = |genome: &[u8]| problem.cost(genome, unit).unwrap_or(f64::MAX);
            let least = cost(&descend(problem.genes(), &lowest, cost));
            if least > most {
                let text = format!("nothing fits, the smallest configuration takes {least:.6}");
                return Err(Error::at(format!("budget {unit}={most}"), trim(&text)));
            }
        }
        let mut space = Space {
            problem,
            budget,
            cheapest: lowest,
        };
        space.cheapest = descend(problem.genes(), &space.cheapest, |g| space.excess(g));
        match space.fits(&space.cheapest) {
            true => Ok(space),
            false => Err(Error::input(
                "budget: every limit can be kept, but no configuration that keeps all of them was found",
            )),
        }
    }

    fn excess(&self, genome: &[u8]) -> f64 {
        let excess = self.budget.excess(|unit| self.problem.cost(genome, unit));
        excess.unwrap_or(f64::MAX)
    }

    /// Within the budget.
    pub fn fits(&self, genome: &[u8]) -> bool {
        self.excess(genome) == 0.0
    }

    /// Everything that is known about a configuration.
    pub fn scored(&self, genome: &[u8], loss: f64) -> Scored {
        let mut costs = Costs::default();
        for unit in Unit::ALL {
            if let Some(cost) = self.problem.cost(genome, unit) {
                costs.set(unit, cost);
            }
        }
        Scored {
            genome: genome.to_vec(),
            loss,
            costs,
        }
    }

    /// The configuration with the least loss; the first of equals.
    pub fn best(&self, genomes: &[Genome], losses: &[f64]) -> Option<Scored> {
        let pairs = genomes.iter().zip(losses);
        let (genome, &loss) = pairs.min_by(|a, b| a.1.total_cmp(b.1))?;
        Some(self.scored(genome, loss))
    }

    /// Uniform configurations within the budget: every combination of one level per group.
    pub fn uniform(&self) -> Vec<Genome> {
        let genes = self.problem.genes();
        let mut groups: Vec<(usize, u8)> = Vec::new();
        for gene in genes {
            match groups.iter_mut().find(|(group, _)| *group == gene.group) {
                Some((_, levels)) => *levels = gene.levels.max(*levels),
                None => groups.push((gene.group, gene.levels)),
            }
        }
        let mut found = vec![vec![0; genes.len()]];
        for (group, levels) in groups {
            if found.len() * usize::from(levels) > MOST_UNIFORM {
                break;
            }
            let with = |genome: &Genome, level: u8| {
                let of = |(gene, &old): (&Gene, &u8)| match gene.group == group {
                    true => level.min(gene.levels - 1),
                    false => old,
                };
                genes.iter().zip(genome).map(of).collect::<Genome>()
            };
            let levels = || 0..levels;
            found = found
                .iter()
                .flat_map(|genome| levels().map(move |level| with(genome, level)))
                .collect();
        }
        let mut seen = HashSet::new();
        found.retain(|genome| self.fits(genome) && seen.insert(genome.clone()));
        found
    }

    /// Any configuration: an average level first, then the level of each gene around it, so that all averages are seen.
    pub fn random(&self, rng: &mut impl Rng) -> Genome {
        let share: f64 = rng.random();
        let level = |gene: &Gene| match gene.ordered {
            true => (1..gene.levels)
                .map(|_| u8::from(rng.random_bool(share)))
                .sum(),
            false => rng.random_range(0..gene.levels),
        };
        self.problem.genes().iter().map(level).collect()
    }

    /// A random configuration within the budget.
    pub fn random_within(&self, rng: &mut impl Rng) -> Genome {
        let genome = self.random(rng);
        self.within(genome, rng)
    }

    /// Lower random levels until the budget is kept.
    pub fn within(&self, mut genome: Genome, rng: &mut impl Rng) -> Genome {
        let genes = self.problem.genes();
        while !self.fits(&genome) {
            let can = |i: &usize| genes[*i].ordered && genome[*i] > 0;
            let lower: Vec<usize> = (0..genes.len()).filter(can).collect();
            let Some(&i) = pick(&lower, rng) else {
                return self.cheapest.clone();
            };
            genome[i] -= 1;
        }
        genome
    }
}

/// An element at random.
pub fn pick<'a, T>(list: &'a [T], rng: &mut impl Rng) -> Option<&'a T> {
    match list.len() {
        0 => None,
        n => list.get(rng.random_range(0..n)),
    }
}

/// Gene by gene the level with the least `cost`, until nothing changes. For a sum over genes this is the least there is.
fn descend(genes: &[Gene], from: &[u8], cost: impl Fn(&[u8]) -> f64) -> Genome {
    let mut genome = from.to_vec();
    let mut best = cost(&genome);
    for _ in 0..=genes.len() {
        let before = best;
        for (i, gene) in genes.iter().enumerate() {
            for level in 0..gene.levels {
                let old = std::mem::replace(&mut genome[i], level);
                let new = cost(&genome);
                match new < best {
                    true => best = new,
                    false => genome[i] = old,
                }
            }
        }
        if best == before {
            break;
        }
    }
    genome
}

/// A number at the end of `text` without trailing zeros.
fn trim(text: &str) -> &str {
    text.trim_end_matches('0').trim_end_matches('.')
}
