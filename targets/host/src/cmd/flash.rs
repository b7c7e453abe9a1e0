//! `elastiq flash`: an application with one model in it, onto a board.

use crate::artifact::Artifact;
use crate::boards::{Target, board};
use crate::failure::{Failure, Outcome, io_text};
use crate::fit::{Need, at_least, check, table};
use crate::footprint::{embedded, model_file, of};
use crate::image::{Format, Image};
use crate::output::{Spinner, check_writable, grouped, print, print_json, write_file};
use crate::probe::{DebugProbe, Programmer};
use crate::qemu;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Build an application with this artifact in it for a board, check that it fits, and flash it or write its image
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  elastiq flash digits.eqm --board nrf52840-dk\n  \
    elastiq flash digits.eqm --board pico --emit uf2\n  \
    elastiq flash digits.eqm --board hifive1 --emit hex -o firmware.hex\n  \
    elastiq flash digits.eqm --board stm32f405 --emulate\n\n\
    The program runs the recorded cases of the artifact and prints on the board's console whether every output is\n\
    as recorded. Exit code 1 if the model does not fit the board or the emulated board prints something else."
)]
pub struct FlashArgs {
    /// Artifact made by `elastiq compile`
    model: PathBuf,
    /// Name of a board file
    #[arg(long, value_name = "NAME")]
    board: String,
    /// Write the image in this format in place of flashing it through a debug probe
    #[arg(long, value_enum, value_name = "FORMAT")]
    emit: Option<Format>,
    /// Image file [default: name of the artifact, board, and format]
    #[arg(short, long, value_name = "FILE", requires = "emit")]
    output: Option<PathBuf>,
    /// Optimize for size
    #[arg(long)]
    small: bool,
    /// Boot the image in the emulator and show what it prints
    #[arg(long)]
    emulate: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    board: String,
    chip: String,
    memories: Vec<Need>,
    stack_bound_bytes: u64,
    image_at: u32,
    image_bytes: usize,
    file: Option<PathBuf>,
    /// What the emulated board printed.
    printed: Option<String>,
    /// Written through a debug probe, read back, and started.
    flashed: bool,
}

/// Longest time for an emulated board to print its verdict.
const EMULATED: Duration = Duration::from_secs(60);

/// Runs the subcommand.
pub fn run(args: &FlashArgs) -> Outcome<()> {
    let artifact = Artifact::load(&args.model)?;
    let target = board(&args.board)?;
    let output = output(args, &target)?;
    let model = embedded(&artifact)?;
    let unfit = |what: String| Failure::check(format!("{}: {what}", args.model.display()));
    at_least(&target.board, &model).map_err(unfit)?;

    let spinner = Spinner::new(&args.board);
    let mut say = |what: &str| spinner.say(what);
    let file = model_file(&model)?;
    let elf = match args.small {
        true => qemu::build_small_app(&target.core, &file, &mut say),
        false => qemu::build_app(&target.core, &file, &mut say),
    };
    let elf = elf.map_err(|failure| overflow(failure, args, &target))?;
    let built = of(&target.core, &artifact, &model, &elf)?;
    let memories = check(&target.board, &built).map_err(unfit)?;
    let image = Image::of(&elf, &target.board)?;
    let printed = match args.emulate {
        true => Some(emulated(&target, &image, &mut say)?),
        false => None,
    };
    if let (Some(format), Some(path)) = (args.emit, &output) {
        write_file(path, &encoded(format, &elf, &image, &target, args)?)?;
    }
    let flashed = args.emit.is_none() && !args.emulate;
    if flashed {
        spinner.say("flashing");
        DebugProbe::find().program(&target, &image)?;
    }
    drop(spinner);

    let report = Report {
        board: target.board.title.clone(),
        chip: target.board.chip.clone(),
        memories,
        stack_bound_bytes: built.stack_bound_bytes,
        image_at: image.at,
        image_bytes: image.bytes.len(),
        file: output,
        printed,
        flashed,
    };
    match args.json {
        true => print_json(&report)?,
        false => print(&text(&report, &target))?,
    }
    match &report.printed {
        Some(text) if text.trim() != PASSED => Err(Failure::check(format!(
            "{} printed `{}`",
            args.board,
            text.trim()
        ))),
        _ => Ok(()),
    }
}

