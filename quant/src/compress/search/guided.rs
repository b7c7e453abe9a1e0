//! Search that asks a predictor, and evaluates what it recommends.

use super::evaluate::{Evaluator, Halt};
use super::genetic::Genetic;
use super::predictor::Predictor;
use super::space::Space;
use super::{Found, Genome, Problem};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Parameters of the predictor and of the genetic search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guided {
    /// Configurations that are evaluated for the predictor, every second one of them within the budget.
    pub pairs: usize,
    /// Passes over them.
    pub epochs: usize,
    pub population: usize,
    pub generations: usize,
    /// Share of the population that are parents.
    pub parents: f64,
    /// Probability that a gene of a mutation is drawn anew.
    pub mutation: f64,
    /// Configurations of the last population that are evaluated.
    pub evaluated: usize,
}

impl Default for Guided {
    fn default() -> Self {
        Guided {
            pairs: 400,
            epochs: 100,
            population: 100,
            generations: 100,
            parents: 0.25,
            mutation: 0.1,
            evaluated: 10,
        }
    }
}

/// Fewest pairs that a predictor can learn from and be measured with.
const LEAST_PAIRS: usize = 10;
/// Attempts per pair to draw a configuration that is new.
const ATTEMPTS: usize = 16;

impl Guided {
    pub(super) fn run<P: Problem + ?Sized>(
        &self,
        space: &Space<P>,
        evaluator: &mut Evaluator<P>,
        seed: u64,
        found: &mut Found,
    ) -> Result<(), Halt> {
        let all = space.problem.samples();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let drawn = self.draw(space, &mut rng);
        let losses = evaluator.losses("pairs", &drawn, all)?;
        let within = |(genome, _): &(&Genome, &f64)| space.fits(genome);
        let (fit, fit_losses): (Vec<Genome>, Vec<f64>) = drawn
            .iter()
            .zip(&losses)
            .filter(within)
            .map(|(genome, &loss)| (genome.clone(), loss))
            .unzip();
        found.note_random(space, &fit, &fit_losses);
        if drawn.len() >= LEAST_PAIRS {
            let features = |genome: &Genome| space.problem.features(genome);
            let x: Vec<Vec<f32>> = drawn.iter().map(features).collect();
            let (predictor, agreement) =
                Predictor::learn(&x, &losses, self.epochs, seed, |done| {
                    evaluator.report("predictor", done, self.epochs)
                })?;
            found.agreement = Some(agreement);
            let genetic = Genetic {
                population: self.population.max(2),
                generations: self.generations,
                parents: self.parents,
                mutation: self.mutation,
            };
            let score = |genomes: &[Genome]| -> Result<Vec<f64>, Halt> {
                Ok(predictor.predict(&genomes.iter().map(features).collect::<Vec<_>>()))
            };
            let ranked = genetic.run(space, fit, &mut rng, score, |done| {
                evaluator.report("generations", done, self.generations)
            })?;
            let best: Vec<Genome> = ranked
                .into_iter()
                .take(self.evaluated)
                .map(|(genome, _)| genome)
                .collect();
            let losses = evaluator.losses("recommended configurations", &best, all)?;
            found.take(space.best(&best, &losses));
        }
        found.history.extend(found.best.as_ref().map(|b| b.loss));
        Ok(())
    }

    /// Different random configurations, about one half of them brought within the budget.
    fn draw<P: Problem + ?Sized>(&self, space: &Space<P>, rng: &mut ChaCha8Rng) -> Vec<Genome> {
        let mut seen = HashSet::new();
        let mut drawn = Vec::new();
        for attempt in 0..self.pairs.saturating_mul(ATTEMPTS) {
            if drawn.len() >= self.pairs {
                break;
            }
            let genome = match attempt % 2 {
                0 => space.random_within(rng),
                _ => space.random(rng),
            };
            if seen.insert(genome.clone()) {
                drawn.push(genome);
            }
        }
        drawn
    }
}
