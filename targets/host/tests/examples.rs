//! The programs of `examples/board`, as images on emulated boards.

mod support;

use elastiq::slots::{Flash, Seal, Slots};
use elastiq::{Engine, OpSet};
use elastiq_board::link::SLOTS_VAR;
use elastiq_cli::boards::{Target, board};
use elastiq_cli::image::Image;
use elastiq_cli::qemu::{Program, boot, build};
use std::convert::Infallible;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::artifact;

const PATIENCE: Duration = Duration::from_secs(60);

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(file)
}

/// The flash image of a program, as the file that would be flashed.
fn hex(target: &Target, name: &'static str, env: &[(&str, &OsStr)], dir: &Path) -> PathBuf {
    let elf = build(&target.core, Program::Example(name), env, &mut |_| {});
    let elf = elf.unwrap_or_else(|e| panic!("{e:?}"));
    let file = dir.join("image.hex");
    std::fs::write(&file, Image::of(&elf, &target.board).unwrap().hex()).unwrap();
    file
}

/// Two models, one arena; the watchdog bites unless it is fed between operators.
#[test]
fn two_models_share_an_arena_under_a_watchdog() {
    let dir = tempfile::tempdir().unwrap();
    let target = board("lm3s6965evb").unwrap();
    let other = dir.path().join("other.eqm");
    std::fs::write(&other, artifact()).unwrap();
    let digits = example("models/digits_cnn.eqm").canonicalize().unwrap();
    let models = [
        ("ELASTIQ_MODEL", digits.as_os_str()),
        ("ELASTIQ_MODEL2", other.as_os_str()),
    ];
    let image = hex(&target, "together", &models, dir.path());
    let text = boot(&target, &[&image], 2, PATIENCE).unwrap_or_else(|e| panic!("{e:?}"));
    println!("{text}");
    let ops = |bytes: &[u8]| {
        Engine::<{ OpSet::ALL }>::new(bytes)
            .unwrap()
            .model()
            .ops()
            .len()
    };
    let fed = 10 * (ops(&std::fs::read(&digits).unwrap()) + ops(&artifact()));
    assert_eq!(
        text,
        format!("started\n20 runs as recorded, watchdog fed {fed} times\n")
    );

    let starved = [&models[..], &[("ELASTIQ_STARVE", OsStr::new("1"))]].concat();
    let image = hex(&target, "together", &starved, dir.path());
    let line = boot(&target, &[&image], 2, PATIENCE)
        .unwrap_err()
        .line()
        .unwrap();
    assert!(
        line.starts_with("lm3s6965evb: the emulator ended: started"),
        "{line}"
    );
}

/// Flash of the board before it starts, in memory.
struct Memory {
    bytes: Vec<u128>,
    left: usize,
}

impl Flash for Memory {
    type Error = Infallible;
    const PAGE: usize = 0x400;
    const UNIT: usize = 4;

    fn bytes(&self) -> &[u8] {
        zerocopy::IntoBytes::as_bytes(self.bytes.as_slice())
    }

    fn erase(&mut self, off: usize) -> Result<(), Infallible> {
        if self.left > 0 {
            self.bytes[off / 16..(off + Self::PAGE) / 16].fill(u128::MAX);
            self.left -= 1;
        }
        Ok(())
    }

    /// Without an error after the power is gone: what was not written is what counts.
    fn write(&mut self, off: usize, units: &[u8]) -> Result<(), Infallible> {
        for (i, byte) in units.iter().enumerate().take(self.left) {
            let shift = 8 * ((off + i) % 16);
            self.bytes[(off + i) / 16] &= !(u128::from(!byte) << shift);
        }
        self.left -= self.left.min(units.len());
        Ok(())
    }
}

/// The slots part of flash after `left` bytes of an update onto `old`, as a HEX file.
fn interrupted(target: &Target, old: &[u8], new: &[u8], left: usize, file: &Path) {
    let slots = target.board.slots.as_ref().unwrap();
    let mut memory = Memory {
        bytes: vec![u128::MAX; slots.len as usize / 16],
        left: usize::MAX,
    };
    let mut padded = zerocopy::IntoBytes::as_bytes(&Seal::new(1, old.len() as u32)).to_vec();
    padded.extend(old);
    memory.write(0, &padded).unwrap();
    memory.left = left;
    let mut slots_in = Slots::new(memory);
    if let Ok(mut update) = slots_in.update::<{ OpSet::ALL }>(new.len()) {
        // Pieces that do not arrive leave an artifact that is refused.
        let _ = update.write(new);
        let _ = update.finish();
    }
    let image = Image {
        at: slots.start,
        bytes: slots_in.into_flash().bytes().to_vec(),
    };
    std::fs::write(file, image.hex()).unwrap();
}

/// The image of the program stays; the flash controller of the emulated board writes the new model beside the old.
#[test]
fn a_model_is_replaced_without_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let target = board("microbit").unwrap();
    let old = artifact();
    let path = example("models/digits_cnn.eqm").canonicalize().unwrap();
    let new = std::fs::read(&path).unwrap();
    let env = [
        ("ELASTIQ_MODEL", path.as_os_str()),
        (SLOTS_VAR, OsStr::new("1")),
    ];
    let image = hex(&target, "update", &env, dir.path());
    let text = boot(&target, &[&image], 3, PATIENCE).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(
        text,
        "no model\ninstalled\nslot 0, update 1: self-test passed\n"
    );

    let flash = dir.path().join("slots.hex");
    let replaced =
        "slot 0, update 1: self-test passed\ninstalled\nslot 1, update 2: self-test passed\n";
    // Before the update, in the middle of the artifact, in the middle of the seal.
    for left in [0, new.len() / 2, new.len().next_multiple_of(16) + 16] {
        interrupted(&target, &old, &new, left, &flash);
        let text =
            boot(&target, &[&image, &flash], 3, PATIENCE).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(text, replaced, "power cut after {left} bytes");
    }
    interrupted(&target, &old, &new, usize::MAX, &flash);
    let text = boot(&target, &[&image, &flash], 3, PATIENCE).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(
        text,
        "slot 1, update 2: self-test passed\ninstalled\nslot 0, update 3: self-test passed\n"
    );
}
