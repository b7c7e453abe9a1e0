//! The application on every board: its image is what the boot code of the chip wants, fits, and boots in the emulator
//! of the board where there is one.

mod support;

use elastiq_board::Boot;
use elastiq_cli::boards::{Target, board, boards};
use elastiq_cli::qemu::boot;
use elastiq_cli::qemu::scan::scan;
use ihex::Record;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::artifact;

const PATIENCE: Duration = Duration::from_secs(120);

/// The program with `args` in `dir`: exit code, standard output, standard error.
fn elastiq(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastiq"));
    let out = command.args(args).current_dir(dir).output().unwrap();
    (
        out.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

/// `elastiq flash` of the artifact in `dir`, which must succeed; gives the file.
#[track_caller]
fn flash(dir: &Path, board: &str, format: &str) -> Vec<u8> {
    let args = [
        "flash", "a.eqm", "--board", board, "--emit", format, "-o", "image", "--json",
    ];
    let (code, out, err) = elastiq(dir, &args);
    assert_eq!((code, err.as_str()), (0, ""), "{board} {format}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let memories = report["memories"].as_array().unwrap();
    assert!(
        memories.len() == 2 && memories.iter().all(|m| m["parts"].is_array()),
        "{report}"
    );
    std::fs::read(dir.join("image")).unwrap()
}

/// First address and bytes of a HEX file without gaps.
fn read_hex(text: &str) -> (u32, Vec<u8>) {
    let (mut high, mut start, mut bytes) = (0u32, None, vec![]);
    for record in ihex::Reader::new(text) {
        match record.unwrap() {
            Record::ExtendedLinearAddress(v) => high = u32::from(v) << 16,
            Record::Data { offset, value } => {
                let at = high | u32::from(offset);
                let start = *start.get_or_insert(at);
                assert_eq!(at, start + bytes.len() as u32);
                bytes.extend(value);
            }
            Record::EndOfFile => {}
            other => panic!("{other:?}"),
        }
    }
    (start.unwrap(), bytes)
}

/// CRC-32/MPEG-2, as the boot ROM of RP2040 computes it.
fn crc32_mpeg2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

/// Where the core starts, or what the boot ROM looks for, checked by the text of the data sheet.
fn check_start(target: &Target, image: &[u8]) {
    let board = &target.board;
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let vectors = |at: usize| {
        let (stack, reset) = (word(at), word(at + 4));
        let ram = board.main_ram();
        assert_eq!(stack, ram.start + board.stack_len, "{}", board.name);
        let inside = u64::from(reset) < board.flash.end() && reset > board.flash.start;
        assert!(inside && reset & 1 == 1, "{}: {reset:#x}", board.name);
    };
    let blocks = || {
        let words = (0..image.len().min(4096) / 4).map(|i| word(4 * i));
        let words: Vec<u32> = words.collect();
        let start = words
            .iter()
            .position(|&w| w == 0xFFFF_DED3)
            .expect("no image block");
        words[start..start + 8].to_vec()
    };
    match board.boot {
        Boot::Plain if board.core.starts_with('m') => vectors(0),
        // An instruction: `auipc gp`.
        Boot::Plain => assert_eq!(word(0) & 0xFFF, 0x197, "{}", board.name),
        Boot::Rp2040 => {
            assert_eq!(crc32_mpeg2(&image[..252]), word(252));
            vectors(256);
        }
        Boot::Rp2350Arm => {
            vectors(0);
            let want = [0xFFFF_DED3, 0x1021_0142, 0x1FF, 0, 0xAB12_3579];
            assert_eq!(blocks()[..5], want);
        }
        Boot::Rp2350Riscv => {
            let stack = board.main_ram().start + board.stack_len;
            let want = [
                0xFFFF_DED3,
                0x1101_0142,
                0x344,
                board.flash.start,
                stack,
                0x4FF,
                0,
                0xAB12_3579,
            ];
            assert_eq!(blocks(), want);
            assert_eq!(word(0) & 0xFFF, 0x197);
        }
        Boot::Esp32c3Direct => {
            assert_eq!([word(0), word(4)], [0xAEDB_041D; 2]);
            assert_eq!(word(8) & 0xFFF, 0x197);
        }
    }
}

/// The file for the flashing tool, byte for byte, is what the emulator gets; it starts it as the board would.
#[test]
fn every_board_gets_an_image_that_starts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.eqm"), artifact()).unwrap();
    let mut booted = vec![];
    for target in boards().unwrap() {
        let name = &target.board.name;
        let (at, bytes) = read_hex(&String::from_utf8(flash(dir.path(), name, "hex")).unwrap());
        assert_eq!(at, target.board.flashed_at(), "{name}");
        check_start(&target, &bytes);
        if target.board.qemu.is_some() {
            let text = boot(&target, &[&dir.path().join("image")], 1, PATIENCE);
            let text = text.unwrap_or_else(|e| panic!("{e:?}"));
            assert_eq!(text, "self-test passed\n", "{name}");
            booted.push(name.clone());
        }
        flash(dir.path(), name, "elf");
        let found = scan(&dir.path().join("image")).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(found, [], "{name}");
    }
    println!("booted: {booted:?}");
    assert_eq!(
        booted,
        [
            "hifive1",
            "lm3s6965evb",
            "microbit",
            "nucleo-f401re",
            "stm32f405"
        ]
    );
}

/// The formats hold the same bytes, and one whose flash was damaged is noticed by the board itself.
#[test]
fn formats_agree_and_damage_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let model = artifact();
    std::fs::write(dir.path().join("a.eqm"), &model).unwrap();
    let bin = flash(dir.path(), "microbit-v2", "bin");
    let hex = String::from_utf8(flash(dir.path(), "microbit-v2", "hex")).unwrap();
    assert!(read_hex(&hex) == (0, bin.clone()));
    let uf2 = flash(dir.path(), "microbit-v2", "uf2");
    let pages: Vec<u8> = uf2
        .chunks(512)
        .flat_map(|block| &block[32..288])
        .copied()
        .collect();
    assert!(pages[..bin.len()] == bin && uf2.len() == bin.len().div_ceil(256) * 512);

    let target = board("stm32f405").unwrap();
    let bin = flash(dir.path(), "stm32f405", "bin");
    let hex = String::from_utf8(flash(dir.path(), "stm32f405", "hex")).unwrap();
    let magic = bin.windows(4).position(|w| w == elastiq::format::MAGIC);
    let behind = (magic.unwrap() + 512) & !15;
    let damaged = hex.lines().map(|line| match data(line) {
        Some((offset, mut value)) if usize::from(offset) == behind => {
            value[0] ^= 1;
            let record = Record::Data { offset, value };
            record.to_record_string().unwrap()
        }
        _ => line.to_string(),
    });
    let lines: Vec<String> = damaged.collect();
    assert!(
        lines
            .iter()
            .zip(hex.lines())
            .filter(|(a, b)| a != b)
            .count()
            == 1
    );
    std::fs::write(dir.path().join("bad.hex"), lines.join("\n") + "\n").unwrap();
    let text = boot(&target, &[&dir.path().join("bad.hex")], 1, PATIENCE).unwrap();
    assert_eq!(text, "model refused\n");

    // The reset vector leads to the end of flash: a fault is said, not a silent hang.
    let lost = hex.lines().map(|line| match data(line) {
        Some((0, mut value)) => {
            value[4..8].copy_from_slice(&0x080F_FFF1u32.to_le_bytes());
            let record = Record::Data { offset: 0, value };
            record.to_record_string().unwrap()
        }
        _ => line.to_string(),
    });
    let lines: Vec<String> = lost.collect();
    std::fs::write(dir.path().join("bad.hex"), lines.join("\n") + "\n").unwrap();
    let text = boot(&target, &[&dir.path().join("bad.hex")], 1, PATIENCE).unwrap();
    assert_eq!(text, "the program took a fault\n");
}

/// A data record.
fn data(line: &str) -> Option<(u16, Vec<u8>)> {
    match Record::from_record_string(line).ok()? {
        Record::Data { offset, value } => Some((offset, value)),
        _ => None,
    }
}

/// What talks to the probe gets the chip and the very image; what it says ends the command.
#[cfg(unix)]
#[test]
fn images_go_through_the_probe_program() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.eqm"), artifact()).unwrap();
    let probe = dir.path().join("probe");
    let run = |script: &str| {
        std::fs::write(&probe, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&probe, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_elastiq"));
        command
            .args(["flash", "a.eqm", "--board", "microbit-v2"])
            .current_dir(dir.path());
        let out = command.env("ELASTIQ_PROBE", &probe).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (
            out.status.code().unwrap(),
            text(&out.stdout),
            text(&out.stderr),
        )
    };
    let (code, out, err) = run("[ $1 = nRF52833_xxAA ] && cp $2 got.hex");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("flashed, read back, started"), "{out}");
    let got = std::fs::read(dir.path().join("got.hex")).unwrap();
    assert!(got == flash(dir.path(), "microbit-v2", "hex"));
    let (code, out, err) = run("echo 'no debug probe found' >&2; exit 1");
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "error: microbit-v2: no debug probe found\n");
    std::fs::remove_file(&probe).unwrap();
    let (code, _, err) = elastiq(dir.path(), &["flash", "a.eqm", "--board", "microbit-v2"]);
    assert!(code == 2 && err.contains("--emit"), "{err}");
}

#[test]
fn what_cannot_be_flashed_is_refused_before_anything_is_built() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.eqm"), artifact()).unwrap();
    for (args, code, part) in [
        (
            &["a.eqm", "--board", "pico9", "--emit", "hex"][..],
            2,
            "no board `pico9` (there are esp32c3, ",
        ),
        (
            &["a.eqm", "--board", "hifive1", "--emit", "uf2"],
            2,
            "SiFive HiFive1 Rev B has no UF2 boot loader",
        ),
        (&["b.eqm", "--board", "pico", "--emit", "hex"], 2, "b.eqm: "),
        (
            &[
                "a.eqm",
                "--board",
                "pico",
                "--emit",
                "hex",
                "-o",
                "no/such/x",
            ],
            2,
            "no/such/x: cannot write",
        ),
    ] {
        let (found, out, err) = elastiq(dir.path(), &[&["flash"], args].concat());
        assert_eq!((found, out.as_str()), (code, ""), "{err}");
        assert!(err.contains(part) && err.lines().count() == 1, "{err}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
