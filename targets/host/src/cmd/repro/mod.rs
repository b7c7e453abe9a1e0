//! `elastiq repro`: the claims of the compression methods, run again on packaged data.

mod eqnet;
mod nupes;
mod prune;
mod seeds;

use crate::failure::{Failure, Outcome};
use crate::output::{TextTable, print, print_json};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};

/// Run the claims of a compression method again: mean and deviation over seeds, baseline, and whether each holds
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq repro nupes --seeds 5")]
pub struct ReproArgs {
    #[command(subcommand)]
    method: Method,
}

#[derive(Subcommand, Debug)]
enum Method {
    Eqnet(eqnet::EqnetReproArgs),
    Nupes(nupes::NupesReproArgs),
    Prune(prune::PruneReproArgs),
}

/// Runs the subcommand.
pub fn run(args: &ReproArgs) -> Outcome<()> {
    match &args.method {
        Method::Eqnet(args) => eqnet::run(args),
        Method::Nupes(args) => nupes::run(args),
        Method::Prune(args) => prune::run(args),
    }
}

/// What a method promises, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    pub id: String,
    /// In words, with the bound.
    pub text: String,
    /// Of the figure over all seeds.
    pub mean: f64,
    pub std: f64,
    /// Mean of the figure that it is compared with.
    pub baseline: Option<f64>,
    pub holds: bool,
}

impl Claim {
    /// A claim about `values`, one per seed, beside those of a baseline.
    pub fn new(
        id: &str,
        text: &str,
        values: &[f64],
        baseline: Option<&[f64]>,
        holds: impl FnOnce(f64, f64) -> bool,
    ) -> Claim {
        let (mean, std) = moments(values);
        let base = baseline.map(|b| moments(b).0);
        Claim {
            id: id.into(),
            text: text.into(),
            mean,
            std,
            baseline: base,
            holds: !values.is_empty() && holds(mean, base.unwrap_or_default()),
        }
    }
}

/// Mean and sample standard deviation; 0 for the deviation of a single value.
pub fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// Prints `tables` and the claims, or one JSON object with `details` and the claims; a claim that does not hold is a
/// failed check.
pub fn show(
    json: bool,
    tables: &str,
    mut details: Map<String, Value>,
    claims: &[Claim],
) -> Outcome<()> {
    if json {
        details.insert("claims".into(), serde_json::json!(claims));
        print_json(&details)?;
    } else {
        let mut table = TextTable::new(&["claim", "mean", "std", "baseline", "holds", "what"]);
        for c in claims {
            table.row([
                c.id.clone(),
                format!("{:.4}", c.mean),
                format!("{:.4}", c.std),
                c.baseline.map_or("-".into(), |b| format!("{b:.4}")),
                if c.holds { "yes" } else { "NO" }.into(),
                c.text.clone(),
            ]);
        }
        print(&format!("{tables}{}", table.render(&[0, 4, 5])))?;
    }
    let failed: Vec<&str> = claims
        .iter()
        .filter(|c| !c.holds)
        .map(|c| c.id.as_str())
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::check(format!(
            "{} of {} claims do not hold: {}",
            failed.len(),
            claims.len(),
            failed.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_samples() {
        assert_eq!(moments(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(moments(&[4.0]), (4.0, 0.0));
    }

    #[test]
    fn claims_without_values_do_not_hold_and_fail_the_command() {
        let none = Claim::new("a", "", &[], None, |_, _| true);
        let better = Claim::new("b", "", &[2.0, 2.0], Some(&[1.0]), |m, b| m >= b + 1.0);
        let worse = Claim::new("c", "", &[2.0, 2.0], Some(&[1.0]), |m, b| m > b + 1.0);
        assert_eq!(
            [&none, &better, &worse].map(|c| c.holds),
            [false, true, false]
        );
        let failure = show(true, "", Map::new(), &[better, worse, none]).expect_err("two fail");
        assert_eq!(failure.code(), 1);
        assert!(
            failure
                .line()
                .is_some_and(|l| l.ends_with("2 of 3 claims do not hold: c, a"))
        );
    }
}
