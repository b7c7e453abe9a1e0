//! Search for a configuration of a network, layer by layer, within a budget.
//!
//! A [`Problem`] says what can be chosen, what a choice costs and how well it does; [`search`] finds a choice:
//!
//! - [`Method::Evolve`]: evolution with direct evaluation, (1 + lambda), offspring made by swaps of levels that keep the
//!   budget, compared on growing numbers of samples (Sieberling et al., EvoPress, 2024).
//! - [`Method::Predict`]: a small network learns the loss from random configurations, a genetic search asks it instead
//!   of the samples (Xu et al., EQ-Net, ICCV 2023, section 3.4), and its best answers are evaluated.
//!
//! Both return nothing outside of the budget, and nothing worse than the best uniform or random configuration that fits.
//! Everything random comes from the seed; threads change the time, not the answer.

mod artifact;
#[cfg(test)]
mod artifact_tests;
mod budget;
mod elastic;
mod evaluate;
mod evolve;
mod genetic;
mod guided;
mod instructions;
mod predictor;
mod rank;
mod space;
pub mod supernet;
#[cfg(test)]
mod tests;

pub use artifact::{Artifacts, Form, Sizes};
pub use budget::{Budget, Costs, Unit};
pub use elastic::Elastic;
pub use evaluate::{Evaluation, Event};
pub use evolve::{Evolve, Stage};
pub use guided::Guided;
pub use instructions::{InstructionTable, LayerInstructions};
pub use predictor::Agreement;
pub use rank::{kendall, pearson};

use crate::Error;
use crate::train::Control;
use evaluate::{Evaluator, Halt};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use space::Space;

/// One level per gene.
pub type Genome = Vec<u8>;

/// A decision: one of several levels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gene {
    /// What is decided, for reports: `conv1 weight bits`.
    pub name: String,
    /// Number of levels, at least 1.
    pub levels: u8,
    /// Genes of one group take the same level in a uniform configuration, or their last one where they have fewer.
    pub group: usize,
    /// Levels are steps of one quantity, the cheapest first; otherwise they are only different.
    pub ordered: bool,
}

/// What is searched.
pub trait Problem: Sync {
    /// The decisions.
    fn genes(&self) -> &[Gene];

    /// What a configuration costs; `None` where this is not known.
    fn cost(&self, genome: &[u8], unit: Unit) -> Option<f64>;

    /// Number of samples that a loss can be taken from.
    fn samples(&self) -> usize;

    /// Mean loss on the first `samples` samples; the same for the same arguments.
    ///
    /// # Errors
    /// What makes an evaluation impossible.
    fn loss(&self, genome: &[u8], samples: usize) -> Result<f64, Error>;

    /// The configuration as a predictor sees it: by default one number per level of every gene, 1 where it is chosen.
    fn features(&self, genome: &[u8]) -> Vec<f32> {
        let one_hot = |(gene, &level): (&Gene, &u8)| {
            (0..gene.levels).map(move |l| f32::from(u8::from(l == level)))
        };
        self.genes().iter().zip(genome).flat_map(one_hot).collect()
    }
}

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    Evolve(Evolve),
    Predict(Guided),
}

impl Method {
    /// Numbers of samples that losses are taken from, of `all`; `all` last.
    pub fn sample_counts(&self, all: usize) -> Vec<usize> {
        let mut counts = match self {
            Method::Evolve(how) => how.sample_counts(all),
            Method::Predict(_) => Vec::new(),
        };
        counts.push(all);
        counts
    }
}

/// A configuration that was evaluated on all samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    pub genome: Genome,
    pub loss: f64,
    pub costs: Costs,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The best configuration; `None` only where the search was stopped before it had one.
    pub best: Option<Scored>,
    /// The best uniform configuration within the budget, where there is one.
    pub uniform: Option<Scored>,
    /// The best random configuration within the budget, and the mean loss of all of them.
    pub random: Option<(Scored, f64)>,
    /// Least loss after each generation.
    pub history: Vec<f64>,
    /// How well the predictor orders configurations that it has not seen.
    pub agreement: Option<Agreement>,
    /// Every evaluation; given to [`search`] again, none is repeated.
    pub evaluations: Vec<Evaluation>,
    /// Every configuration within the budget that was evaluated on all samples.
    pub points: Vec<Scored>,
    /// False after [`Control::Stop`].
    pub finished: bool,
}

/// Search `problem` for the least loss within `budget`.
///
/// `known` are evaluations of an interrupted search of the same problem: with them it takes the same way faster.
///
/// # Errors
/// A budget in a unit whose cost is not known, a budget that no configuration fits, an evaluation that fails.
pub fn search<P: Problem + ?Sized>(
    problem: &P,
    budget: &Budget,
    method: &Method,
    seed: u64,
    known: &[Evaluation],
    watch: &mut dyn FnMut(Event) -> Control,
) -> Result<Found, Error> {
    let space = Space::new(problem, *budget)?;
    let mut found = Found {
        best: None,
        uniform: None,
        random: None,
        history: Vec::new(),
        agreement: None,
        evaluations: Vec::new(),
        points: Vec::new(),
        finished: true,
    };
    let mut evaluator = Evaluator::new(problem, known, watch);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let ended =
        baselines(&space, &mut evaluator, method, &mut rng, &mut found).and_then(
            |()| match method {
                Method::Evolve(how) => how.run(&space, &mut evaluator, seed, &mut found),
                Method::Predict(how) => how.run(&space, &mut evaluator, seed, &mut found),
            },
        );
    match ended {
        Ok(()) => {}
        Err(Halt::Stopped) => found.finished = false,
        Err(Halt::Failed(e)) => return Err(e),
    }
    found.points = evaluator
        .complete()
        .filter(|(genome, _)| space.fits(genome))
        .map(|(genome, loss)| space.scored(genome, loss))
        .collect();
    found.evaluations = evaluator.all();
    Ok(found)
}

/// The uniform and the random configurations, which the result is measured by.
fn baselines<P: Problem + ?Sized>(
    space: &Space<P>,
    evaluator: &mut Evaluator<P>,
    method: &Method,
    rng: &mut ChaCha8Rng,
    found: &mut Found,
) -> Result<(), Halt> {
    let all = space.problem.samples();
    let uniform = space.uniform();
    let losses = evaluator.losses("uniform configurations", &uniform, all)?;
    found.uniform = space.best(&uniform, &losses);
    found.take(found.uniform.clone());
    let randoms = match method {
        Method::Evolve(how) => how.randoms,
        Method::Predict(_) => 0,
    };
    let random: Vec<Genome> = (0..randoms).map(|_| space.random_within(rng)).collect();
    let losses = evaluator.losses("random configurations", &random, all)?;
    found.note_random(space, &random, &losses);
    Ok(())
}

impl Found {
    /// Keep `scored` if nothing better is there.
    fn take(&mut self, scored: Option<Scored>) {
        let better = |new: &Scored| self.best.as_ref().is_none_or(|old| new.loss < old.loss);
        if let Some(new) = scored.filter(better) {
            self.best = Some(new);
        }
    }

    /// Random configurations within the budget, evaluated on all samples.
    fn note_random<P: Problem + ?Sized>(
        &mut self,
        space: &Space<P>,
        genomes: &[Genome],
        losses: &[f64],
    ) {
        if let Some(best) = space.best(genomes, losses) {
            self.take(Some(best.clone()));
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            self.random = Some((best, mean));
        }
    }
}
