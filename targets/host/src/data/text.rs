//! CSV with a header line: one row per sample, one column per feature, optionally one of labels.

use super::Dataset;
use crate::failure::{Failure, Outcome, io_text};
use ndarray::{ArrayD, IxDyn};
use std::path::Path;

/// Column names that hold the class, in any case.
const LABEL_NAMES: [&str; 4] = ["y", "label", "class", "target"];

/// Loads features as `[n, columns]` and labels from the column named `y`, `label`, `class` or `target`.
///
/// Labels are whole numbers from 0, or words, which get indices in sorted order.
pub(super) fn load_csv(path: &Path) -> Outcome<Dataset> {
    let file = std::fs::File::open(path).map_err(|e| Failure::at(path, io_text(&e)))?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(file);
    let fail = |e: csv::Error| Failure::at(path, format!("not CSV: {e}"));
    let header = reader.headers().map_err(fail)?.clone();
    if header.is_empty() {
        return Err(Failure::at(path, "is empty"));
    }
    if header.iter().all(|name| name.parse::<f32>().is_ok()) {
        return Err(Failure::at(
            path,
            "line 1 holds numbers; the first line must name the columns",
        ));
    }
    let is_label = |name: &str| LABEL_NAMES.iter().any(|l| name.eq_ignore_ascii_case(l));
    let label_col = header
        .iter()
        .enumerate()
        .filter(|(_, n)| is_label(n))
        .map(|(i, _)| i)
        .last();
    let features = header.len() - usize::from(label_col.is_some());
    let (mut x, mut words) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(fail)?;
        let line = record.position().map_or(0, csv::Position::line);
        for (c, cell) in record.iter().enumerate() {
            if Some(c) == label_col {
                words.push(cell.to_string());
                continue;
            }
            match cell.parse::<f32>() {
                Ok(v) if v.is_finite() => x.push(v),
                _ => {
                    let name = header.get(c).unwrap_or("");
                    let what = format!(
                        "line {line}, column {} `{name}`: `{cell}` is not a finite number",
                        c + 1
                    );
                    return Err(Failure::at(path, what));
                }
            }
        }
    }
    if features == 0 {
        return Err(Failure::at(path, "has no feature columns"));
    }
    let n = x.len() / features;
    let x = ArrayD::from_shape_vec(IxDyn(&[n, features]), x).map_err(|e| Failure::at(path, e))?;
    let (y, classes) = match label_col {
        Some(_) => {
            let (y, classes) = index_labels(&words);
            (Some(y), classes)
        }
        None => (None, vec![]),
    };
    Ok(Dataset {
        file: path.into(),
        arrays: vec![("x".into(), x)],
        y,
        classes,
    })
}

/// Class indices of label cells, and class names where the cells are words.
fn index_labels(cells: &[String]) -> (Vec<i64>, Vec<String>) {
    let whole = |c: &String| {
        c.parse::<f64>()
            .ok()
            .filter(|v| v.fract() == 0.0)
            .map(|v| v as i64)
    };
    if let Some(y) = cells.iter().map(whole).collect() {
        return (y, vec![]);
    }
    let mut names = cells.to_vec();
    names.sort();
    names.dedup();
    let index = |c: &String| names.binary_search(c).map_or(-1, |i| i as i64);
    (cells.iter().map(index).collect(), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Outcome<Dataset> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.csv");
        std::fs::write(&path, text).expect("write");
        Dataset::load(&path)
    }

    #[test]
    fn features_and_labels() {
        let set = load("a,b,y\n1, 2,0\n3,4,1\n").expect("loads");
        assert_eq!(set.arrays[0].1.shape(), [2, 2]);
        assert_eq!(set.y, Some(vec![0, 1]));
        let set = load("class,a\ndog,1\ncat,2\n").expect("loads");
        assert_eq!(set.y, Some(vec![1, 0]));
        assert_eq!(set.classes, ["cat", "dog"]);
        assert_eq!(load("a,b\n1,2\n").expect("loads").y, None);
    }

    #[test]
    fn errors_name_line_and_column() {
        let line = load("a,b\n1,2\n3,x\n")
            .expect_err("bad cell")
            .line()
            .expect("message");
        assert!(line.contains("line 3, column 2 `b`: `x`"), "{line}");
        let line = load("a,b\n1,nan\n")
            .expect_err("NaN")
            .line()
            .expect("message");
        assert!(line.contains("line 2, column 2"), "{line}");
        assert!(load("a,b\n1\n").is_err());
        assert!(load("a,b\n").is_err());
        assert!(load("1,2\n3,4\n").is_err());
    }
}
