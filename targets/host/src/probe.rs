//! Getting an image onto a board.

use crate::boards::Target;
use crate::failure::{Failure, Outcome, io_text, one_line};
use crate::image::Image;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Something that erases, writes, reads back and starts a board.
pub trait Programmer {
    /// Put `image` into the flash of `target` and start it.
    ///
    /// # Errors
    /// No way to the board, or a byte that reads back as another.
    fn program(&self, target: &Target, image: &Image) -> Outcome<()>;
}

/// Environment variable with the path of the program that talks to debug probes.
pub const PROBE_VAR: &str = "ELASTIQ_PROBE";

/// The program of `targets/probe`, which is built apart because not everyone has a probe.
#[derive(Clone, Debug)]
pub struct DebugProbe {
    program: PathBuf,
}

impl DebugProbe {
    /// The program that `ELASTIQ_PROBE` names, else `elastiq-probe` on the search path.
    pub fn find() -> DebugProbe {
        let program = std::env::var_os(PROBE_VAR).unwrap_or_else(|| "elastiq-probe".into());
        DebugProbe {
            program: program.into(),
        }
    }
}

impl Programmer for DebugProbe {
    fn program(&self, target: &Target, image: &Image) -> Outcome<()> {
        let dir = tempfile::tempdir().map_err(Failure::input)?;
        let file = dir.path().join("image.hex");
        std::fs::write(&file, image.hex()).map_err(|e| Failure::at(&file, io_text(&e)))?;
        let mut probe = Command::new(&self.program);
        let out = probe
            .arg(&target.board.chip)
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| {
                Failure::input(format!(
                    "{}: {} (`cargo install --path targets/probe`, or write a file with --emit)",
                    self.program.display(),
                    io_text(&e)
                ))
            })?;
        let said = one_line(&String::from_utf8_lossy(&out.stderr));
        match out.status.code() {
            Some(0) => Ok(()),
            Some(2) => Err(Failure::input(said)),
            _ => Err(Failure::check(format!("{}: {said}", target.board.name))),
        }
    }
}
