//! Booting the flash image of a board in the emulator of that board.

use crate::boards::Target;
use crate::failure::{Failure, Outcome};
use crate::toolchain::emulator_missing;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Put Intel HEX files into the flash of the emulated board, reset it, and give the first `lines` lines that it prints
/// on its console.
///
/// Nothing but the addresses in the files says where the bytes go; the core starts as on the board. A board that resets
/// itself ends the emulator.
///
/// # Errors
/// A board without an emulator, one that ends or prints nothing in time.
pub fn boot(target: &Target, images: &[&Path], lines: usize, timeout: Duration) -> Outcome<String> {
    let name = &target.board.name;
    let program = &target.core.qemu.program;
    let Some(machine) = &target.board.qemu else {
        return Err(Failure::input(format!("no emulator has a model of {name}")));
    };
    let mut qemu = Command::new(program);
    qemu.args(["-M", &machine.machine])
        .args(["-display", "none", "-monitor", "none"]);
    for _ in 0..machine.serial {
        qemu.args(["-serial", "null"]);
    }
    qemu.args(["-serial", "stdio", "-no-reboot"])
        .args(&machine.args);
    for image in images {
        qemu.arg("-device")
            .arg(format!("loader,file={}", image.display()));
    }
    let child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => emulator_missing(&target.core),
            _ => Failure::input(format!("{program}: {e}")),
        })?;
    printed(Running(child), lines, timeout)
        .map_err(|what| Failure::check(format!("{name}: {what}")))
}

/// Ended when it goes out of scope: programs on a board do not end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn printed(mut child: Running, lines: usize, timeout: Duration) -> Result<String, String> {
    let stdout = child.0.stdout.take().ok_or("no output")?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + timeout;
    let mut text = String::new();
    for _ in 0..lines {
        match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                text.push_str(&line);
                text.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = timeout.as_secs();
                return Err(format!("nothing more printed within {seconds} s: `{text}`"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let _ = child.0.wait();
                let mut said = String::new();
                if let Some(mut stderr) = child.0.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
                }
                return Err(format!("the emulator ended: {text}{said}"));
            }
        }
    }
    Ok(text)
}
