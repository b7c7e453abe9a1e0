//! Widths of the layers of a supernet as a search problem.

use super::{Artifacts, Form, Gene, InstructionTable, Problem, Unit};
use crate::Error;
use crate::compress::eqnet::{Format, LayerConfig, Space, SubnetConfig};

/// Sub-networks of one format: the widths of weights, and where they matter those of activations.
pub struct Elastic<'a, L> {
    space: &'a Space,
    format: Format,
    artifacts: Option<&'a Artifacts>,
    instructions: Option<&'a InstructionTable>,
    samples: usize,
    loss: L,
    genes: Vec<Gene>,
    places: Vec<Place>,
}

/// What a gene decides.
#[derive(Clone, Copy)]
enum Place {
    Weights { layer: usize },
    Activations { site: usize },
}

impl<'a, L: Fn(&SubnetConfig, usize) -> Result<f64, Error> + Sync> Elastic<'a, L> {
    /// The problem of `space` in `format`. `loss` gives the mean loss of a configuration on the first of `samples` samples.
    ///
    /// Activations are searched where `activations` says so, and have 8 bits otherwise: in an artifact fewer bits save
    /// neither memory nor instructions, so they only matter to the average.
    pub fn new(
        space: &'a Space,
        format: Format,
        activations: bool,
        samples: usize,
        loss: L,
    ) -> Elastic<'a, L> {
        let (mut genes, mut places) = (Vec::new(), Vec::new());
        let mut add = |name: String, choices: &[u8], group, place| {
            if choices.len() > 1 {
                genes.push(Gene {
                    name,
                    levels: choices.len() as u8,
                    group,
                    ordered: true,
                });
                places.push(place);
            }
        };
        for (layer, l) in space.layers.iter().enumerate() {
            let name = format!("{} weights", l.name);
            let place = Place::Weights { layer };
            add(name, space.weight_bits(layer), 0, place);
        }
        for (site, s) in space.sites.iter().enumerate().filter(|_| activations) {
            let reader = space.layers.iter().position(|l| l.site == site);
            let choices = reader.map_or(&[][..], |layer| space.activation_bits(layer));
            let place = Place::Activations { site };
            add(format!("{} activations", s.name), choices, 1, place);
        }
        Elastic {
            space,
            format,
            artifacts: None,
            instructions: None,
            samples,
            loss,
            genes,
            places,
        }
    }

    /// Know the bytes of artifacts.
    pub fn with_artifacts(self, artifacts: &'a Artifacts) -> Self {
        Elastic {
            artifacts: Some(artifacts),
            ..self
        }
    }

    /// Know the instructions of a core.
    pub fn with_instructions(self, table: &'a InstructionTable) -> Self {
        Elastic {
            instructions: Some(table),
            ..self
        }
    }

    /// The sub-network of a genome.
    pub fn config(&self, genome: &[u8]) -> SubnetConfig {
        let mut config = self.space.uniform(8, 8, self.format);
        for (place, &level) in self.places.iter().zip(genome) {
            let level = usize::from(level);
            match *place {
                Place::Weights { layer } => {
                    config.layers[layer].weight_bits = self.space.weight_bits(layer)[level];
                }
                Place::Activations { site } => {
                    let readers = self.space.layers.iter().enumerate();
                    for (layer, _) in readers.filter(|(_, l)| l.site == site) {
                        let choices = self.space.activation_bits(layer);
                        config.layers[layer].activation_bits = choices[level];
                    }
                }
            }
        }
        config
    }
}

/// The format of the weights of a layer.
pub fn form(layer: &LayerConfig) -> Form {
    Form {
        bits: layer.weight_bits,
        per_channel: layer.per_channel,
        symmetric: layer.weight_symmetric,
    }
}

impl<L: Fn(&SubnetConfig, usize) -> Result<f64, Error> + Sync> Problem for Elastic<'_, L> {
    fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// Bits are the larger of the averages over weights and over activations of free width, as both are limited in EQ-Net.
    fn cost(&self, genome: &[u8], unit: Unit) -> Option<f64> {
        let config = self.config(genome);
        let layers = config.layers.iter();
        let sizes = || {
            let forms = layers.clone().map(|l| (l.layer.as_str(), form(l)));
            self.artifacts?.sizes(forms)
        };
        match unit {
            Unit::Flash => Some(sizes()?.flash as f64),
            Unit::Arena => Some(sizes()?.arena as f64),
            Unit::Instructions => {
                let bits = layers.map(|l| (l.layer.as_str(), l.weight_bits));
                self.instructions?.of(bits)
            }
            Unit::Bits => {
                let average = self.space.average_bits(&config);
                let searched = self.genes.iter().any(|g| g.group == 1);
                let activations = average.activations.filter(|_| searched);
                let weights = average.weights.unwrap_or(average.effective_weights);
                Some(weights.max(activations.unwrap_or(0.0)))
            }
        }
    }

    fn samples(&self) -> usize {
        self.samples
    }

    fn loss(&self, genome: &[u8], samples: usize) -> Result<f64, Error> {
        (self.loss)(&self.config(genome), samples)
    }
}
