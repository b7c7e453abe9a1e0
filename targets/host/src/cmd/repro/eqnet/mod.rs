//! `elastiq repro eqnet`: the claims of elastic quantization, on 10,000 handwritten digits.

mod seed;

use super::seeds::Store;
use super::{Claim, moments, show};
use crate::cmd::data::cache_dir;
use crate::cmd::learning::stop_flag;
use crate::failure::{Failure, Outcome};
use crate::output::{Spinner, TextTable};
use clap::Args;
use seed::{Data, Figures, Seed, Stage, WIDTHS};
use serde_json::{Map, json};
use std::path::PathBuf;

/// Elastic quantization: one training against one per width and against none, integers, nested codes, regularization
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq repro eqnet --seeds 5\n\n\
    A seed takes about eight minutes of one core; finished parts are kept.")]
pub struct EqnetReproArgs {
    /// Seeds, from 0: each trains everything anew
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Folder that results of single seeds are kept in [default: in the cache folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Share of test samples that integers and quantized floats must agree on; scores of 8 bits can tie where floats do not.
const AGREE: f64 = 0.998;

/// Runs the subcommand.
pub fn run(args: &EqnetReproArgs) -> Outcome<()> {
    let cache = cache_dir()?;
    let folder = args.state.clone().unwrap_or_else(|| cache.join("repro"));
    let store = Store::open(&folder)?;
    let spinner = Spinner::new("mnist");
    spinner.say("fetching");
    let data = Data::load(&cache)?;
    drop(spinner);
    let stop = stop_flag()?;
    let stopped = || Failure::check("stopped; the same command goes on");
    let seed = |i: usize| Seed {
        data: &data,
        seed: i as u64,
        stop: &stop,
    };
    let keys: Vec<String> = (0..args.seeds)
        .map(|i| format!("eqnet_float_{i}"))
        .collect();
    let floats: Vec<Vec<u8>> = store
        .all(&keys, &stop, |i| seed(i).float_net())?
        .ok_or_else(stopped)?;
    let stages = Stage::all();
    let keys: Vec<String> = (0..args.seeds)
        .flat_map(|i| {
            stages
                .iter()
                .map(move |s| format!("eqnet_{}_{i}", s.name()))
        })
        .collect();
    let job = |k: usize| {
        let (i, stage) = (k / stages.len(), stages[k % stages.len()]);
        seed(i).figures(stage, &floats[i])
    };
    let found: Vec<Figures> = store.all(&keys, &stop, job)?.ok_or_else(stopped)?;
    let seeds: Vec<Parts> = found
        .chunks(stages.len())
        .map(|parts| Parts(stages.iter().copied().zip(parts.iter().cloned()).collect()))
        .collect();
    let mut details = Map::new();
    details.insert("seeds".into(), json!(args.seeds));
    details.insert("figures".into(), json!(found));
    show(args.json, &table(&seeds), details, &claims(&seeds))
}

/// Figures of one seed by stage.
struct Parts(Vec<(Stage, Figures)>);

impl Parts {
    /// Figure `name` of `stage`; not a number where it is missing, which no claim holds for.
    fn get(&self, stage: Stage, name: &str) -> f64 {
        let found = self.0.iter().find(|(s, _)| *s == stage);
        found
            .and_then(|(_, f)| f.get(name).copied())
            .unwrap_or(f64::NAN)
    }
}

fn over(seeds: &[Parts], stage: Stage, name: &str) -> Vec<f64> {
    seeds.iter().map(|s| s.get(stage, name)).collect()
}

fn claims(seeds: &[Parts]) -> Vec<Claim> {
    let all = |stage: Stage, name: &str| over(seeds, stage, name);
    let mut claims = Vec::new();
    for bits in WIDTHS {
        let points = if bits == 2 { 1.0 } else { 0.7 };
        claims.push(Claim::new(
            &format!("supernet_{bits}"),
            &format!("accuracy at {bits} bits, mean of all formats: within {points} points of networks trained for {bits} bits alone"),
            &all(Stage::Supernet, &bits.to_string()),
            Some(&all(Stage::Dedicated(bits), "accuracy")),
            |mean, base| mean >= base - points / 100.0,
        ));
    }
    claims.push(Claim::new(
        "supernet_untrained",
        "accuracy at 2 bits: 5 points over the same weights rounded without training",
        &all(Stage::Supernet, "2"),
        Some(&all(Stage::Untrained, "2")),
        |mean, base| mean >= base + 0.05,
    ));
    claims.push(Claim::new(
        "untrained_2",
        "negative control: without training, 2 bits are more than a point below networks trained for them",
        &all(Stage::Untrained, "2"),
        Some(&all(Stage::Dedicated(2), "accuracy")),
        |mean, base| mean < base - 0.01,
    ));
    claims.push(Claim::new(
        "wdr_kurtosis",
        "kurtosis of regularized layers, 3 at the start: 1.8 within 0.5 (baseline: not regularized)",
        &all(Stage::Regularization, "kurtosis with"),
        Some(&all(Stage::Regularization, "kurtosis without")),
        |mean, _| (mean - 1.8).abs() <= 0.5,
    ));
    claims.push(Claim::new(
        "wdr_w3",
        "accuracy with weights rounded to 3 bits of their largest: 1.5 points over those not regularized",
        &all(Stage::Regularization, "W3 with"),
        Some(&all(Stage::Regularization, "W3 without")),
        |mean, base| mean >= base + 0.015,
    ));
    for (id, stage) in [
        ("integers", Stage::Supernet),
        ("integers_nested", Stage::Nested),
    ] {
        claims.push(Claim::new(
            id,
            &format!("share of test samples that the integer networks of all widths and formats class as quantized floats do: at least {AGREE} (baseline, negative control: floats with the lowest weights, below that)"),
            &all(stage, "agree"),
            Some(&all(stage, "agree with other weights")),
            |mean, base| mean >= AGREE && base < AGREE,
        ));
    }
    for bits in WIDTHS {
        claims.push(Claim::new(
            &format!("nested_{bits}"),
            &format!("accuracy at {bits} bits from the upper bits of one code: within a point of codes of their own"),
            &all(Stage::Nested, &bits.to_string()),
            Some(&all(Stage::Supernet, &bits.to_string())),
            |mean, base| mean >= base - 0.01,
        ));
    }
    claims
}

/// Mean accuracy by width.
fn table(seeds: &[Parts]) -> String {
    let mut table = TextTable::new(&["bits", "untrained", "alone", "supernet", "nested"]);
    for bits in WIDTHS {
        let width = bits.to_string();
        let cell = |stage, name: &str| format!("{:.4}", moments(&over(seeds, stage, name)).0);
        table.row([
            width.clone(),
            cell(Stage::Untrained, &width),
            cell(Stage::Dedicated(bits), "accuracy"),
            cell(Stage::Supernet, &width),
            cell(Stage::Nested, &width),
        ]);
    }
    table.render(&[]) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed whose figures are all good, but for `change`.
    fn parts(change: f64) -> Parts {
        let figures = |stage: Stage| {
            let widths = |v: f64| WIDTHS.map(|b| (b.to_string(), v)).to_vec();
            let named = |list: &[(&str, f64)]| -> Vec<(String, f64)> {
                list.iter().map(|(n, v)| (n.to_string(), *v)).collect()
            };
            let agree = [
                ("agree", 0.9995 - change),
                ("agree with other weights", 0.97),
            ];
            let list = match stage {
                Stage::Untrained => widths(0.8),
                Stage::Supernet | Stage::Nested => [widths(0.958 - change), named(&agree)].concat(),
                Stage::Dedicated(_) => named(&[("accuracy", 0.96)]),
                Stage::Regularization => named(&[
                    ("kurtosis with", 2.0 + 20.0 * change),
                    ("kurtosis without", 2.9),
                    ("W3 with", 0.9 - change),
                    ("W3 without", 0.87),
                ]),
            };
            (stage, list.into_iter().collect())
        };
        Parts(Stage::all().into_iter().map(figures).collect())
    }

    #[test]
    fn claims_hold_where_figures_are_good_and_only_there() {
        let good = claims(&[parts(0.0), parts(0.0)]);
        assert_eq!(good.len(), 14);
        assert!(good.iter().all(|c| c.holds), "{good:?}");
        let bad = claims(&[parts(0.0), parts(0.2)]);
        let failed: Vec<&str> = bad.iter().filter(|c| !c.holds).map(|c| &*c.id).collect();
        let expected = [
            "supernet_2",
            "supernet_3",
            "supernet_4",
            "supernet_8",
            "wdr_kurtosis",
            "wdr_w3",
            "integers",
            "integers_nested",
        ];
        assert_eq!(failed, expected);
        let none = claims(&[Parts(Vec::new())]);
        assert!(none.iter().all(|c| !c.holds), "no figures, no claims");
    }
}
