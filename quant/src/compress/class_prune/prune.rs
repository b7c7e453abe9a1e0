//! The rounds of a pruning, and of the networks that its result is compared with.

use super::Control;
use super::assess::Assessor;
use super::critical::Critical;
use super::learner::{Learner, Lesson, Progress};
use super::loss::Loss;
use super::mask::{Mask, clear};
use super::report::{Report, RoundReport, Row, RowReport};
use super::settings::{Schedule, Score, Settings, Structure};
use super::small::small;
use super::split::{Test, Train, Val};
use super::state::{self, Header, Vectors};
use crate::Error;
use crate::ir::{self, Graph, passes};
use crate::train::var::{host, vector};
use crate::train::{Network, Run};

/// What a pruning reports while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A round of a row begins.
    Begin { row: Row, round: usize },
    /// After each mini-batch: mean loss of the epoch so far.
    Step {
        epoch: usize,
        epochs: usize,
        batch: usize,
        batches: usize,
        loss: f64,
    },
    /// After each round.
    Round { row: Row, report: &'a RoundReport },
}

/// Who is told how a pruning goes.
pub trait Watch {
    /// Answers whether to go on.
    fn event(&mut self, event: &Event) -> Control;

    /// Instructions of one run of an artifact, where they are measured.
    ///
    /// # Errors
    /// A measurement that failed ends the pruning.
    fn instructions(&mut self, artifact: &[u8]) -> Result<Option<u64>, Error> {
        let _ = artifact;
        Ok(None)
    }
}

/// What is pruned, with which data.
pub struct Job<'a> {
    pub network: &'a Network,
    pub settings: &'a Settings,
    pub train: &'a Train,
    pub val: &'a Val,
    pub test: Option<&'a Test>,
    /// Processor, and folder of the state.
    pub run: &'a Run,
}

/// Result of a pruning.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// The network of the last round within the budget, weights that are gone set to zero.
    pub graph: Graph,
    pub report: Report,
}

/// Prune. `None` after [`Control::Stop`].
///
/// # Errors
/// Settings, data, network or saved state that do not fit; a loss that is not finite.
pub fn prune(job: &Job, watch: &mut dyn Watch) -> Result<Option<Pruned>, Error> {
    job.settings.check()?;
    let critical = Critical::new(job.network, &job.settings.critical)?;
    let (train, val) = (job.train, job.val);
    let checksum = |t: &Test| t.data.checksum();
    let data = [
        train.data.checksum(),
        val.data.checksum(),
        job.test.map_or(0, checksum),
    ];
    let params = job.network.params().iter();
    let params = params.map(|p| (p.name.clone(), p.shape.clone()));
    let rates = job.settings.rates_reported();
    let mut work = Work {
        header: Header::new(job.settings, data, params.collect()),
        vectors: Vectors::default(),
        assessor: Assessor::new(&critical, rates, train, val, job.test),
        critical: &critical,
        job,
    };
    match (&job.run.checkpoint, job.run.resume) {
        (Some(folder), true) => {
            (work.header, work.vectors) = state::load(folder, &work.header)?;
        }
        (None, true) => return Err(Error::input("to resume, name the folder of the state")),
        (_, false) => {}
    }
    let rows = match job.settings.baselines {
        true => &Row::ALL[..],
        false => &Row::ALL[..1],
    };
    for &row in &rows[work.header.rows.len()..] {
        if work.row(row, watch)? == Control::Stop {
            return Ok(None);
        }
    }
    let tests = job.test.map_or(0, |t| t.labels().len());
    Ok(Some(Pruned {
        graph: job.network.with_params(&work.vectors.result),
        report: Report {
            settings: job.settings.clone(),
            samples: [train.labels().len(), val.labels().len(), tests],
            rows: work.header.rows,
        },
    }))
}

struct Work<'a> {
    job: &'a Job<'a>,
    critical: &'a Critical,
    assessor: Assessor<'a>,
    header: Header,
    vectors: Vectors,
}

