//! Problems whose best configuration is known.

use super::*;
use rand::Rng;
use std::sync::Mutex;

/// Layers of different sizes and sensitivities whose losses do not add up: neighbours of low precision hurt each other.
struct Synthetic {
    genes: Vec<Gene>,
    sizes: Vec<u64>,
    hurt: Vec<f64>,
    /// Evaluations: levels and samples.
    asked: Mutex<Vec<(Genome, usize)>>,
}

const SAMPLES: usize = 512;

impl Synthetic {
    fn new(layers: usize, levels: u8, seed: u64) -> Synthetic {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let gene = |i| Gene {
            name: format!("layer {i}"),
            levels,
            group: 0,
            ordered: true,
        };
        Synthetic {
            genes: (0..layers).map(gene).collect(),
            sizes: (0..layers).map(|_| rng.random_range(10..200)).collect(),
            hurt: (0..layers).map(|_| rng.random_range(0.1..2.0)).collect(),
            asked: Mutex::new(Vec::new()),
        }
    }

    fn bytes(&self, genome: &[u8]) -> u64 {
        let layer = |(&level, size): (&u8, &u64)| (u64::from(level) + 2) * size;
        100 + genome.iter().zip(&self.sizes).map(layer).sum::<u64>()
    }

    fn value(&self, genome: &[u8]) -> f64 {
        let error = |i: usize| self.hurt[i] * 4f64.powi(-i32::from(genome[i]));
        let alone: f64 = (0..genome.len()).map(error).sum();
        let together: f64 = (1..genome.len())
            .map(|i| (error(i - 1) * error(i)).sqrt())
            .sum();
        alone + 0.5 * together
    }

