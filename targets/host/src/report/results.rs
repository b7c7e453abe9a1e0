//! What is in a folder: files recognized by their keys, joined by name.

use crate::artifact::Artifact;
use crate::failure::{Failure, Outcome, io_text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest JSON file that is read.
const LONGEST: u64 = 64 << 20;

/// One network: what is known from files that share their name up to the first dot.
#[derive(Clone, Debug, Default)]
pub struct Network {
    pub compile: Option<Value>,
    pub eval: Option<Value>,
    /// By core, `host` included.
    pub bench: BTreeMap<String, Value>,
    pub artifact: Option<Artifact>,
}

/// Everything in a folder.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub folder: PathBuf,
    pub networks: BTreeMap<String, Network>,
    /// By name of the file, without its ending.
    pub searches: Vec<(String, Value)>,
    pub supernets: Vec<(String, Value)>,
    pub prunings: Vec<(String, Value)>,
    pub claims: Vec<(String, Value)>,
    /// Every file that was read, and what it is.
    pub files: Vec<(String, String)>,
    /// Files that nothing is shown of, and why.
    pub unknown: Vec<(String, String)>,
}

/// What a JSON file is.
enum Kind {
    Compile,
    Eval,
    Bench,
    Search,
    Supernet,
    Pruning,
    Claims,
}

impl Kind {
    /// By the keys that the subcommands promise.
    fn of(v: &Value) -> Option<Kind> {
        let has = |keys: &[&str]| keys.iter().all(|k| v.get(k).is_some());
        let rounds = |v: &Value| v.get("rounds").is_some_and(Value::is_array);
        let rows = v.get("rows").and_then(Value::as_array);
        Some(match () {
            () if has(&["claims"]) => Kind::Claims,
            () if rounds(v) || rows.is_some_and(|r| r.iter().any(rounds)) => Kind::Pruning,
            () if has(&["points", "budget"]) => Kind::Search,
            () if has(&["configurations"]) => Kind::Supernet,
            () if has(&["core", "macs", "layers"]) => Kind::Bench,
            () if has(&["arena_bytes", "weights_bytes", "file_bytes", "layers"]) => Kind::Compile,
            () if has(&["n", "top1"]) => Kind::Eval,
            () => return None,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Kind::Compile => "compile",
            Kind::Eval => "eval",
            Kind::Bench => "bench",
            Kind::Search => "supernet search",
            Kind::Supernet => "supernet eval",
            Kind::Pruning => "prune",
            Kind::Claims => "repro",
        }
    }
}

impl Results {
    /// Read `folder`, not what lies deeper. Files that cannot be used are noted, not refused.
    ///
    /// # Errors
    /// A folder that cannot be listed, or has nothing to report on.
    pub fn read(folder: &Path) -> Outcome<Results> {
        let entries = std::fs::read_dir(folder).map_err(|e| Failure::at(folder, io_text(&e)))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        paths.sort();
        let mut found = Results {
            folder: folder.into(),
            ..Default::default()
        };
        for path in paths.iter().filter(|p| p.is_file()) {
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            let used = match ending.as_ref() {
                "json" => found.take_json(path),
                "eqm" => found.take_artifact(path),
                _ => continue,
            };
            let name = file_name(path);
            match used {
                Ok(what) => found.files.push((name, what)),
                Err(why) => found.unknown.push((name, why)),
            }
        }
        match found.files.is_empty() {
            false => Ok(found),
            true => Err(Failure::at(
                folder,
                "holds nothing to report on: no .eqm, and no JSON of compile, eval, bench, supernet, prune or repro",
            )),
        }
    }

    fn take_json(&mut self, path: &Path) -> Result<String, String> {
        let size = path.metadata().map_err(|e| io_text(&e))?.len();
        if size > LONGEST {
            return Err(format!("{size} bytes are too many"));
        }
        let bytes = std::fs::read(path).map_err(|e| io_text(&e))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|e| format!("is no JSON: {e}"))?;
        // `bench --on a,b` prints one report per core.
        let cores = value.get("cores").and_then(Value::as_array);
        let is_bench = |v: &Value| matches!(Kind::of(v), Some(Kind::Bench));
        if let Some(cores) = cores.filter(|c| !c.is_empty() && c.iter().all(is_bench)) {
            cores.iter().for_each(|v| self.bench(path, v.clone()));
            return Ok(Kind::Bench.name().into());
        }
        let kind = Kind::of(&value).ok_or("not of a subcommand that this page knows")?;
        let named = (stem(path, ".json"), value);
        let what = kind.name().to_string();
        match kind {
            Kind::Compile => self.network(path).compile = Some(named.1),
            Kind::Eval => self.network(path).eval = Some(named.1),
            Kind::Bench => self.bench(path, named.1),
            Kind::Search => self.searches.push(named),
            Kind::Supernet => self.supernets.push(named),
            Kind::Pruning => self.prunings.push(named),
            Kind::Claims => self.claims.push(named),
        }
        Ok(what)
    }

    fn bench(&mut self, path: &Path, value: Value) {
        let core = value["core"].as_str().unwrap_or("?").to_string();
        self.network(path).bench.insert(core, value);
    }

    fn take_artifact(&mut self, path: &Path) -> Result<String, String> {
        let artifact = Artifact::load(path).map_err(|e| e.line().unwrap_or_default())?;
        self.network(path).artifact = Some(artifact);
        Ok("artifact".into())
    }

    fn network(&mut self, path: &Path) -> &mut Network {
        let name = file_name(path);
        let name = name.split('.').next().unwrap_or_default();
        self.networks.entry(name.to_string()).or_default()
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn stem(path: &Path, ending: &str) -> String {
    let name = file_name(path);
    name.strip_suffix(ending).unwrap_or(&name).to_string()
}

impl Network {
    /// Share of right classes: of `eval`, else of the samples that `compile` compared with.
    pub fn accuracy(&self) -> Option<f64> {
        let of_eval = self.eval.as_ref().and_then(|v| v["top1"].as_f64());
        let of_compile = || self.compile.as_ref()?["output"]["top1"].as_f64();
        of_eval.or_else(of_compile)
    }

    /// Bytes of the artifact.
    pub fn flash(&self) -> Option<u64> {
        let of_file = self.artifact.as_ref().map(|a| a.bytes.len() as u64);
        of_file.or_else(|| self.compile.as_ref()?["file_bytes"].as_u64())
    }

    /// Bytes of working memory.
    pub fn arena(&self) -> Option<u64> {
        self.compile.as_ref()?["arena_bytes"].as_u64()
    }

    /// Instructions of one run on `core`.
    pub fn instructions(&self, core: &str) -> Option<u64> {
        self.bench.get(core)?["instructions"].as_u64()
    }
}
