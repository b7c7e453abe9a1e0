//! Measured instructions of the layers of a network on a core, per weight width.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Instructions of a network on one core. Layers are independent of each other, so mixed widths add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructionTable {
    pub core: String,
    /// Operators without weights, and the start and end of a run.
    pub rest: u64,
    pub layers: Vec<LayerInstructions>,
}

/// Instructions of a layer with weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerInstructions {
    pub name: String,
    pub macs: u64,
    /// By bits of a weight.
    pub instructions: BTreeMap<u8, u64>,
}

impl InstructionTable {
    /// Instructions of one run with weights of `bits(layer)`: widths between measured ones on the line between them,
    /// widths beyond as the nearest. `None` where the table lacks a layer.
    pub fn of<'a>(&self, layers: impl IntoIterator<Item = (&'a str, u8)>) -> Option<f64> {
        let mut sum = self.rest as f64;
        for (name, bits) in layers {
            sum += self.layers.iter().find(|l| l.name == name)?.at(bits)?;
        }
        Some(sum)
    }
}

impl LayerInstructions {
    fn at(&self, bits: u8) -> Option<f64> {
        let point = |(&bits, &n): (&u8, &u64)| (f64::from(bits), n as f64);
        let below = self.instructions.range(..=bits).next_back().map(point);
        let above = self.instructions.range(bits..).next().map(point);
        match (below, above) {
            (Some((a, n)), Some((b, m))) if b > a => {
                Some(n + (m - n) * (f64::from(bits) - a) / (b - a))
            }
            (below, above) => below.or(above).map(|(_, n)| n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_between_measured_ones_lie_on_the_line() {
        let layer = |name: &str, list: &[(u8, u64)]| LayerInstructions {
            name: name.into(),
            macs: 10,
            instructions: list.iter().copied().collect(),
        };
        let table = InstructionTable {
            core: "m4".into(),
            rest: 5,
            layers: vec![layer("a", &[(8, 100), (4, 200)]), layer("b", &[(8, 7)])],
        };
        assert_eq!(table.of([("a", 8), ("b", 8)]), Some(112.0));
        assert_eq!(table.of([("a", 5), ("b", 2)]), Some(5.0 + 175.0 + 7.0));
        assert_eq!(table.of([("a", 2)]), Some(205.0));
        assert_eq!(table.of([("c", 8)]), None);
    }
}
