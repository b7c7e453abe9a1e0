//! Compiles firmware.

use super::cores::{Core, workspace};
use crate::failure::{Failure, Outcome};
use crate::toolchain::{Compiler, Library, compiler, linker};
use std::collections::BTreeMap;
use std::fs::{File, create_dir_all};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A program of the firmware packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs any model.
    Runner,
    /// Runs the one model in it.
    App,
    /// Runs every variant of the one model in it.
    Switch,
    /// Negative control: must not link.
    Panics,
    /// Negative control: must not pass the symbol scan.
    Floats,
    /// One of `examples/board`, by name.
    Example(&'static str),
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Runner => "runner",
            Program::App => "app",
            Program::Switch => "switch",
            Program::Panics => "panics",
            Program::Floats => "floats",
            Program::Example(name) => name,
        }
    }

    fn feature(self) -> Option<&'static str> {
        match self {
            Program::Runner => None,
            Program::Example(_) => Some("examples"),
            program => Some(program.name()),
        }
    }
}

/// Runners that this process has built, by name of the core.
static RUNNERS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Compile the runner for `core` and give the path of the ELF file, once per process: cores that share a target
/// triple would otherwise make cargo link anew at every change from one to the other.
///
/// # Errors
/// A missing toolchain, or the first error of the compiler or linker.
pub fn build_runner(core: &Core, progress: &mut dyn FnMut(&str)) -> Outcome<PathBuf> {
    let mut runners = RUNNERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(elf) = runners.get(&core.name) {
        return Ok(elf.clone());
    }
    let elf = build(core, Program::Runner, &[], progress)?;
    runners.insert(core.name.clone(), elf.clone());
    Ok(elf)
}

/// Compile the application with the artifact `model` in it and give the path of the ELF file.
///
/// # Errors
/// As [`build_runner`].
pub fn build_app(core: &Core, model: &Path, progress: &mut dyn FnMut(&str)) -> Outcome<PathBuf> {
    let model = model.canonicalize().map_err(|e| Failure::at(model, e))?;
    build(
        core,
        Program::App,
        &[("ELASTIQ_MODEL", model.as_os_str())],
        progress,
    )
}

/// [`build_app`], optimized for size.
///
/// # Errors
/// As [`build_runner`].
pub fn build_small_app(
    core: &Core,
    model: &Path,
    progress: &mut dyn FnMut(&str),
) -> Outcome<PathBuf> {
    let model = model.canonicalize().map_err(|e| Failure::at(model, e))?;
    let env = [("ELASTIQ_MODEL", model.as_os_str())];
    build_with(core, Program::App, SMALL, &env, progress)
}

/// Cargo profiles: for speed, which is the rule, and for size.
const FAST: &str = "firmware";
const SMALL: &str = "firmware-size";

/// Variables that would change what the inner cargo builds, or where.
const CLEARED: [&str; 10] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_RUSTC",
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_NAME",
    "RUSTC_WORKSPACE_WRAPPER",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// Compile `program` for `core` with further environment variables.
///
/// # Errors
/// As [`build_runner`].
pub fn build(
    core: &Core,
    program: Program,
    env: &[(&str, &std::ffi::OsStr)],
    progress: &mut dyn FnMut(&str),
) -> Outcome<PathBuf> {
    build_with(core, program, FAST, env, progress)
}

fn build_with(
    core: &Core,
    program: Program,
    profile: &str,
    env: &[(&str, &std::ffi::OsStr)],
    progress: &mut dyn FnMut(&str),
) -> Outcome<PathBuf> {
    let root = workspace()?;
    let target_dir = root.join("target").join("firmware");
    let elf_dir = match profile {
        FAST => target_dir.join("elf").join(&core.name),
        _ => target_dir.join("elf").join(&core.name).join(profile),
    };
    create_dir_all(&elf_dir).map_err(|e| Failure::at(&elf_dir, e))?;
    // Two cores may share a target triple and with it the place where cargo leaves the program.
    let lock_path = target_dir.join("elf").join("lock");
    let lock = File::create(&lock_path).map_err(|e| Failure::at(&lock_path, e))?;
    lock.lock().map_err(|e| Failure::at(&lock_path, e))?;

    let mut cargo = cargo_command(core, program, profile, &root, &target_dir)?;
    cargo.envs(env.iter().copied());
    run_cargo(cargo, &format!("firmware for {}", core.name), progress)?;
    let built = target_dir
        .join(&core.target)
        .join(profile)
        .join(program.name());
    let elf = elf_dir.join(program.name());
    // Replaced, not rewritten: an emulator may be running the old one.
    let fresh = elf_dir.join(format!("{}.new", program.name()));
    std::fs::copy(&built, &fresh).map_err(|e| Failure::at(&built, e))?;
    std::fs::rename(&fresh, &elf).map_err(|e| Failure::at(&elf, e))?;
    Ok(elf)
}

fn cargo_command(
    core: &Core,
    program: Program,
    profile: &str,
    root: &Path,
    target_dir: &Path,
) -> Outcome<Command> {
    let Compiler { rustc, library, .. } = compiler(&core.target)?;
    let mut flags = vec![format!("-Clinker={}", linker()?.display())];
    if !core.cpu.is_empty() {
        flags.push(format!("-Ctarget-cpu={}", core.cpu));
    }
    if !core.features.is_empty() {
        flags.push(format!("-Ctarget-feature={}", core.features));
    }
    // Frame sizes and calls stay in the file for `stack::report`; neither is loaded.
    flags.extend([
        "-Zemit-stack-sizes".into(),
        "-Clink-arg=--emit-relocs".into(),
    ]);

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for key in CLEARED {
        cargo.env_remove(key);
    }
    cargo
        .current_dir(root)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env(elastiq_board::link::BOARD_VAR, &core.name)
        .args([
            "build",
            "--profile",
            profile,
            "--color",
            "never",
            "--target",
            &core.target,
        ])
        .args([
            "--package",
            &core.package,
            "--bin",
            program.name(),
            "--target-dir",
        ])
        .arg(target_dir);
    if let Some(feature) = program.feature() {
        cargo.args(["--features", feature]);
    }
    if library == Library::Source {
        cargo.args([
            "-Zbuild-std=core",
            "-Zbuild-std-features=compiler-builtins-mem",
        ]);
    }
    Ok(cargo)
}

/// Run cargo, hand its progress lines on, and turn a failure into one line.
fn run_cargo(mut cargo: Command, what: &str, progress: &mut dyn FnMut(&str)) -> Outcome<()> {
    let fail = |e| Failure::input(format!("{what}: cannot run cargo: {e}"));
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let mut log = vec![];
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            progress(line.trim());
            log.push(line);
        }
    }
    if child.wait().map_err(fail)?.success() {
        return Ok(());
    }
    Err(Failure::input(format!("{what}: {}", first_error(&log))))
}

/// The error of the linker if there is one, else the first error of the compiler.
fn first_error(log: &[String]) -> String {
    let of_linker = log
        .iter()
        .find_map(|line| line.split_once("rust-lld: error: ").map(|(_, text)| text));
    let of_compiler = || {
        log.iter()
            .find(|line| line.trim_start().starts_with("error"))
    };
    match of_linker.or_else(|| of_compiler().map(String::as_str)) {
        Some(line) => line.trim().to_string(),
        None => log
            .last()
            .cloned()
            .unwrap_or_else(|| "cargo failed without a message".into()),
    }
}
