//! What leaves a subcommand: standard output, files, progress.

use crate::failure::{Failure, Outcome, io_text};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Text with control characters other than line ends escaped: names in files must not steer a terminal.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
    }
    out
}

/// Writes `text` to standard output at once; a reader that has gone is [`Failure::Pipe`].
pub fn print(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(visible(text).as_bytes())
        .and_then(|()| out.flush())
    {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::Pipe),
        Err(e) => Err(Failure::input(format!("standard output: {}", io_text(&e)))),
    }
}

/// Prints one JSON object and a newline.
pub fn print_json(value: &impl Serialize) -> Outcome<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::input(format!("standard output: JSON: {e}")))?;
    print(&(text + "\n"))
}

/// A line for people on standard error; nobody listening is no error.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", visible(text));
}

/// Writes `bytes` to a temporary file next to `path` and renames it, so that `path` is either what it was or
/// complete. Nothing is left behind on failure.
pub fn write_file(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let fail = |e: &std::io::Error| Failure::at(path, format!("cannot write: {}", io_text(e)));
    if path.is_dir() {
        return Err(Failure::at(path, "cannot write: is a directory"));
    }
    let dir = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".elastiq-");
    // Temporary files are private by default; the result gets the rights that a plain create would give.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(dir).map_err(|e| fail(&e))?;
    file.write_all(bytes)
        .and_then(|()| file.flush())
        .map_err(|e| fail(&e))?;
    file.persist(path).map_err(|e| fail(&e.error))?;
    Ok(())
}

/// Checks early that `path` can be created, before minutes of work go into its contents.
pub fn check_writable(path: &Path) -> Outcome<()> {
    let fail = |e: &std::io::Error| Failure::at(path, format!("cannot write: {}", io_text(e)));
    if path.is_dir() {
        return Err(Failure::at(path, "cannot write: is a directory"));
    }
    let dir = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".elastiq-")
        .tempfile_in(dir)
        .map(drop)
        .map_err(|e| fail(&e))
}

/// Progress on standard error, drawn only on a terminal and gone when done.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar without a length yet.
    pub fn new(stage: &str) -> Progress {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg:28} [{bar:32}] {pos}/{len} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(stage.to_string());
        Progress { bar }
    }

    /// `done` of `total` steps of `stage`.
    pub fn at(&mut self, stage: &str, done: usize, total: usize) {
        if self.bar.message() != stage {
            self.bar.reset_eta();
            self.bar.set_message(stage.to_string());
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Sign of life on standard error for work whose length is not known, drawn only on a terminal.
pub struct Spinner {
    bar: ProgressBar,
    what: String,
}

impl Spinner {
    /// A spinner for `what`.
    pub fn new(what: &str) -> Spinner {
        let bar = ProgressBar::new_spinner().with_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner {
            bar,
            what: what.to_string(),
        }
    }

    /// Shows what is being done.
    pub fn say(&self, doing: &str) {
        self.bar.set_message(format!("{}: {doing}", self.what));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A plain table for a terminal: header, rows; columns listed in `left` are left-aligned, the others are numbers.
pub struct TextTable {
    table: Table,
    columns: usize,
}

impl TextTable {
    /// A table with these column names.
    pub fn new(header: &[&str]) -> TextTable {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(header.iter().copied());
        TextTable {
            table,
            columns: header.len(),
        }
    }

    /// Adds a row.
    pub fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table.add_row(cells.into_iter().map(|c| c.to_string()));
    }

    /// Text with a newline at the end, no spaces at the ends of lines.
    pub fn render(mut self, left: &[usize]) -> String {
        for i in 0..self.columns {
            if let Some(column) = self.table.column_mut(i) {
                let side = if left.contains(&i) {
                    CellAlignment::Left
                } else {
                    CellAlignment::Right
                };
                column.set_cell_alignment(side);
                column.set_padding((0, 2));
            }
        }
        let mut text = String::new();
        for line in self.table.to_string().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Digits in groups of three: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(d);
    }
    text
}

/// A share as `0.9167`, or a dash.
pub fn share(v: Option<f64>) -> String {
    v.map_or_else(|| "-".to_string(), |v| format!("{v:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(visible("a\n\u{1b}[2Jb"), "a\n\\u{1b}[2Jb");
    }

    #[test]
    fn groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.bin");
        write_file(&path, b"old").expect("first write");
        let below = path.join("b.bin");
        assert!(write_file(&below, b"new").is_err());
        assert_eq!(std::fs::read(&path).expect("still there"), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listing").count(), 1);
    }

    #[test]
    fn table_is_aligned() {
        let mut t = TextTable::new(&["name", "n"]);
        t.row(["a", "1"]);
        t.row(["bcd", "100"]);
        let text = t.render(&[0]);
        let ends: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(text.lines().count(), 3);
        assert!(ends.windows(2).all(|w| w[0] == w[1]), "{text}");
    }
}
