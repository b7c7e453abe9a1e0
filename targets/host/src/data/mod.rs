//! Data sets from files, and how they meet the inputs of a network.
//!
//! `.npz` (arrays `x`, `y`, or one array per network input), `.npy` (x only), CSV with a header, folders of PNG per
//! class. Values are `f32`, labels class indices from 0. Everything is finite and consistent once loaded.

mod npy;
mod packages;
mod pickle;
mod png;
mod text;

pub use packages::{PACKAGED, Split, fetch, is_packaged};

use crate::failure::{Failure, Outcome, io_text};
use ndarray::{ArrayD, Axis, Dimension};
use std::path::{Path, PathBuf};

/// A data set: samples along the leading axis of every array.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Where it came from, for messages.
    pub file: PathBuf,
    /// Named arrays `[n, ...]`, at least one; all share `n > 0`.
    pub arrays: Vec<(String, ArrayD<f32>)>,
    /// Class index per sample, none negative.
    pub y: Option<Vec<i64>>,
    /// Names of the classes where the source has them (folder names, words in a CSV column).
    pub classes: Vec<String>,
}

/// What a network wants to be fed with: name and shape of one input in the file's layout, batch included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    pub name: String,
    pub shape: Vec<usize>,
}

impl InputSpec {
    /// The shape without its batch axis. A leading axis of 1 is the batch, unless it is the only one.
    pub fn sample_shape(&self) -> &[usize] {
        match self.shape.split_first() {
            Some((1, rest)) if !rest.is_empty() => rest,
            _ => &self.shape,
        }
    }
}

impl Dataset {
    /// Loads a file or folder by its kind.
    ///
    /// # Errors
    /// One line that names the file and the array, row, column or picture at fault.
    pub fn load(path: &Path) -> Outcome<Dataset> {
        let set = if path.is_dir() {
            png::load_folder(path)?
        } else {
            match path
                .extension()
                .and_then(|e| e.to_str())
                .map(str::to_ascii_lowercase)
                .as_deref()
            {
                Some("npz") => npy::load_npz(path)?,
                Some("npy") => npy::load_npy(path)?,
                Some("csv") => text::load_csv(path)?,
                _ if !path.exists() => return Err(Failure::at(path, "no such file or directory")),
                _ => {
                    let wants = "not a data file: expected .npz, .npy, .csv or a folder with one folder of PNG per class";
                    return Err(Failure::at(path, wants));
                }
            }
        };
        set.check()?;
        Ok(set)
    }

    /// Number of samples.
    pub fn n(&self) -> usize {
        self.arrays.first().map_or(0, |(_, a)| a.len_of(Axis(0)))
    }

    /// Number of classes that the labels speak of: the largest label and one, or the named classes.
    pub fn classes_len(&self) -> usize {
        let seen = self.y.iter().flatten().max().map_or(0, |&m| m as usize + 1);
        seen.max(self.classes.len())
    }

    /// Arrays in the order of `inputs`, each reshaped to `[n, sample shape]`.
    ///
    /// A network with one input takes the array named like it, else `x`, else the only array. Axes of length 1 are
    /// ignored when shapes are compared.
    pub fn fit(&self, inputs: &[InputSpec]) -> Outcome<Vec<ArrayD<f32>>> {
        inputs
            .iter()
            .map(|input| self.fit_one(input, inputs.len() == 1))
            .collect()
    }

    fn fit_one(&self, input: &InputSpec, only: bool) -> Outcome<ArrayD<f32>> {
        let by_name = |name: &str| self.arrays.iter().find(|(n, _)| n == name);
        let found = by_name(&input.name)
            .or_else(|| if only { by_name("x") } else { None })
            .or_else(|| {
                if only && self.arrays.len() == 1 {
                    self.arrays.first()
                } else {
                    None
                }
            });
        let Some((name, array)) = found else {
            let have: Vec<&str> = self.arrays.iter().map(|(n, _)| n.as_str()).collect();
            let what = format!(
                "no array for input `{}` (has: {})",
                input.name,
                have.join(", ")
            );
            return Err(Failure::at(&self.file, what));
        };
        let sample = array.shape().get(1..).unwrap_or(&[]);
        let want = input.sample_shape();
        let solid = |s: &[usize]| s.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        if solid(sample) != solid(want) {
            let what = format!(
                "a sample of `{name}` has shape {sample:?}, input `{}` of the network wants {want:?}",
                input.name
            );
            return Err(Failure::at(&self.file, what));
        }
        let mut shape = vec![self.n()];
        shape.extend_from_slice(want);
        let plain = array.as_standard_layout().into_owned();
        plain
            .into_shape_with_order(shape)
            .map_err(|e| Failure::at(&self.file, e))
    }

