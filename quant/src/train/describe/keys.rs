//! Keys of a table, taken one by one; what is left at the end is unknown.

use toml::{Table, Value};

/// A table and the name it has in messages.
pub struct Keys {
    place: String,
    table: Table,
}

impl Keys {
    /// `place` stands in front of messages, where it is not empty.
    pub fn new(place: String, table: Table) -> Keys {
        Keys { place, table }
    }

    /// The same keys under a better name.
    pub fn moved(self, place: String) -> Keys {
        Keys { place, ..self }
    }

    /// A message about this table.
    pub fn error(&self, text: impl std::fmt::Display) -> String {
        match self.place.is_empty() {
            true => text.to_string(),
            false => format!("{}: {text}", self.place),
        }
    }

    fn wrong<T>(&self, key: &str, wants: &str) -> Result<T, String> {
        Err(self.error(format!("`{key}` must be {wants}")))
    }

    /// Text that must be there.
    pub fn text(&mut self, key: &str) -> Result<String, String> {
        match self.maybe_text(key)? {
            Some(text) => Ok(text),
            None => Err(self.error(format!("`{key}` is missing"))),
        }
    }

    /// Text, where it is given.
    pub fn maybe_text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(_) => self.wrong(key, "a text"),
        }
    }

    /// Text with a default.
    pub fn word(&mut self, key: &str, default: &str) -> Result<String, String> {
        Ok(self.maybe_text(key)?.unwrap_or_else(|| default.into()))
    }

    /// True or false with a default.
    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool, String> {
        match self.table.remove(key) {
            None => Ok(default),
            Some(Value::Boolean(b)) => Ok(b),
            Some(_) => self.wrong(key, "true or false"),
        }
    }

    /// A number above 0 that must be there, or have a default.
    pub fn count(&mut self, key: &str, default: Option<usize>) -> Result<usize, String> {
        match self.table.remove(key) {
            None => default.ok_or_else(|| self.error(format!("`{key}` is missing"))),
            Some(v) => match number(&v, 1) {
                Some(n) => Ok(n),
                None => self.wrong(key, "a whole number above 0"),
            },
        }
    }

    /// One number for both spatial axes, or two.
    pub fn pair(&mut self, key: &str, default: Option<[usize; 2]>) -> Result<[usize; 2], String> {
        let Some(v) = self.table.remove(key) else {
            return default.ok_or_else(|| self.error(format!("`{key}` is missing")));
        };
        let numbers = match &v {
            Value::Array(list) => list.iter().map(|v| number(v, 1)).collect(),
            v => number(v, 1).map(|n| vec![n, n]),
        };
        match numbers.as_deref() {
            Some(&[h, w]) => Ok([h, w]),
            _ => self.wrong(key, "a whole number above 0 or a list of two"),
        }
    }

    /// A list of numbers above 0.
    pub fn list(&mut self, key: &str) -> Result<Vec<usize>, String> {
        match self.table.remove(key) {
            None => Err(self.error(format!("`{key}` is missing"))),
            Some(Value::Array(list)) => match list.iter().map(|v| number(v, 1)).collect() {
                Some(numbers) => Ok(numbers),
                None => self.wrong(key, "a list of whole numbers above 0"),
            },
            Some(_) => self.wrong(key, "a list of whole numbers above 0"),
        }
    }

    /// Padding of a window: a word, or the four sides.
    pub fn padding(&mut self) -> Result<Padding, String> {
        let key = "padding";
        let found = match self.table.remove(key) {
            None => Some(Padding::Sides([0; 4])),
            Some(Value::String(s)) if s == "same" => Some(Padding::Same),
            Some(Value::String(s)) if s == "valid" => Some(Padding::Sides([0; 4])),
            Some(Value::Array(list)) => {
                let numbers: Option<Vec<usize>> = list.iter().map(|v| number(v, 0)).collect();
                numbers
                    .and_then(|n| <[usize; 4]>::try_from(n).ok())
                    .map(Padding::Sides)
            }
            Some(_) => None,
        };
        match found {
            Some(padding) => Ok(padding),
            None => self.wrong(key, "\"same\", \"valid\" or [top, left, bottom, right]"),
        }
    }

    /// An array of tables.
    pub fn tables(&mut self, key: &str) -> Result<Vec<Table>, String> {
        let one = |v| match v {
            Value::Table(t) => Some(t),
            _ => None,
        };
        match self.table.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => match list.into_iter().map(one).collect() {
                Some(tables) => Ok(tables),
                None => self.wrong(key, "a list of tables"),
            },
            Some(_) => self.wrong(key, "a list of tables"),
        }
    }

    /// Every key has been taken.
    pub fn finish(self) -> Result<(), String> {
        match self.table.keys().next() {
            Some(key) => Err(self.error(format!("`{key}` is not a key here"))),
            None => Ok(()),
        }
    }
}

/// Padding of a window.
pub enum Padding {
    /// As many outputs as inputs divided by the stride.
    Same,
    /// Top, left, bottom, right.
    Sides([usize; 4]),
}

/// Extents beyond this overflow or exhaust memory long before.
const NUMBER_MAX: i64 = 1 << 24;

fn number(v: &Value, least: i64) -> Option<usize> {
    let n = v.as_integer()?;
    (least..=NUMBER_MAX).contains(&n).then_some(n as usize)
}