impl Work<'_> {
    fn row(&mut self, row: Row, watch: &mut dyn Watch) -> Result<Control, Error> {
        let job = self.job;
        let weights = self.header.result.as_ref().map_or(0, |(_, w)| *w);
        let narrow = match row {
            Row::SmallDense => Some(small(job.network, weights, job.settings.seed)?),
            _ => None,
        };
        let network = narrow.as_ref().unwrap_or(job.network);
        let settings = &job.settings;
        let learner = Learner::new(
            network,
            self.critical,
            settings,
            job.run.place,
            job.train,
            job.val,
        )?;
        let mut resumed = match self.header.current {
            Some(_) => Some(self.resumed(&learner)?),
            None => None,
        };
        if resumed.is_none() {
            self.vectors.first = network.initial();
            self.header.mask = Some(learner.units.all());
            self.header.current = Some(RowReport {
                row,
                rounds: Vec::new(),
                chosen: 0,
            });
        }
        loop {
            let round = self.rounds();
            let lesson = self.lesson(row, round, &learner);
            watch.event(&Event::Begin { row, round });
            let mut at = match resumed.take() {
                Some(at) => at,
                None => self.begin(row, round, &learner),
            };
            while at.epoch < lesson.epochs {
                if learner.epoch(&lesson, &self.vectors.first, &mut at, watch)? == Control::Stop {
                    return Ok(Control::Stop);
                }
                if round == 0 && at.epoch == settings.rewind {
                    self.vectors.first = at.params.iter().map(|p| host(p.clone())).collect();
                }
                self.save(&at)?;
            }
            let report = self.finish(row, round, &learner, &at, watch)?;
            let event = Event::Round {
                row,
                report: &report,
            };
            let control = watch.event(&event);
            if !self.next(row, &learner, &lesson, at, report) {
                break;
            }
            if control == Control::Stop {
                return Ok(Control::Stop);
            }
        }
        self.header.ramp = None;
        self.header.rows.extend(self.header.current.take());
        Ok(Control::Continue)
    }

    fn rounds(&self) -> usize {
        self.header.current.as_ref().map_or(0, |c| c.rounds.len())
    }

    /// How round `round` of a row is trained.
    fn lesson(&self, row: Row, round: usize, learner: &Learner) -> Lesson {
        let settings = self.job.settings;
        let plain = Loss::plain(self.critical.total());
        let [first, later] = settings.epochs;
        let stream = ((row as u64) << 16) | round as u64;
        let mut lesson = Lesson {
            loss: plain,
            epochs: if round == 0 { first } else { later },
            stream,
            ramp: None,
            score: settings.score,
        };
        match row {
            Row::ClassDependent => {
                let l = settings.loss;
                let gamma = l.gamma[usize::from(round > 0)];
                let counts = learner.class_counts();
                lesson.loss = Loss::new(&counts, self.critical, l.balance, gamma, l.ranking);
                lesson.ramp.clone_from(&self.header.ramp);
            }
            Row::Plain => {}
            Row::Gradual => {
                lesson.epochs = first + later;
                lesson.score = Score::Magnitude;
                let goal = self.header.result.as_ref().map(|(units, _)| units.clone());
                lesson.ramp = goal.map(|goal| [learner.units.counts(), goal]);
            }
            Row::SmallDense => lesson.epochs = first + later,
        }
        lesson
    }

    fn begin(&self, row: Row, round: usize, learner: &Learner) -> Progress {
        let mask = self.header.mask.clone().expect("rows begin with a mask");
        let goes_on = row == Row::ClassDependent
            && self.job.settings.schedule == Schedule::Gradual
            && round > 0;
        let start = match goes_on {
            true => &self.vectors.params,
            false => &self.vectors.first,
        };
        learner.begin(start.clone(), mask)
    }

    /// Figures of a round.
    fn finish(
        &mut self,
        row: Row,
        round: usize,
        learner: &Learner,
        at: &Progress,
        watch: &mut dyn Watch,
    ) -> Result<RoundReport, Error> {
        let found = self.assessor.assess(learner, &at.best_params);
        let instructions = match &found.integers {
            Ok(i) => watch.instructions(&i.bytes)?,
            Err(_) => None,
        };
        let sizes = self.sizes(learner, &at.mask);
        let best = at.best.map_or(0, |b| b.epoch);
        let mut report = RoundReport::new(found, round, best, sizes, instructions);
        if let (Row::ClassDependent, Some(budget)) = (row, self.job.settings.budget) {
            let rounds = self.header.current.as_ref().map(|c| &c.rounds);
            let first = rounds.and_then(|r| r.first()).unwrap_or(&report);
            let most = first.val.missed(budget.rate) + budget.extra;
            report.within_budget = Some(report.val.missed(budget.rate) <= most);
        }
        Ok(report)
    }

    /// Weights that remain, those of the network as it is trained, and those of the dense one.
    fn sizes(&self, learner: &Learner, mask: &Mask) -> [usize; 3] {
        let count = |graph: &Graph| ir::stats(graph).weights as usize;
        let kept = match learner.settings.structure {
            Structure::Element | Structure::Block => learner.units.kept(mask),
            // With a channel go the weights that read it.
            Structure::Channel => {
                let network = learner.network();
                let mut ones = network.initial();
                ones.iter_mut().flatten().for_each(|v| *v = 1.0);
                clear(&mut ones, &learner.elements(mask));
                count(&passes::optimize(network.with_params(&ones)).0)
            }
        };
        let own = count(learner.network().graph());
        [kept, own, count(self.job.network.graph())]
    }

    /// Take up a finished round; false where it is the last of the row.
    fn next(
        &mut self,
        row: Row,
        learner: &Learner,
        lesson: &Lesson,
        at: Progress,
        report: RoundReport,
    ) -> bool {
        let settings = self.job.settings;
        let exceeded = report.within_budget == Some(false);
        let kept = report.nonzeros;
        let current = self.header.current.as_mut().expect("a row is under way");
        current.rounds.push(report);
        self.header.epoch = 0;
        if exceeded {
            return false;
        }
        current.chosen = current.rounds.len() - 1;
        let rounds = current.rounds.len();
        let params = at.params.iter().map(|p| host(p.clone())).collect();
        self.vectors.params = params;
        if row == Row::ClassDependent {
            self.vectors.result = at.best_params;
            self.header.result = Some((at.mask.counts(), kept));
        }
        let scores =
            learner
                .units
                .scores(&self.vectors.first, &self.vectors.params, lesson.score.of());
        let targets = at
            .mask
            .targets(&scores, settings.scope, settings.share, settings.floor);
        let more = match row {
            Row::ClassDependent => targets != at.mask.counts(),
            Row::Plain => rounds <= self.header.rows[0].chosen,
            Row::Gradual | Row::SmallDense => false,
        };
        let gradual = row == Row::ClassDependent && settings.schedule == Schedule::Gradual;
        self.header.ramp = gradual.then(|| [at.mask.counts(), targets.clone()]);
        self.header.mask = Some(match gradual {
            true => at.mask,
            false => at.mask.keep(&scores, &targets),
        });
        more
    }

    fn save(&mut self, at: &Progress) -> Result<(), Error> {
        let Some(folder) = &self.job.run.checkpoint else {
            return Ok(());
        };
        let (steps, slots) = at.optimizer.state();
        self.header.epoch = at.epoch;
        self.header.steps = steps;
        self.header.best = at.best;
        self.header.mask = Some(at.mask.clone());
        self.vectors.params = at.params.iter().map(|p| host(p.clone())).collect();
        self.vectors.slots = slots.into_iter().flatten().collect();
        self.vectors.best.clone_from(&at.best_params);
        state::save(folder, self.header.clone(), &self.vectors)
    }

    /// The round that the saved state is in.
    fn resumed(&mut self, learner: &Learner) -> Result<Progress, Error> {
        let mask = self.header.mask.clone().unwrap_or(learner.units.all());
        let v = &mut self.vectors;
        let mut at = learner.begin(v.params.clone(), mask);
        let per = v.slots.len() / v.params.len().max(1);
        let slots = v.slots.chunks(per.max(1)).map(<[_]>::to_vec).collect();
        let fits = v.params.len() == learner.network().params().len()
            && at
                .optimizer
                .restore((self.header.steps.clone(), slots), learner.device());
        if !fits {
            return Err(Error::input("the saved state is of other parameters"));
        }
        at.params = v
            .params
            .iter()
            .map(|p| vector(p.clone(), learner.device()))
            .collect();
        at.epoch = self.header.epoch;
        at.best = self.header.best;
        at.best_params = std::mem::take(&mut v.best);
        Ok(at)
    }
}