/// What the program prints when every output is as recorded.
const PASSED: &str = "self-test passed";

/// Where the image goes, checked before anything is built.
fn output(args: &FlashArgs, target: &Target) -> Outcome<Option<PathBuf>> {
    let Some(format) = args.emit else {
        return Ok(None);
    };
    if format == Format::Uf2 && target.board.uf2_family.is_none() {
        return Err(Failure::input(format!(
            "{} has no UF2 boot loader: use --emit hex",
            target.board.title
        )));
    }
    let stem = args.model.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-{}.{}", args.board, format.extension());
    let path = args.output.clone().unwrap_or_else(|| name.into());
    check_writable(&path)?;
    Ok(Some(path))
}

/// The linker's complaint about a full memory, in words of the board.
fn overflow(failure: Failure, args: &FlashArgs, target: &Target) -> Failure {
    let text = failure.line().unwrap_or_default();
    let over = text.rsplit_once("overflowed by ").map(|(head, bytes)| {
        let memory = if head.contains("'RAM'") {
            "RAM"
        } else {
            "flash"
        };
        (
            memory,
            bytes
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_string(),
        )
    });
    match over {
        Some((memory, bytes)) => Failure::check(format!(
            "{}: {} has too little {memory} for the application with this model, at least {bytes} bytes are missing{}",
            args.model.display(),
            target.board.title,
            if args.small { "" } else { " (try --small)" }
        )),
        None => failure,
    }
}

/// Boot the very file that would be flashed.
fn emulated(target: &Target, image: &Image, say: &mut dyn FnMut(&str)) -> Outcome<String> {
    say("booting the image");
    let dir = tempfile::tempdir().map_err(Failure::input)?;
    let file = dir.path().join("image.hex");
    std::fs::write(&file, image.hex()).map_err(|e| Failure::at(&file, io_text(&e)))?;
    qemu::boot(target, &[&file], 1, EMULATED)
}

fn encoded(
    format: Format,
    elf: &Path,
    image: &Image,
    target: &Target,
    args: &FlashArgs,
) -> Outcome<Vec<u8>> {
    Ok(match (format, target.board.uf2_family) {
        (Format::Elf, _) => std::fs::read(elf).map_err(|e| Failure::at(elf, io_text(&e)))?,
        (Format::Bin, _) => image.bytes.clone(),
        (Format::Hex, _) => image.hex().into_bytes(),
        (Format::Uf2, Some(family)) => image.uf2(family),
        (Format::Uf2, None) => return Err(Failure::at(&args.model, "no UF2 family")),
    })
}

fn text(report: &Report, target: &Target) -> String {
    let board = &target.board;
    let mut text = format!(
        "{} ({}, {}, {} MHz)\n{}stack: at most {} of {} bytes used\n",
        board.title,
        board.chip,
        target.core.core,
        board.clock_hz / 1_000_000,
        table(&report.memories),
        grouped(report.stack_bound_bytes),
        grouped(board.stack_len.into()),
    );
    if let Some(printed) = &report.printed {
        text.push_str(&format!("emulated board printed: {}\n", printed.trim()));
    }
    if report.flashed {
        text.push_str("flashed, read back, started: the verdict is on the serial port\n");
    }
    if let Some(file) = &report.file {
        text.push_str(&format!(
            "{}: {} bytes for {:#x}; by {}\n",
            file.display(),
            grouped(report.image_bytes as u64),
            report.image_at,
            board.probe
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_memory_is_said_in_words_of_the_board() {
        let target = board("microbit").unwrap();
        let args = FlashArgs {
            model: "a.eqm".into(),
            board: "microbit".into(),
            emit: None,
            output: None,
            small: false,
            emulate: true,
            json: false,
        };
        let linker = "firmware for microbit: section '.text' will not fit in region 'CODE': overflowed by 12 bytes";
        assert_eq!(
            overflow(Failure::input(linker), &args, &target),
            Failure::check(
                "a.eqm: BBC micro:bit V1 has too little flash for the application with this model, at least 12 bytes are missing (try --small)"
            )
        );
        let other = Failure::input("no linker");
        assert_eq!(overflow(other.clone(), &args, &target), other);
    }
}
