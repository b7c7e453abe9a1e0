//! Data that a network is calibrated and checked with.

use crate::Error;
use crate::ir::{Graph, Port};
use ndarray::{ArrayD, Axis, IxDyn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Samples for every graph input, in the layout of the model file.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Per graph input `[n, ..]`: a leading sample axis, then the shape in the file without its batch axis.
    pub inputs: Vec<ArrayD<f32>>,
    /// Class index per sample, where known.
    pub labels: Option<Vec<i64>>,
}

impl Samples {
    /// Samples without labels.
    pub fn new(inputs: Vec<ArrayD<f32>>) -> Self {
        Samples {
            inputs,
            labels: None,
        }
    }

    /// Add class indices, one per sample.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<i64>) -> Self {
        self.labels = Some(labels);
        self
    }

    /// `n` samples drawn uniformly from `[lo, hi]`; the same seed gives the same samples.
    pub fn synthetic(graph: &Graph, n: usize, seed: u64, lo: f32, hi: f32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let inputs = graph
            .inputs
            .iter()
            .map(|port| {
                let mut shape = port.file_shape.clone();
                match shape.first() {
                    Some(1) if shape.len() > 1 => shape[0] = n,
                    _ => shape.insert(0, n),
                }
                ArrayD::from_shape_simple_fn(IxDyn(&shape), || rng.random_range(lo..=hi))
            })
            .collect();
        Samples::new(inputs)
    }

    /// The samples `picks`, in that order.
    ///
    /// # Panics
    /// Where there is no such sample.
    #[must_use]
    pub fn select(&self, picks: &[usize]) -> Samples {
        let inputs = self.inputs.iter().map(|x| x.select(Axis(0), picks));
        let labels = self.labels.as_ref();
        Samples {
            inputs: inputs.collect(),
            labels: labels.map(|l| picks.iter().map(|&i| l[i]).collect()),
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.inputs
            .first()
            .map_or(0, |x| x.shape().first().copied().unwrap_or(0))
    }

    /// At most `n` samples, evenly spaced; at least one where there is one.
    #[must_use]
    pub fn evenly(&self, n: usize) -> Samples {
        let (len, n) = (self.len(), n.clamp(1, self.len().max(1)));
        self.select(&(0..n).map(|i| i * len / n).collect::<Vec<_>>())
    }

    /// True without any sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Check number, shapes and contents against the inputs of `graph`.
    ///
    /// # Errors
    /// Names the input, the shape it needs and the shape given; data that is empty or not finite is refused.
    pub fn check(&self, graph: &Graph) -> Result<(), Error> {
        if self.inputs.len() != graph.inputs.len() {
            return Err(Error::input(format!(
                "data: the network has {} inputs ({}), the data has {}",
                graph.inputs.len(),
                graph
                    .inputs
                    .iter()
                    .map(|p| p.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
                self.inputs.len()
            )));
        }
        let n = self.len();
        if n == 0 {
            return Err(Error::input("data: there are no samples"));
        }
        for (port, x) in graph.inputs.iter().zip(&self.inputs) {
            let place = format!("data for input '{}'", port.name);
            let have = x.shape();
            if have.first() != Some(&n) {
                return Err(Error::at(
                    place,
                    format!("{have:?} does not hold {n} samples like the first input"),
                ));
            }
            if !fits(port, &have[1..]) {
                return Err(Error::at(
                    place,
                    format!(
                        "one sample has shape {:?}, the network needs {:?}",
                        &have[1..],
                        sample_shape(port)
                    ),
                ));
            }
            if let Some(at) = x.iter().position(|v| !v.is_finite()) {
                let per = (x.len() / n).max(1);
                return Err(Error::at(
                    place,
                    format!("sample {} holds a value that is not finite", at / per),
                ));
            }
        }
        if let Some(labels) = &self.labels
            && labels.len() != n
        {
            return Err(Error::input(format!(
                "data: {} labels for {n} samples",
                labels.len()
            )));
        }
        Ok(())
    }

    /// Sample `i` of every input with the shape of the file; call [`Samples::check`] first.
    pub fn file_item(&self, graph: &Graph, i: usize) -> Vec<ArrayD<f32>> {
        let one = |(port, x): (&Port, &ArrayD<f32>)| {
            let item = x.index_axis(Axis(0), i).to_owned();
            let data: Vec<f32> = item.iter().copied().collect();
            ArrayD::from_shape_vec(IxDyn(&port.file_shape), data).expect("checked shape")
        };
        graph.inputs.iter().zip(&self.inputs).map(one).collect()
    }

    /// Sample `i` of every input in IR layout; call [`Samples::check`] first.
    pub fn ir_item(&self, graph: &Graph, i: usize) -> Vec<ArrayD<f32>> {
        let files = self.file_item(graph, i);
        let one = |(port, x): (&Port, &ArrayD<f32>)| {
            let shape = IxDyn(&graph.value(port.value).shape);
            ArrayD::from_shape_vec(shape, permuted(x, &port.perm)).expect("same number of elements")
        };
        graph.inputs.iter().zip(&files).map(one).collect()
    }
}

/// Row-major elements of `x` after a transposition by `perm`.
pub(crate) fn permuted(x: &ArrayD<f32>, perm: &[usize]) -> Vec<f32> {
    x.view()
        .permuted_axes(IxDyn(perm))
        .iter()
        .copied()
        .collect()
}

/// Shape of one sample: the file's shape without a batch axis of one.
fn sample_shape(port: &Port) -> &[usize] {
    match port.file_shape.split_first() {
        Some((1, rest)) => rest,
        _ => &port.file_shape,
    }
}

fn fits(port: &Port, shape: &[usize]) -> bool {
    shape == sample_shape(port) || shape == port.file_shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Value, ValueId};

    fn graph() -> Graph {
        let mut g = Graph::default();
        g.add_value(Value {
            name: "x".into(),
            shape: vec![1, 2, 3, 4],
            constant: None,
            quant: None,
        });
        g.inputs.push(Port {
            value: ValueId(0),
            name: "x".into(),
            file_shape: vec![1, 4, 2, 3],
            perm: vec![0, 2, 3, 1],
        });
        g
    }

    #[test]
    fn messages_name_input_and_shape() {
        let g = graph();
        let bad = Samples::new(vec![ArrayD::zeros(IxDyn(&[5, 4, 3, 2]))]);
        let message = bad.check(&g).unwrap_err().to_string();
        assert!(
            message.contains("'x'") && message.contains("[4, 2, 3]"),
            "{message}"
        );
        let empty = Samples::new(vec![ArrayD::zeros(IxDyn(&[0, 4, 2, 3]))]);
        assert!(
            empty
                .check(&g)
                .unwrap_err()
                .to_string()
                .contains("no samples")
        );
        let mut nan = ArrayD::zeros(IxDyn(&[5, 4, 2, 3]));
        nan[[3, 0, 1, 1]] = f32::NAN;
        assert!(
            Samples::new(vec![nan])
                .check(&g)
                .unwrap_err()
                .to_string()
                .contains("sample 3")
        );
        assert!(
            Samples::new(vec![])
                .check(&g)
                .unwrap_err()
                .to_string()
                .contains("1 inputs")
        );
    }

    #[test]
    fn channel_first_samples_become_channel_last() {
        let g = graph();
        let s = Samples::synthetic(&g, 2, 7, -1.0, 1.0);
        s.check(&g).unwrap();
        let (file, ir) = (s.file_item(&g, 1), s.ir_item(&g, 1));
        assert_eq!(ir[0].shape(), [1, 2, 3, 4]);
        assert_eq!(ir[0][[0, 1, 2, 3]], file[0][[0, 3, 1, 2]]);
        assert_eq!(s.inputs, Samples::synthetic(&g, 2, 7, -1.0, 1.0).inputs);
    }
}
