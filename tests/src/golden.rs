//! The table of instruction counts that a change of the kernels is measured against.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Largest rise that passes, and smallest fall that is worth a new table: a share of the recorded count.
pub const TOLERANCE: f64 = 0.02;
/// The same where another compiler recorded the table: it schedules and inlines otherwise.
pub const OTHER_COMPILER: f64 = 0.05;
/// A rise of exactly the tolerance passes, whatever the last bit of the quotient.
const EXACT: f64 = 1e-9;

const HEAD: &str = "\
# Instructions of one layer or one run of a network on each emulated core. A count that rises by more than 2 %
# (5 % with another compiler than the recorded one) fails `cargo test -p elastiq-tests --test instructions`.
# Written anew with ELASTIQ_OVERWRITE=1.
";

/// Counts of one core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Compiler that built the firmware, with where its core library comes from.
    pub compiler: String,
    /// Instructions by name of the layer or network.
    pub rows: BTreeMap<String, u64>,
}

/// Counts by name of the core.
pub type Table = BTreeMap<String, Counts>;

/// What a comparison found, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Counts that rose, rows that one side lacks: each fails.
    pub failures: Vec<String>,
    /// Counts that fell: the table should be written anew.
    pub falls: Vec<String>,
    /// Cores whose firmware another compiler built.
    pub compilers: Vec<String>,
}

/// Read a table.
///
/// # Errors
/// What is not as [`write()`] writes it.
pub fn read(text: &str) -> Result<Table, String> {
    let file: toml::Table = text.parse().map_err(|e| format!("{e}"))?;
    let core = |(name, value): (&String, &toml::Value)| {
        let bad = |what: &str| format!("{name}: {what}");
        let compiler = value.get("compiler").and_then(toml::Value::as_str);
        let rows = value.get("instructions").and_then(toml::Value::as_table);
        let count = |(row, n): (&String, &toml::Value)| {
            let n = n.as_integer().and_then(|n| u64::try_from(n).ok());
            Ok((row.clone(), n.ok_or_else(|| bad(row))?))
        };
        let counts = Counts {
            compiler: compiler.ok_or_else(|| bad("no compiler"))?.to_owned(),
            rows: rows
                .ok_or_else(|| bad("no instructions"))?
                .iter()
                .map(count)
                .collect::<Result<_, String>>()?,
        };
        Ok((name.clone(), counts))
    };
    file.iter().map(core).collect()
}

/// The text of a table.
pub fn write(table: &Table) -> String {
    let mut text = HEAD.to_owned();
    for (core, counts) in table {
        let _ = write!(
            text,
            "\n[{core}]\ncompiler = \"{}\"\n\n[{core}.instructions]\n",
            counts.compiler
        );
        for (row, n) in &counts.rows {
            let _ = writeln!(text, "\"{row}\" = {n}");
        }
    }
    text
}

/// Compare `measured` with what is `recorded`.
pub fn compare(recorded: &Table, measured: &Table) -> Findings {
    let mut found = Findings::default();
    let none = Counts::default();
    let cores: Vec<&String> = keys(recorded, measured);
    for core in cores {
        let old = recorded.get(core).unwrap_or(&none);
        let new = measured.get(core).unwrap_or(&none);
        let same = old.compiler == new.compiler || old.rows.is_empty() || new.rows.is_empty();
        let tolerance = if same { TOLERANCE } else { OTHER_COMPILER };
        if !same {
            found.compilers.push(format!(
                "{core}: built with {}, the table with {}: {:.0} % more pass",
                new.compiler,
                old.compiler,
                tolerance * 100.0
            ));
        }
        for row in keys(&old.rows, &new.rows) {
            let (was, is) = match (old.rows.get(row), new.rows.get(row)) {
                (Some(&was), Some(&is)) => (was, is),
                (None, _) => {
                    let line = format!("{core}, {row}: is not in the table");
                    found.failures.push(line);
                    continue;
                }
                (_, None) => {
                    let line = format!("{core}, {row}: is in the table and was not measured");
                    found.failures.push(line);
                    continue;
                }
            };
            let share = is as f64 / was.max(1) as f64 - 1.0;
            let line = format!("{core}, {row}: {was} -> {is} ({:+.1} %)", share * 100.0);
            if share > tolerance + EXACT {
                found.failures.push(line);
            } else if share < -tolerance - EXACT {
                found.falls.push(line);
            }
        }
    }
    found
}

/// Keys of both maps.
fn keys<'m, V>(a: &'m BTreeMap<String, V>, b: &'m BTreeMap<String, V>) -> Vec<&'m String> {
    let all: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(compiler: &str, rows: &[(&str, u64)]) -> Table {
        let rows = rows.iter().map(|(name, n)| (name.to_string(), *n));
        let counts = Counts {
            compiler: compiler.into(),
            rows: rows.collect(),
        };
        [("m4".to_owned(), counts)].into()
    }

    #[test]
    fn tables_survive_text() {
        let table = table("1.96.0", &[("conv1x1 int8", 5), ("digits_cnn", 7)]);
        assert_eq!(read(&write(&table)), Ok(table));
        assert_eq!(
            read("[m4]\ncompiler = \"1\"").unwrap_err(),
            "m4: no instructions"
        );
        assert!(read("[m4]\ncompiler = \"1\"\n[m4.instructions]\na = -1").is_err());
    }

    #[test]
    fn a_rise_fails_a_fall_is_told() {
        let old = table("1.96.0", &[("a", 1000), ("b", 1000), ("c", 1000)]);
        let new = table("1.96.0", &[("a", 1020), ("b", 1021), ("c", 979)]);
        let found = compare(&old, &new);
        assert_eq!(found.failures, ["m4, b: 1000 -> 1021 (+2.1 %)"]);
        assert_eq!(found.falls, ["m4, c: 1000 -> 979 (-2.1 %)"]);
        assert_eq!(compare(&old, &old), Findings::default());
    }

    #[test]
    fn another_compiler_gets_more_room_and_is_named() {
        let old = table("1.96.0", &[("a", 1000), ("b", 1000)]);
        let new = table("1.97.0", &[("a", 1050), ("b", 1051)]);
        let found = compare(&old, &new);
        assert_eq!(found.failures, ["m4, b: 1000 -> 1051 (+5.1 %)"]);
        assert_eq!(
            found.compilers,
            ["m4: built with 1.97.0, the table with 1.96.0: 5 % more pass"]
        );
    }

    #[test]
    fn rows_that_one_side_lacks_fail() {
        let old = table("1", &[("a", 1), ("b", 1)]);
        let new = table("1", &[("b", 1), ("c", 1)]);
        assert_eq!(
            compare(&old, &new).failures,
            [
                "m4, a: is in the table and was not measured",
                "m4, c: is not in the table"
            ]
        );
        assert_eq!(compare(&old, &Table::new()).failures.len(), 2);
    }
}
