//! Results of single seeds, kept so that an interrupted reproduction goes on where it was.

use crate::failure::{Failure, Outcome, io_text};
use crate::output::{Progress, write_file};
use elastiq::format::crc::crc32c;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Folder of finished results. What another build of this program has left is not used.
pub struct Store {
    folder: PathBuf,
    program: u32,
}

impl Store {
    /// # Errors
    /// A folder that cannot be made, a program that cannot be read.
    pub fn open(folder: &Path) -> Outcome<Store> {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::at(folder, format!("cannot create folder: {}", io_text(&e))))?;
        let own = std::env::current_exe().and_then(std::fs::read);
        let own = own.map_err(|e| Failure::input(format!("own program: {}", io_text(&e))))?;
        Ok(Store {
            folder: folder.into(),
            program: crc32c(&own),
        })
    }

    fn file(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}_{:08x}.json", self.program))
    }

    fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = std::fs::read(self.file(key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn write<T: Serialize>(&self, key: &str, value: &T) -> Outcome<()> {
        let file = self.file(key);
        let text = serde_json::to_vec(value).map_err(|e| Failure::at(&file, e))?;
        write_file(&file, &text)
    }

    /// Result of every job of `keys`, from the store or by `work`, several at a time; `None` where `stop` came first.
    ///
    /// # Errors
    /// The first job that fails.
    pub fn all<T, W>(&self, keys: &[String], stop: &AtomicBool, work: W) -> Outcome<Option<Vec<T>>>
    where
        T: Serialize + DeserializeOwned + Send,
        W: Fn(usize) -> Outcome<Option<T>> + Sync,
    {
        let bar = Mutex::new((Progress::new("seeds"), 0));
        let done = || {
            if let Ok(mut bar) = bar.lock() {
                bar.1 += 1;
                let n = bar.1;
                bar.0.at("seeds", n, keys.len());
            }
        };
        let one = |i: usize| -> Outcome<Option<T>> {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if let Some(value) = self.read(&keys[i]) {
                done();
                return Ok(Some(value));
            }
            let value = work(i)?;
            let Some(value) = value else { return Ok(None) };
            self.write(&keys[i], &value)?;
            done();
            // Numbers as they are read back, so that a stored result prints the same as a fresh one.
            Ok(self.read(&keys[i]).or(Some(value)))
        };
        (0..keys.len()).into_par_iter().map(one).collect()
    }
}