    /// The first `n` samples (all where there are fewer).
    pub fn head(&self, n: usize) -> Dataset {
        self.select(&(0..n.min(self.n())).collect::<Vec<_>>())
    }

    /// `n` samples, evenly spaced (all where there are fewer).
    pub fn evenly(&self, n: usize) -> Dataset {
        let (len, n) = (self.n(), n.min(self.n()));
        self.select(&(0..n).map(|i| i * len / n).collect::<Vec<_>>())
    }

    fn select(&self, picks: &[usize]) -> Dataset {
        let take = |a: &ArrayD<f32>| a.select(Axis(0), picks);
        Dataset {
            file: self.file.clone(),
            arrays: self
                .arrays
                .iter()
                .map(|(k, a)| (k.clone(), take(a)))
                .collect(),
            y: self
                .y
                .as_ref()
                .map(|y| picks.iter().map(|&i| y[i]).collect()),
            classes: self.classes.clone(),
        }
    }

    fn check(&self) -> Outcome<()> {
        let n = self.n();
        for (name, array) in &self.arrays {
            if array.ndim() == 0 {
                return Err(Failure::at(
                    &self.file,
                    format!("array `{name}` is a single number, expected [n, ...]"),
                ));
            }
            if array.is_empty() {
                return Err(Failure::at(
                    &self.file,
                    format!("array `{name}` is empty: shape {:?}", array.shape()),
                ));
            }
            if array.len_of(Axis(0)) != n {
                let what = format!(
                    "array `{name}` has {} samples, the first array {n}",
                    array.len_of(Axis(0))
                );
                return Err(Failure::at(&self.file, what));
            }
            if let Some((at, v)) = array.indexed_iter().find(|(_, v)| !v.is_finite()) {
                return Err(Failure::at(
                    &self.file,
                    format!("array `{name}` holds {v} at index {:?}", at.slice()),
                ));
            }
        }
        if self.arrays.is_empty() {
            return Err(Failure::at(&self.file, "holds no array of samples (`x`)"));
        }
        let Some(y) = &self.y else { return Ok(()) };
        if y.len() != n {
            return Err(Failure::at(
                &self.file,
                format!("`y` has {} labels for {n} samples", y.len()),
            ));
        }
        match y.iter().position(|&v| v < 0) {
            Some(i) => Err(Failure::at(
                &self.file,
                format!("label {} of sample {i} is negative", y[i]),
            )),
            None => Ok(()),
        }
    }
}

/// Reads a whole file with the operating system's words on failure.
pub(crate) fn read_file(path: &Path) -> Outcome<Vec<u8>> {
    if path.is_dir() {
        return Err(Failure::at(path, "is a directory"));
    }
    std::fs::read(path).map_err(|e| Failure::at(path, io_text(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::IxDyn;

    fn set(shape: &[usize]) -> Dataset {
        Dataset {
            file: PathBuf::from("a.npz"),
            arrays: vec![("x".into(), ArrayD::zeros(IxDyn(shape)))],
            y: None,
            classes: vec![],
        }
    }

    fn spec(shape: &[usize]) -> InputSpec {
        InputSpec {
            name: "in".into(),
            shape: shape.to_vec(),
        }
    }

    #[test]
    fn unit_axes_do_not_matter() {
        let got = set(&[5, 8, 8]).fit(&[spec(&[1, 1, 8, 8])]).expect("fits");
        assert_eq!(got[0].shape(), [5, 1, 8, 8]);
        let got = set(&[5, 1, 640]).fit(&[spec(&[1, 640])]).expect("fits");
        assert_eq!(got[0].shape(), [5, 640]);
    }

    #[test]
    fn wrong_shape_names_both() {
        let e = set(&[5, 8, 7])
            .fit(&[spec(&[1, 8, 8, 1])])
            .expect_err("does not fit");
        let line = e.line().expect("message");
        assert!(line.starts_with("a.npz: "), "{line}");
        assert!(
            line.contains("[8, 7]") && line.contains("[8, 8, 1]"),
            "{line}"
        );
    }

    #[test]
    fn several_inputs_need_their_names() {
        let two = [
            spec(&[1, 4]),
            InputSpec {
                name: "b".into(),
                shape: vec![1, 4],
            },
        ];
        assert!(set(&[5, 4]).fit(&two).is_err());
    }

    #[test]
    fn nan_is_found() {
        let mut s = set(&[2, 2]);
        s.arrays[0].1[[1, 0]] = f32::NAN;
        let line = s.check().expect_err("NaN").line().expect("message");
        assert!(line.contains("NaN at index [1, 0]"), "{line}");
    }
}
