//! The error of this crate: one line that says where and what.

use std::path::Path;

/// What went wrong, and where. `Display` is one line: control characters of names from files are escaped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file as a whole: missing, unreadable, too large, not what it should be.
    #[error("{file}: {text}")]
    File { file: String, text: String },
    /// A node of an ONNX file.
    #[error("{file}: node `{node}` ({operator}): {text}")]
    Node {
        file: String,
        node: String,
        operator: String,
        text: String,
    },
    /// An operator of the network that is being lowered; `node` is its name in the file.
    #[error("node `{node}` ({operator}): {text}")]
    Layer {
        node: String,
        operator: String,
        text: String,
    },
    /// Anything without a place in a file: data, options.
    #[error("{0}")]
    Input(String),
}

impl Error {
    /// Error about a file.
    pub fn file(path: &Path, text: impl Into<String>) -> Error {
        Error::File {
            file: one_line(&path.display().to_string()),
            text: one_line(&text.into()),
        }
    }

    /// Error about a node of an ONNX file.
    pub fn node(file: &str, node: &str, operator: &str, text: impl Into<String>) -> Error {
        Error::Node {
            file: one_line(file),
            node: one_line(node),
            operator: one_line(operator),
            text: one_line(&text.into()),
        }
    }

    /// Error about an operator of the network.
    pub fn layer(node: &str, operator: &str, text: impl Into<String>) -> Error {
        Error::Layer {
            node: one_line(node),
            operator: one_line(operator),
            text: one_line(&text.into()),
        }
    }

    /// Error about data or options.
    pub fn input(text: impl Into<String>) -> Error {
        Error::Input(one_line(&text.into()))
    }

    /// Error about data or options: `text` is wrong at `place`.
    pub fn at(place: impl std::fmt::Display, text: impl std::fmt::Display) -> Error {
        Error::input(format!("{place}: {text}"))
    }

    /// The same error with `place` in front, for a caller that knows more about where it happened.
    #[must_use]
    pub fn within(self, place: impl std::fmt::Display) -> Error {
        Error::input(format!("{place}: {self}"))
    }
}

/// Longest text that is shown whole.
const LINE_MAX: usize = 1200;

/// Control characters escaped, very long text cut.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(LINE_MAX)
        .flat_map(|c| {
            let escape = c.is_control();
            let plain = (!escape).then_some(c);
            let escaped = escape.then(|| c.escape_default());
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect();
    if text.chars().nth(LINE_MAX).is_some() {
        line.push_str(" ...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line() {
        let e = Error::node("a\nb.onnx", "n\x1b[31m", "Conv", "no\r\nway");
        let s = e.to_string();
        assert!(!s.chars().any(char::is_control), "{s:?}");
        assert!(Error::input("é".repeat(5000)).to_string().chars().count() < 1300);
    }
}
