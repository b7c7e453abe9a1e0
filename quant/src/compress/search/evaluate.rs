//! Losses of configurations: each once, several at a time.

use super::{Genome, Problem};
use crate::Error;
use crate::train::Control;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A loss that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub genome: Genome,
    /// Number of samples.
    pub samples: usize,
    pub loss: f64,
}

/// What a search reports while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What is being done.
    pub stage: &'a str,
    /// Steps of the stage that are done, and all of them.
    pub done: usize,
    pub total: usize,
    /// Least loss on all samples so far.
    pub best: Option<f64>,
}

/// Why a search ended early.
pub enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(e: Error) -> Halt {
        Halt::Failed(e)
    }
}

/// Configurations between two reports.
const CHUNK: usize = 8;

/// Evaluates configurations, remembers their losses.
pub struct Evaluator<'a, P: ?Sized> {
    problem: &'a P,
    watch: &'a mut dyn FnMut(Event) -> Control,
    known: HashMap<(Genome, usize), f64>,
    /// Those that this search asked for, in that order and as a set.
    asked: Vec<(Genome, usize)>,
    seen: HashSet<(Genome, usize)>,
}

impl<'a, P: Problem + ?Sized> Evaluator<'a, P> {
    /// An evaluator that knows `known`.
    pub fn new(
        problem: &'a P,
        known: &[Evaluation],
        watch: &'a mut dyn FnMut(Event) -> Control,
    ) -> Evaluator<'a, P> {
        let fits = |e: &&Evaluation| e.genome.len() == problem.genes().len();
        let pair = |e: &Evaluation| ((e.genome.clone(), e.samples), e.loss);
        Evaluator {
            problem,
            watch,
            known: known.iter().filter(fits).map(pair).collect(),
            asked: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// Losses of `genomes` on the first `samples` samples.
    ///
    /// A loss that is not finite counts as the largest number.
    pub fn losses(
        &mut self,
        stage: &str,
        genomes: &[Genome],
        samples: usize,
    ) -> Result<Vec<f64>, Halt> {
        let mut new: Vec<&Genome> = Vec::new();
        for genome in genomes {
            let key = (genome.clone(), samples);
            if !self.known.contains_key(&key) && !new.contains(&genome) {
                new.push(genome);
            }
        }
        let mut done = 0;
        for chunk in new.chunks(CHUNK) {
            let evaluated = chunk
                .par_iter()
                .map(|genome| self.problem.loss(genome, samples))
                .collect::<Result<Vec<f64>, Error>>()?;
            for (genome, loss) in chunk.iter().zip(evaluated) {
                let loss = if loss.is_finite() { loss } else { f64::MAX };
                self.known.insert(((*genome).clone(), samples), loss);
                self.ask((*genome).clone(), samples);
            }
            done += chunk.len();
            self.report(stage, done, new.len())?;
        }
        let mut losses = Vec::with_capacity(genomes.len());
        for genome in genomes {
            losses.push(self.known[&(genome.clone(), samples)]);
            self.ask(genome.clone(), samples);
        }
        Ok(losses)
    }

    fn ask(&mut self, genome: Genome, samples: usize) {
        let key = (genome, samples);
        if self.seen.insert(key.clone()) {
            self.asked.push(key);
        }
    }

    /// Tell what is done; [`Halt::Stopped`] where that is the wish.
    pub fn report(&mut self, stage: &str, done: usize, total: usize) -> Result<(), Halt> {
        let best = self.complete().map(|(_, loss)| loss).min_by(f64::total_cmp);
        let event = Event {
            stage,
            done,
            total,
            best,
        };
        match (self.watch)(event) {
            Control::Continue => Ok(()),
            Control::Stop => Err(Halt::Stopped),
        }
    }

    /// Configurations that this search evaluated on all samples, with their losses.
    pub fn complete(&self) -> impl Iterator<Item = (&Genome, f64)> {
        let all = self.problem.samples();
        let on_all = self.asked.iter().filter(move |(_, n)| *n == all);
        on_all.map(|key| (&key.0, self.known[key]))
    }

    /// Every evaluation of this search, in order; then those that were known and not asked for.
    pub fn all(&self) -> Vec<Evaluation> {
        let unasked = self.known.keys().filter(|key| !self.seen.contains(key));
        let mut rest: Vec<&(Genome, usize)> = unasked.collect();
        rest.sort();
        let of = |key: &(Genome, usize)| Evaluation {
            genome: key.0.clone(),
            samples: key.1,
            loss: self.known[key],
        };
        self.asked.iter().chain(rest).map(of).collect()
    }
}
