//! Compilers, linkers and emulators: which are here, which are missing, and installing them.

use crate::failure::{Failure, Outcome};
use crate::qemu::{Core, cores, workspace};
use serde::Serialize;
use std::path::PathBuf;
use std::process::Command;

mod install;

pub use install::install;

/// Where the core library for a target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Library {
    /// Compiled, installed with the compiler.
    Installed,
    /// Compiled by cargo from the library source of the compiler.
    Source,
}

/// A compiler that can build for a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compiler {
    pub rustc: PathBuf,
    /// As the compiler prints it: `1.96.0`.
    pub version: String,
    pub library: Library,
}

/// Whether a core can be built for and run on.
#[derive(Clone, Debug, Serialize)]
pub struct CoreState {
    /// `m4`.
    pub name: String,
    /// `Cortex-M4F`.
    pub core: String,
    /// Compiler target triple.
    pub target: String,
    pub compiler: Option<Compiler>,
    /// First line of the version text of the emulator.
    pub emulator: Option<String>,
}

impl CoreState {
    /// Everything needed is there.
    pub fn ready(&self) -> bool {
        self.compiler.is_some() && self.emulator.is_some()
    }
}

/// What this machine has for building and running firmware.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    pub cargo: Option<String>,
    /// Path of the linker for bare-metal targets.
    pub linker: Option<PathBuf>,
    pub cores: Vec<CoreState>,
}

impl State {
    /// Every core can be built for and run on.
    pub fn ready(&self) -> bool {
        self.cargo.is_some() && self.linker.is_some() && self.cores.iter().all(CoreState::ready)
    }

    /// What is missing, one short phrase each, empty if nothing.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = vec![];
        missing.extend(self.cargo.is_none().then(|| "cargo".to_string()));
        missing.extend(
            self.linker
                .is_none()
                .then(|| "rust-lld or ld.lld".to_string()),
        );
        for core in &self.cores {
            missing.extend(
                core.compiler
                    .is_none()
                    .then(|| format!("a Rust compiler for {}", core.target)),
            );
            missing.extend(
                core.emulator
                    .is_none()
                    .then(|| format!("an emulator for {}", core.core)),
            );
        }
        missing.dedup();
        missing
    }
}

/// Look for everything.
///
/// # Errors
/// Only if the core files cannot be read.
pub fn detect() -> Outcome<State> {
    let cores = cores()?.into_iter().map(|core| CoreState {
        name: core.name.clone(),
        core: core.core.clone(),
        target: core.target.clone(),
        compiler: compiler(&core.target).ok(),
        emulator: emulator(&core),
    });
    Ok(State {
        cargo: first_line("cargo", &["--version"]),
        linker: linker().ok(),
        cores: cores.collect(),
    })
}

/// Version line of the emulator of `core`, `None` if it is missing or does not know the machine.
fn emulator(core: &Core) -> Option<String> {
    let version = first_line(&core.qemu.program, &["--version"])?;
    let machines = output(&core.qemu.program, &["-M", "help"])?;
    let known = machines
        .lines()
        .any(|line| line.split_whitespace().next() == Some(&core.qemu.machine));
    known.then_some(version)
}

/// The failure for a core whose emulator is not there.
pub fn emulator_missing(core: &Core) -> Failure {
    Failure::input(format!(
        "{} is not installed, {} runs in it (`elastiq doctor --install` installs package {})",
        core.qemu.program,
        core.core,
        install::qemu_package(&core.qemu.program)
    ))
}

/// Oldest compiler that the sources accept, `rust-version` of the workspace.
fn oldest() -> (u32, u32) {
    version(env!("CARGO_PKG_RUST_VERSION"))
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What a compiler says of itself.
struct Found {
    rustc: PathBuf,
    version: String,
    host: String,
    sysroot: PathBuf,
}

/// Compilers on this machine: the distribution's first, so that machines which have it count the same instructions
/// whatever else is installed.
fn compilers() -> Vec<Found> {
    let candidates = ["/usr/bin/rustc", "rustc"];
    candidates.iter().filter_map(|name| found(name)).collect()
}

fn found(rustc: &str) -> Option<Found> {
    let text = output(rustc, &["-vV"])?;
    let field = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|v| v.trim().to_string())
    };
    Some(Found {
        version: field("release:")?,
        host: field("host:")?,
        sysroot: output(rustc, &["--print", "sysroot"])?.trim().into(),
        rustc: rustc.into(),
    })
}

/// A compiler for `target`: the distribution's if it comes with the library, compiled or as source; else the usual
/// one.
///
/// # Errors
/// A line that says what to install.
pub fn compiler(target: &str) -> Outcome<Compiler> {
    let all = compilers();
    let recent = || {
        all.iter()
            .filter(|found| version(&found.version) >= oldest())
    };
    let library = |found: &Found, library| {
        let dir = found.sysroot.join("lib/rustlib");
        match library {
            Library::Installed => dir.join(target).join("lib").is_dir(),
            Library::Source => dir.join("src/rust/library/core/Cargo.toml").is_file(),
        }
    };
    for found in recent() {
        let kinds = [Library::Installed, Library::Source];
        if let Some(kind) = kinds.into_iter().find(|kind| library(found, *kind)) {
            return Ok(Compiler {
                rustc: found.rustc.clone(),
                version: found.version.clone(),
                library: kind,
            });
        }
    }
    Err(Failure::input(format!(
        "no Rust compiler for {target} (`elastiq doctor --install`, or `rustup target add {target}`)"
    )))
}

/// Linker for bare-metal targets.
///
/// # Errors
/// A line that says what to install.
pub fn linker() -> Outcome<PathBuf> {
    let in_sysroot = compilers().into_iter().map(|f| {
        f.sysroot
            .join("lib/rustlib")
            .join(f.host)
            .join("bin/rust-lld")
    });
    let in_path = std::env::var_os("PATH")
        .map(|path| {
            std::env::split_paths(&path)
                .map(|dir| dir.join("ld.lld"))
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    let debian = (14..30)
        .rev()
        .map(|v| PathBuf::from(format!("/usr/lib/llvm-{v}/bin/ld.lld")));
    let missing = || {
        Failure::input(
            "no linker for bare-metal targets (rust-lld comes with rustup, ld.lld with package lld)",
        )
    };
    in_sysroot
        .chain(in_path)
        .chain(debian)
        .find(|path| path.is_file())
        .ok_or_else(missing)
}

/// Standard output of a successful command, run in the workspace, where a toolchain file counts.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let dir = workspace().unwrap_or_else(|_| ".".into());
    let out = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    output(program, args)?.lines().next().map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.100.0-nightly") > version("1.91"));
        assert!(version("1.63.0") < oldest());
    }

    #[test]
    fn missing_things_are_named_once() {
        let core = |target: &str| CoreState {
            name: String::new(),
            core: "Core".into(),
            target: target.into(),
            compiler: None,
            emulator: Some("7.2".into()),
        };
        let state = State {
            cargo: Some("1".into()),
            linker: None,
            cores: vec![core("t"), core("t")],
        };
        assert_eq!(
            state.missing(),
            ["rust-lld or ld.lld", "a Rust compiler for t"]
        );
        assert!(!state.ready());
    }
}