    /// Every configuration.
    fn all(&self) -> Vec<Genome> {
        let mut all: Vec<Genome> = vec![vec![]];
        for gene in &self.genes {
            let longer = |g: &Genome| {
                let g = g.clone();
                (0..gene.levels).map(move |level| [g.as_slice(), &[level]].concat())
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    /// Least loss within `flash`, by looking at every configuration.
    fn optimum(&self, flash: u64) -> f64 {
        let fits = self.all().into_iter().filter(|g| self.bytes(g) <= flash);
        fits.map(|g| self.value(&g)).fold(f64::MAX, f64::min)
    }
}

impl Problem for Synthetic {
    fn genes(&self) -> &[Gene] {
        &self.genes
    }

    fn cost(&self, genome: &[u8], unit: Unit) -> Option<f64> {
        match unit {
            Unit::Flash => Some(self.bytes(genome) as f64),
            Unit::Bits => {
                let sum: u64 = genome.iter().map(|&l| u64::from(l) + 2).sum();
                Some(sum as f64 / genome.len() as f64)
            }
            _ => None,
        }
    }

    fn samples(&self) -> usize {
        SAMPLES
    }

    /// Few samples give a noisy loss, the same every time.
    fn loss(&self, genome: &[u8], samples: usize) -> Result<f64, Error> {
        self.asked.lock().unwrap().push((genome.to_vec(), samples));
        let id = genome
            .iter()
            .fold(samples as u64, |id, &l| id * 11 + u64::from(l));
        let noise: f64 = ChaCha8Rng::seed_from_u64(id).random_range(-1.0..1.0);
        let share = 1.0 - samples as f64 / SAMPLES as f64;
        Ok(self.value(genome) * (1.0 + 0.1 * share * noise))
    }
}

fn flash(bytes: u64) -> Budget {
    Budget(Costs {
        flash: Some(bytes),
        ..Default::default()
    })
}

fn evolve() -> Method {
    Method::Evolve(Evolve::default())
}

fn predict() -> Method {
    Method::Predict(Guided {
        pairs: 200,
        epochs: 30,
        generations: 30,
        ..Default::default()
    })
}

fn run(problem: &Synthetic, budget: &Budget, method: &Method, seed: u64) -> Found {
    search(problem, budget, method, seed, &[], &mut |_| {
        Control::Continue
    })
    .expect("search")
}

/// The result is within the budget, and not worse than anything it is measured by.
fn check(problem: &Synthetic, most: u64, found: &Found) -> Scored {
    let best = found.best.clone().expect("a configuration");
    assert!(found.finished);
    assert_eq!(best.costs.flash, Some(problem.bytes(&best.genome)));
    assert!(problem.bytes(&best.genome) <= most);
    assert_eq!(best.loss, problem.value(&best.genome));
    let uniform = |level| vec![level; problem.genes.len()];
    let levels = (0..problem.genes[0].levels).map(uniform);
    let within = levels.filter(|g| problem.bytes(g) <= most);
    let best_uniform = within.map(|g| problem.value(&g)).fold(f64::MAX, f64::min);
    assert!(best.loss <= best_uniform);
    let (random, mean) = found.random.as_ref().expect("random configurations");
    assert!(best.loss <= random.loss && random.loss <= mean * (1.0 + 1e-12));
    for point in &found.points {
        assert!(problem.bytes(&point.genome) <= most && best.loss <= point.loss);
    }
    best
}

#[test]
fn evolution_finds_the_optimum_or_comes_within_a_hundredth() {
    let mut exact = 0;
    for seed in 0..5 {
        let problem = Synthetic::new(6, 7, seed);
        let (least, most) = (problem.bytes(&[0; 6]), problem.bytes(&[6; 6]));
        for share in [15, 40, 75] {
            let budget = least + (most - least) * share / 100;
            let optimum = problem.optimum(budget);
            let best = check(
                &problem,
                budget,
                &run(&problem, &flash(budget), &evolve(), seed),
            );
            assert!(best.loss <= optimum * 1.02, "{} for {optimum}", best.loss);
            exact += usize::from(best.loss <= optimum * (1.0 + 1e-9));
        }
    }
    assert!(exact >= 11, "{exact} of 15 optima");
}

#[test]
fn guided_search_orders_what_it_has_not_seen() {
    let problem = Synthetic::new(6, 7, 3);
    let budget = (problem.bytes(&[0; 6]) + problem.bytes(&[6; 6])) / 2;
    let found = run(&problem, &flash(budget), &predict(), 1);
    let best = check(&problem, budget, &found);
    let agreement = found.agreement.expect("a predictor was trained");
    assert_eq!((agreement.train, agreement.held_out), (160, 40));
    assert!(agreement.kendall > 0.6, "{agreement:?}");
    assert!(agreement.pearson > 0.7, "{agreement:?}");
    let optimum = problem.optimum(budget);
    assert!(best.loss <= optimum * 1.3, "{} for {optimum}", best.loss);
}

#[test]
fn the_smallest_configuration_is_found_where_nothing_else_fits() {
    let problem = Synthetic::new(5, 7, 1);
    let least = problem.bytes(&[0; 5]);
    for method in [evolve(), predict()] {
        let found = run(&problem, &flash(least), &method, 0);
        assert_eq!(check(&problem, least, &found).genome, [0; 5]);
    }
}

#[test]
fn impossible_budgets_are_refused_with_what_the_least_would_be() {
    let problem = Synthetic::new(5, 7, 1);
    let least = problem.bytes(&[0; 5]);
    let refused = |budget: &Budget| {
        let ran = search(&problem, budget, &evolve(), 0, &[], &mut |_| {
            Control::Continue
        });
        ran.expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&flash(least - 1)),
        format!(
            "budget flash={}: nothing fits, the smallest configuration takes {least}",
            least - 1
        )
    );
    let bits = Budget(Costs {
        bits: Some(1.9),
        ..Default::default()
    });
    assert_eq!(
        refused(&bits),
        "budget bits=1.9: nothing fits, the smallest configuration takes 2"
    );
    let unknown = Budget(Costs {
        arena: Some(10),
        ..Default::default()
    });
    assert_eq!(
        refused(&unknown),
        "budget arena: the cost is not known here"
    );
    assert!(
        problem.asked.lock().unwrap().is_empty(),
        "nothing was evaluated"
    );
}

#[test]
fn several_limits_hold_at_once() {
    let problem = Synthetic::new(6, 7, 2);
    let most = (problem.bytes(&[0; 6]) + problem.bytes(&[6; 6])) / 2;
    let budget = Budget(Costs {
        flash: Some(most),
        bits: Some(3.5),
        ..Default::default()
    });
    let best = run(&problem, &budget, &evolve(), 0).best.expect("found");
    assert!(problem.bytes(&best.genome) <= most && best.costs.bits <= Some(3.5));
    // The average of 2 bits to 8 is a multiple of a sixth: nothing is left unused.
    assert_eq!(best.costs.bits, Some(3.5));
}

#[test]
fn the_same_seed_gives_the_same_answer_on_any_number_of_threads() {
    for method in [evolve(), predict()] {
        let on = |threads: usize, seed: u64| {
            let problem = Synthetic::new(6, 7, 4);
            let budget = (problem.bytes(&[0; 6]) + problem.bytes(&[6; 6])) / 2;
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads")
                .install(|| run(&problem, &flash(budget), &method, seed))
        };
        let one = on(1, 7);
        assert!(one == on(4, 7), "threads change the answer");
        assert!(
            one.evaluations != on(1, 8).evaluations,
            "the seed changes nothing"
        );
    }
}

#[test]
fn an_interrupted_search_goes_on_to_the_same_answer() {
    let problem = Synthetic::new(6, 7, 4);
    let budget = flash((problem.bytes(&[0; 6]) + problem.bytes(&[6; 6])) / 2);
    let whole = run(&problem, &budget, &evolve(), 3);
    let mut left = 20;
    let mut stop = |_: Event| {
        left -= 1;
        match left {
            0 => Control::Stop,
            _ => Control::Continue,
        }
    };
    let part = search(&problem, &budget, &evolve(), 3, &[], &mut stop).expect("part");
    assert!(!part.finished && part.evaluations.len() < whole.evaluations.len());
    problem.asked.lock().unwrap().clear();
    let known = &part.evaluations;
    let rest = search(&problem, &budget, &evolve(), 3, known, &mut |_| {
        Control::Continue
    });
    assert!(rest.expect("rest") == whole);
    let again = problem.asked.lock().unwrap();
    let repeated = again
        .iter()
        .filter(|(g, n)| known.iter().any(|e| e.genome == *g && e.samples == *n));
    assert_eq!(repeated.count(), 0, "evaluated twice");
}

#[test]
fn without_generations_the_best_uniform_or_random_configuration_is_returned() {
    let problem = Synthetic::new(6, 7, 5);
    let budget = flash((problem.bytes(&[0; 6]) + problem.bytes(&[6; 6])) / 2);
    for randoms in [0, 30] {
        let still = Method::Evolve(Evolve {
            generations: 0,
            randoms,
            ..Default::default()
        });
        let found = run(&problem, &budget, &still, 0);
        let uniform = found.uniform.clone().expect("some fit");
        let best = match &found.random {
            Some((random, _)) if random.loss < uniform.loss => random,
            _ => &uniform,
        };
        assert_eq!(found.best.as_ref(), Some(best));
        assert_eq!(found.random.is_some(), randoms > 0);
    }
}

/// A problem with choices that have no order, and a loss that is not a number for some of them.
struct Formats {
    genes: [Gene; 4],
}

impl Problem for Formats {
    fn genes(&self) -> &[Gene] {
        &self.genes
    }

    fn cost(&self, genome: &[u8], unit: Unit) -> Option<f64> {
        // The second format costs more.
        (unit == Unit::Flash).then(|| f64::from(genome[0]) * 10.0 + f64::from(genome[2]) * 5.0)
    }

    fn samples(&self) -> usize {
        10
    }

    fn loss(&self, genome: &[u8], _: usize) -> Result<f64, Error> {
        Ok(match genome[1] {
            2 => f64::NAN,
            // The last gene wants another format than the second, which belongs to its group.
            format => {
                let mixed = f64::from(u8::from(genome[3] != 0));
                8.0 - f64::from(genome[0]) - f64::from(format) + mixed
            }
        })
    }
}

#[test]
fn formats_without_an_order_are_searched_and_no_number_is_the_worst() {
    let gene = |levels, group, ordered| Gene {
        name: format!("gene {group}"),
        levels,
        group,
        ordered,
    };
    let problem = Formats {
        genes: [
            gene(7, 0, true),
            gene(3, 1, false),
            gene(2, 2, false),
            gene(2, 1, false),
        ],
    };
    // Not by chance: nothing random is evaluated.
    let method = Method::Evolve(Evolve {
        randoms: 0,
        ..Default::default()
    });
    let found = search(&problem, &flash(32), &method, 0, &[], &mut |_| {
        Control::Continue
    });
    let best = found.expect("search").best.expect("found");
    assert_eq!((&best.genome[..2], best.loss), (&[3, 1][..], 4.0));
}
