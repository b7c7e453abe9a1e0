//! Installing what is missing, by the package manager or by rustup.

use super::{State, detect, output};
use crate::failure::{Failure, Outcome, one_line};
use crate::qemu::cores;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Install what is missing: Debian or Ubuntu packages when run as root there, then compiler targets by rustup.
///
/// # Errors
/// One line that lists what is still missing afterwards.
pub fn install(progress: &mut dyn FnMut(&str)) -> Outcome<()> {
    let state = detect()?;
    if state.ready() {
        return Ok(());
    }
    let (emulators, compilers) = packages(&state);
    let mut said = vec![];
    if is_root() && on_path("apt-get") {
        progress("apt-get update");
        // A package list that cannot be refreshed may still be good enough.
        let _ = completed(Command::new("apt-get").arg("update"));
        // Apart, because a release may have only one of them.
        said.extend(apt(&emulators, progress));
        said.extend(apt(&compilers, progress));
    }
    said.extend(rustup(&detect()?, progress));
    let missing = detect()?.missing();
    if missing.is_empty() {
        return Ok(());
    }
    let said: String = said.iter().map(|text| format!("; {text}")).collect();
    let packages = [emulators, compilers].concat().join(" ");
    Err(Failure::check(format!(
        "still missing: {} (on Debian or Ubuntu, as root: apt-get install {packages}){said}",
        missing.join(", ")
    )))
}

pub(super) fn qemu_package(program: &str) -> &'static str {
    match program {
        "qemu-system-arm" | "qemu-system-aarch64" => "qemu-system-arm",
        _ => "qemu-system-misc",
    }
}

/// Debian packages with what is missing: emulators, and compilers with their linker.
fn packages(state: &State) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut emulators, mut compilers) = (vec![], vec![]);
    for (core, board) in state.cores.iter().zip(cores().unwrap_or_default()) {
        if core.emulator.is_none() {
            emulators.push(qemu_package(&board.qemu.program));
        }
        if core.compiler.is_none() {
            compilers.extend(["rustc-web", "rust-web-src"]);
        }
    }
    compilers.extend(state.linker.is_none().then_some("lld"));
    for packages in [&mut emulators, &mut compilers] {
        packages.sort_unstable();
        packages.dedup();
    }
    (emulators, compilers)
}

/// Install with apt-get; gives its last error line if it failed.
///
/// A machine with a newer `qemu-utils` from a backport cannot take the emulator of its release until that
/// package is set back to the release as well, so a failed try is repeated with it.
fn apt(packages: &[&str], progress: &mut dyn FnMut(&str)) -> Option<String> {
    if packages.is_empty() {
        return None;
    }
    let install = |more: &[String]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "-y",
            "--no-install-recommends",
            "--no-remove",
        ]);
        apt.args(packages).args(more);
        apt
    };
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
