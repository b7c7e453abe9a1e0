//! A folder with an example network, its data and its artifact, and the program running in it.

use elastiq_cli::cmd::data::npz;
use elastiq_cli::data::{Dataset, fetch};
use ndarray::{ArrayD, IxDyn};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Exit code, standard output and standard error of a run.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A temporary folder with `cancer.onnx`, `cancer.eqm`, `train.npz`, `test.npz` and `unlabelled.npy`.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// A fresh one.
    pub fn new() -> Folder {
        static ARTIFACT: OnceLock<Vec<u8>> = OnceLock::new();
        let folder = Folder {
            dir: tempfile::tempdir().expect("temporary directory"),
        };
        let model = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/models/cancer_mlp.onnx"
        );
        std::fs::copy(model, folder.path("cancer.onnx")).expect("example network");
        for split in fetch("breast-cancer", &folder.path("unused")).expect("packaged data") {
            folder.write(
                &format!("{}.npz", split.name),
                &npz(&split.data).expect("npz"),
            );
            if split.name == "test" {
                ndarray_npy::write_npy(folder.path("unlabelled.npy"), &split.data.arrays[0].1)
                    .expect("npy");
            }
        }
        let artifact = ARTIFACT.get_or_init(|| {
            let args = [
                "compile",
                "cancer.onnx",
                "--calib",
                "train.npz",
                "--labels",
                "malignant,benign",
                "-o",
                "a.eqm",
            ];
            let ran = elastiq(&folder, &args);
            assert_eq!(ran.code, 0, "{}", ran.err);
            let bytes = folder.read("a.eqm");
            std::fs::remove_file(folder.path("a.eqm")).expect("remove");
            bytes
        });
        folder.write("cancer.eqm", artifact);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("write");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("read")
    }

    /// Writes an archive with `x` of `shape`, element `i` of which is `f(i)`, and labels.
    pub fn npz(&self, name: &str, shape: &[usize], f: impl Fn(usize) -> f32, y: Option<Vec<i64>>) {
        let values = (0..shape.iter().product()).map(f).collect();
        let x = ArrayD::from_shape_vec(IxDyn(shape), values).expect("shape");
        let set = Dataset {
            file: self.path(name),
            arrays: vec![("x".into(), x)],
            y,
            classes: vec![],
        };
        self.write(name, &npz(&set).expect("npz"));
    }

    /// Names of all entries, sorted.
    pub fn names(&self) -> Vec<String> {
        self.names_in("")
    }

    pub fn names_in(&self, sub: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(sub)).expect("listing");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// The program with `args`, in `folder`.
pub fn command(folder: &Folder, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastiq"));
    command.args(args).current_dir(folder.dir.path());
    command
}

/// Runs the program.
pub fn elastiq(folder: &Folder, args: &[&str]) -> Ran {
    let out = command(folder, args).output().expect("the program starts");
    Ran {
        code: out.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Start the program, without its output.
pub fn started(folder: &Folder, args: &[&str]) -> Child {
    let mut quiet = command(folder, args);
    let quiet = quiet.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("start")
}

/// Ask a program to stop, as Ctrl-C does. False where it could not be asked.
pub fn interrupt(child: &Child) -> bool {
    let signal = ["-INT", &child.id().to_string()].map(str::to_owned);
    let status = Command::new("kill").args(signal).status();
    status.expect("kill").success()
}

/// Runs the program until `file` exists and interrupts it, which its exit code must tell.
#[track_caller]
pub fn interrupted(folder: &Folder, args: &[&str], file: &str) {
    let mut child = started(folder, args);
    let begun = Instant::now();
    while !folder.path(file).exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no {file}");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(interrupt(&child));
    assert_eq!(child.wait().expect("end").code(), Some(1));
}

/// Runs the program again from where it was interrupted, which must succeed.
#[track_caller]
pub fn resumed(folder: &Folder, args: &[&str]) {
    let ran = elastiq(folder, &[args, &["--resume"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
}

/// Runs the program with `to` where `args` say `from`, which must succeed.
#[track_caller]
pub fn renamed(folder: &Folder, args: &[&str], from: &str, to: &str) {
    let args: Vec<&str> = args
        .iter()
        .map(|a| if *a == from { to } else { a })
        .collect();
    let ran = elastiq(folder, &args);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

/// Runs the program, which must succeed, say nothing on standard error, and print one JSON object.
#[track_caller]
pub fn json(folder: &Folder, args: &[&str]) -> serde_json::Value {
    let ran = elastiq(folder, args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    let value: serde_json::Value = serde_json::from_str(&ran.out).expect("one JSON value");
    assert!(value.is_object(), "{args:?}: {value}");
    value
}

/// All of `names` are keys of `value`.
#[track_caller]
pub fn keys(value: &serde_json::Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(value.get(name).is_some(), "no key {name} in {value}");
    }
}
