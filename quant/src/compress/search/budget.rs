//! What a configuration may cost.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Bytes of the artifact.
    Flash,
    /// Bytes of working memory.
    Arena,
    /// Instructions of one run on a core.
    Instructions,
    /// Average bits of a weight.
    Bits,
}

impl Unit {
    pub const ALL: [Unit; 4] = [Unit::Flash, Unit::Arena, Unit::Instructions, Unit::Bits];

    /// Name in budgets and reports.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Flash => "flash",
            Unit::Arena => "arena",
            Unit::Instructions => "instructions",
            Unit::Bits => "bits",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Costs of a configuration, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<f64>,
}

impl Costs {
    /// The cost in `unit`.
    pub fn get(&self, unit: Unit) -> Option<f64> {
        match unit {
            Unit::Flash => self.flash.map(|v| v as f64),
            Unit::Arena => self.arena.map(|v| v as f64),
            Unit::Instructions => self.instructions.map(|v| v as f64),
            Unit::Bits => self.bits,
        }
    }

    /// Set the cost in `unit`; fractions of bytes and instructions count as whole ones.
    pub fn set(&mut self, unit: Unit, cost: f64) {
        let whole = cost.ceil() as u64;
        match unit {
            Unit::Flash => self.flash = Some(whole),
            Unit::Arena => self.arena = Some(whole),
            Unit::Instructions => self.instructions = Some(whole),
            Unit::Bits => self.bits = Some(cost),
        }
    }
}

/// The most that a configuration may cost; what is not named is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget(pub Costs);

impl Budget {
    /// Units that are limited, with their limits.
    pub fn limits(&self) -> impl Iterator<Item = (Unit, f64)> + use<> {
        let most = self.0;
        Unit::ALL
            .into_iter()
            .filter_map(move |unit| Some((unit, most.get(unit)?)))
    }

    /// By how much `cost` is beyond the budget: the sum of the shares; 0 within it.
    ///
    /// # Errors
    /// Names the unit whose cost is not known.
    pub fn excess(&self, cost: impl Fn(Unit) -> Option<f64>) -> Result<f64, Error> {
        let mut sum = 0.0;
        for (unit, most) in self.limits() {
            let cost = cost(unit)
                .ok_or_else(|| Error::at(format!("budget {unit}"), "the cost is not known here"))?;
            if cost > most {
                sum += (cost - most) / most.max(1.0);
            }
        }
        Ok(sum)
    }
}
