//! `elastiq-probe CHIP IMAGE.hex`: erases what the image needs, writes it, reads it back, starts the chip.
//! `elastiq-probe CHIP` says whether the chip is known. Exit code 0 done, 1 the probe or chip failed, 2 bad arguments.

use ihex::{Reader, Record};
use probe_rs::Permissions;
use probe_rs::config::Registry;
use probe_rs::flashing::DownloadOptions;
use probe_rs::probe::list::Lister;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.as_slice() {
        [chip] => known(chip).map_err(|e| (2, e)),
        [chip, image] => known(chip)
            .and_then(|()| read(image))
            .map_err(|e| (2, e))
            .and_then(|parts| program(chip, &parts).map_err(|e| (1, e))),
        _ => Err((2, "usage: elastiq-probe CHIP [IMAGE.hex]".into())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            eprintln!("{}", text.replace('\n', "; "));
            ExitCode::from(code)
        }
    }
}

/// Whether probe-rs has a description of the chip.
fn known(chip: &str) -> Result<(), String> {
    let registry = Registry::from_builtin_families();
    let target = registry.get_target_by_name(chip);
    target.map(drop).map_err(|e| format!("{chip}: {e}"))
}

/// Bytes of an Intel HEX file, by address.
fn read(path: &str) -> Result<Vec<(u64, Vec<u8>)>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let (mut high, mut parts): (u64, Vec<(u64, Vec<u8>)>) = (0, vec![]);
    for record in Reader::new(&text) {
        match record.map_err(|e| format!("{path}: {e}"))? {
            Record::ExtendedLinearAddress(v) => high = u64::from(v) << 16,
            Record::Data { offset, value } => {
                let at = high | u64::from(offset);
                match parts.last_mut() {
                    Some((start, bytes)) if *start + bytes.len() as u64 == at => {
                        bytes.extend(value)
                    }
                    _ => parts.push((at, value)),
                }
            }
            Record::EndOfFile => return Ok(parts),
            other => return Err(format!("{path}: record {other:?} is not taken")),
        }
    }
    Err(format!("{path}: the end record is missing"))
}

/// Write, verify by reading back, reset.
fn program(chip: &str, parts: &[(u64, Vec<u8>)]) -> Result<(), String> {
    let probes = Lister::new().list_all();
    let probe = match probes.as_slice() {
        [probe] => probe.open().map_err(|e| format!("{probe}: {e}"))?,
        [] => return Err("no debug probe found".into()),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Err(format!("more than one debug probe: {}", names.join(", ")));
        }
    };
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("{chip}: {what}: {e}");
    let mut session = probe
        .attach(chip, Permissions::default())
        .map_err(|e| failed("attach", &e))?;
    let mut loader = session.target().flash_loader();
    for (at, bytes) in parts {
        loader
            .add_data(*at, bytes)
            .map_err(|e| failed("image", &e))?;
    }
    let mut options = DownloadOptions::default();
    options.verify = true;
    loader
        .commit(&mut session, options)
        .map_err(|e| failed("flash", &e))?;
    let mut core = session.core(0).map_err(|e| failed("core", &e))?;
    core.reset().map_err(|e| failed("reset", &e))
}
