//! The cores that core files describe.

use crate::failure::{Failure, Outcome};
use elastiq::Backend;
pub use elastiq_board::Core;
use std::path::PathBuf;

/// Environment variable with the folder of the elastiq sources.
pub const WORKSPACE_VAR: &str = "ELASTIQ_WORKSPACE";

/// Folder of the elastiq sources, which firmware is built from: `ELASTIQ_WORKSPACE`, else where this program
/// was built.
pub fn workspace() -> Outcome<PathBuf> {
    let given = std::env::var_os(WORKSPACE_VAR).map(PathBuf::from);
    let dir = given.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")));
    match dir.canonicalize() {
        Ok(dir) if dir.join("targets/firmware").is_dir() => Ok(dir),
        _ => Err(Failure::at(
            &dir,
            format!("not the elastiq sources, which firmware is built from (set {WORKSPACE_VAR})"),
        )),
    }
}

/// All cores, by name.
pub fn cores() -> Outcome<Vec<Core>> {
    let targets = workspace()?.join("targets");
    let mut cores = vec![];
    for family in ["aarch64", "cortex-m", "riscv"] {
        let dir = targets.join(family).join("cores");
        let entries = std::fs::read_dir(&dir).map_err(|e| Failure::at(&dir, e))?;
        for entry in entries {
            let path = entry.map_err(|e| Failure::at(&dir, e))?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                cores.push(Core::read(&path).map_err(Failure::input)?);
            }
        }
    }
    cores.sort_by_key(|core| {
        (
            core.name
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_string(),
            number(&core.name),
        )
    });
    Ok(cores)
}

fn number(name: &str) -> u32 {
    name.trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap_or(0)
}

/// Kernels that an artifact for core `name` is aimed at; `host` is this machine.
///
/// # Errors
/// An unknown core, or a core file with unknown kernels.
pub fn backend(name: &str) -> Outcome<Backend> {
    if name == "host" {
        return Ok(Backend::native());
    }
    let core = core(name)?;
    let found = Backend::ALL.into_iter().find(|b| b.name() == core.backend);
    found.ok_or_else(|| {
        let names: Vec<&str> = Backend::ALL.iter().map(|b| b.name()).collect();
        Failure::input(format!(
            "core file {name}.toml: no backend `{}` (there are {})",
            core.backend,
            names.join(", ")
        ))
    })
}

/// The core called `name`.
pub fn core(name: &str) -> Outcome<Core> {
    let cores = cores()?;
    let names: Vec<&str> = cores.iter().map(|core| core.name.as_str()).collect();
    let unknown = Failure::input(format!("no core `{name}` (there are {})", names.join(", ")));
    cores
        .into_iter()
        .find(|core| core.name == name)
        .ok_or(unknown)
}
