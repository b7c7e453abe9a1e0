//! How a subcommand ends other than well, and the exit code that says so.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// Result of everything that can end a subcommand.
pub type Outcome<T> = Result<T, Failure>;

/// Why a subcommand stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something given to the command is wrong: exit code 2.
    Input(String),
    /// The command worked and a check it made did not hold: exit code 1.
    Check(String),
    /// Whoever read standard output has gone: nothing left to say, exit code 0.
    Pipe,
}

impl Failure {
    /// Bad input, in words.
    pub fn input(what: impl Display) -> Failure {
        Failure::Input(what.to_string())
    }

    /// A check that did not hold.
    pub fn check(what: impl Display) -> Failure {
        Failure::Check(what.to_string())
    }

    /// Bad input in `file`; the name is put in front unless `what` already starts with it, with or without folder.
    pub fn at(file: &Path, what: impl Display) -> Failure {
        let (name, what) = (file.display().to_string(), what.to_string());
        let short = file
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let after = |name: &str| {
            what.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(": "))
        };
        let text = after(&name).or_else(|| after(&short)).unwrap_or(&what);
        Failure::Input(format!("{name}: {text}"))
    }

    /// Exit code of the process.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Input(_) => 2,
            Failure::Check(_) => 1,
            Failure::Pipe => 0,
        }
    }

    /// The message as one line, or `None` where there is nothing to say.
    pub fn line(&self) -> Option<String> {
        match self {
            Failure::Input(what) | Failure::Check(what) => Some(one_line(what)),
            Failure::Pipe => None,
        }
    }
}

/// Error of an I/O call in the words of the operating system, without the number.
pub fn io_text(e: &io::Error) -> String {
    let text = e.to_string();
    match text.split_once(" (os error") {
        Some((head, _)) => head.to_string(),
        None => text,
    }
}

/// Joins the non-empty lines of `text`, so that an error is always one line.
pub fn one_line(text: &str) -> String {
    let parts: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_stands_once() {
        let file = Path::new("a.onnx");
        assert_eq!(
            Failure::at(file, "not ONNX"),
            Failure::Input("a.onnx: not ONNX".into())
        );
        assert_eq!(
            Failure::at(file, "a.onnx: not ONNX"),
            Failure::Input("a.onnx: not ONNX".into())
        );
    }

    #[test]
    fn message_is_one_line() {
        let f = Failure::check("first\n\n   second \n");
        assert_eq!(f.line().as_deref(), Some("first; second"));
        assert_eq!(f.code(), 1);
    }
}
