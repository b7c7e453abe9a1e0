//! Compilers, linkers and emulators: which are here, which are missing, and installing them.

use crate::failure::{Failure, Outcome, one_line};
use crate::qemu::{Core, cores, workspace};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;

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
/// Only if the board files cannot be read.
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
        qemu_package(&core.qemu.program)
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

/// Compilers on this machine, the usual one first.
fn compilers() -> Vec<Found> {
    let candidates = ["rustc", "/usr/bin/rustc"];
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

/// A compiler for `target`: one with the compiled library if there is one, else one with the library source.
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
    for kind in [Library::Installed, Library::Source] {
        if let Some(found) = recent().find(|found| library(found, kind)) {
            let (rustc, version) = (found.rustc.clone(), found.version.clone());
            return Ok(Compiler {
                rustc,
                version,
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

/// Install what is missing: Debian or Ubuntu packages when run as root there, else compiler targets by rustup.
///
/// # Errors
/// One line that lists what is still missing afterwards.
pub fn install(progress: &mut dyn FnMut(&str)) -> Outcome<()> {
    let state = detect()?;
    if state.ready() {
        return Ok(());
    }
    let said = if is_root() && on_path("apt-get") {
        apt(&state, progress)
    } else {
        rustup(&state, progress)
    };
    let missing = detect()?.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages(&state).join(" ");
    let said = said.map(|text| format!("; {text}")).unwrap_or_default();
    Err(Failure::check(format!(
        "still missing: {} (on Debian or Ubuntu, as root: apt-get install {packages}){said}",
        missing.join(", ")
    )))
}

fn qemu_package(program: &str) -> &'static str {
    if program == "qemu-system-arm" {
        "qemu-system-arm"
    } else {
        "qemu-system-misc"
    }
}

/// Debian packages with what is missing.
fn packages(state: &State) -> Vec<&'static str> {
    let mut packages = vec![];
    for (core, board) in state.cores.iter().zip(cores().unwrap_or_default()) {
        if core.emulator.is_none() {
            packages.push(qemu_package(&board.qemu.program));
        }
        if core.compiler.is_none() {
            packages.extend(["rustc-web", "rust-web-src"]);
        }
    }
    packages.extend(state.linker.is_none().then_some("lld"));
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Install with apt-get; gives its last error line if it failed.
///
/// A machine with a newer `qemu-utils` from a backport cannot take the emulator of its release until that
/// package is set back to the release as well, so a failed try is repeated with it.
fn apt(state: &State, progress: &mut dyn FnMut(&str)) -> Option<String> {
    let packages = packages(state);
    let install = |more: &[String]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "-y",
            "--no-install-recommends",
        ]);
        apt.args(&packages).args(more);
        apt
    };
    progress("apt-get update");
    // A package list that cannot be refreshed may still be good enough.
    let _ = completed(Command::new("apt-get").arg("update"));
    progress(&format!("apt-get install {}", packages.join(" ")));
    let first = completed(&mut install(&[])).err()?;
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(codename) = codename.filter(|_| packages.iter().any(|p| p.starts_with("qemu"))) else {
        return Some(first);
    };
    progress(&format!(
        "apt-get install again, with qemu-utils of {codename}"
    ));
    completed(&mut install(&[
        "--allow-downgrades".into(),
        format!("qemu-utils/{codename}"),
    ]))
    .err()
}

/// Add compiler targets with rustup; gives its error if it failed.
fn rustup(state: &State, progress: &mut dyn FnMut(&str)) -> Option<String> {
    let mut targets: Vec<&str> = state
        .cores
        .iter()
        .filter(|core| core.compiler.is_none())
        .map(|core| core.target.as_str())
        .collect();
    targets.dedup();
    if targets.is_empty() || !on_path("rustup") {
        return None;
    }
    progress(&format!("rustup target add {}", targets.join(" ")));
    completed(Command::new("rustup").args(["target", "add"]).args(targets)).err()
}

/// Run to the end; the error is the last line that the command wrote on standard error.
fn completed(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| e.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let last = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("failed without a message");
    Err(one_line(last))
}

fn is_root() -> bool {
    output("id", &["-u"]).is_some_and(|id| id.trim() == "0")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir: PathBuf| Path::new(&dir).join(program).is_file())
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
