//! Build-script side: linker script, boot sections and constants of the selected core or board.

use crate::{Board, Boot, Console, Core, Region, SlotFlash, Step, Watchdog};
use std::fmt::Write as _;
use std::path::Path;

/// Environment variable that selects the core or board when firmware is built.
pub const BOARD_VAR: &str = "ELASTIQ_BOARD";

/// Environment variable that keeps the program out of the slots of the board, for programs that use them.
pub const SLOTS_VAR: &str = "ELASTIQ_SLOTS";

/// Called by the build script of a firmware package.
///
/// Reads `boards/$ELASTIQ_BOARD.toml` or `cores/$ELASTIQ_BOARD.toml` beside `manifest_dir`, writes `memory.x` (for
/// `link.x` of the package), `boot.s` and `board.rs` into `out_dir`, and tells cargo how to link. Does nothing when
/// the package is compiled for a system with `std`, where its programs only say how to build them.
///
/// # Errors
/// One line for the build log.
pub fn emit(manifest_dir: &Path, out_dir: &Path, target_os: &str) -> Result<(), String> {
    println!("cargo:rerun-if-env-changed={BOARD_VAR}");
    println!("cargo:rerun-if-env-changed={SLOTS_VAR}");
    if target_os != "none" {
        return Ok(());
    }
    let name = std::env::var(BOARD_VAR).map_err(|_| {
        format!(
            "set {BOARD_VAR} to the name of a file in {}",
            manifest_dir.join("boards").display()
        )
    })?;
    let file = |folder: &str| manifest_dir.join(folder).join(format!("{name}.toml"));
    let script = manifest_dir.join("link.x");
    let (board, core) = (file("boards"), file("cores"));
    for path in [&board, &core, &script] {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let layout = match board.is_file() {
        true => Layout::of_board(&Board::read(&board)?, std::env::var_os(SLOTS_VAR).is_some()),
        false => Layout::of_core(&Core::read(&core)?),
    };
    write(&out_dir.join("memory.x"), &layout.memory)?;
    write(&out_dir.join("boot.s"), &layout.boot)?;
    write(&out_dir.join("board.rs"), &layout.constants)?;
    println!("cargo:rustc-link-search={}", out_dir.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Texts of the three files.
struct Layout {
    memory: String,
    boot: String,
    constants: String,
}

impl Layout {
    fn of_core(core: &Core) -> Layout {
        let m = &core.memory;
        let mut constants = setup(Console::Semihosting, &[], None);
        for (name, doc, Region { start, len }) in [
            ("ARENA", "Working memory of the engine", m.arena),
            ("LOAD", "Job and model, written by the host", m.load),
        ] {
            let _ = writeln!(
                constants,
                "/// {doc}.\npub const {name}: elastiq_fw::Region = elastiq_fw::Region {{ start: {start:#x}, len: {len:#x} }};"
            );
        }
        Layout {
            memory: memory_x(m.code, None, m.ram, m.stack_len, false),
            boot: String::new(),
            constants,
        }
    }

    fn of_board(board: &Board, keep_slots: bool) -> Layout {
        let mut constants = setup(board.console, &board.init, board.watchdog.as_ref());
        let mut code = board.flash;
        if let Some(SlotFlash {
            start, len, page, ..
        }) = board.slots
        {
            let _ = writeln!(
                constants,
                "/// Flash for two copies of a model, as the program rewrites it.\n\
                 pub type SlotFlash = elastiq_fw::nvmc::Nvmc<{start:#x}, {len:#x}, {page:#x}>;"
            );
            if keep_slots {
                code.len = start - code.start;
            }
        }
        Layout {
            memory: memory_x(
                code,
                board.constants,
                board.main_ram(),
                board.stack_len,
                board.console != Console::Semihosting,
            ),
            boot: boot_s(board.boot),
            constants,
        }
    }
}

fn memory_x(
    code: Region,
    constants: Option<Region>,
    ram: Region,
    stack_len: u32,
    fault_prints: bool,
) -> String {
    let region = |name: &str, Region { start, len }: Region| {
        format!("  {name} : ORIGIN = {start:#x}, LENGTH = {len:#x}\n")
    };
    // Where constants are read by other addresses than code runs from, the script leaves out as many bytes there.
    let (constants, alias) = match constants {
        Some(apart) => (region("CONST", apart), "__constants_apart = 1;\n"),
        None => (
            String::new(),
            "REGION_ALIAS(\"CONST\", CODE)\n__constants_apart = 0;\n",
        ),
    };
    format!(
        "MEMORY {{\n{}{constants}{}}}\n{alias}__stack_len = {stack_len:#x};\n__fault_prints = {};\n",
        region("CODE", code),
        region("RAM", ram),
        u8::from(fault_prints)
    )
}

/// Constant `SETUP`: the registers to set, the console, the watchdog.
fn setup(console: Console, init: &[Step], watchdog: Option<&Watchdog>) -> String {
    let console = match console {
        Console::Semihosting => "Console::Semihosting".into(),
        Console::Uart {
            data,
            status,
            mask,
            ready,
            event,
            flush,
        } => format!(
            "Console::Uart(Uart {{ data: {data:#x}, status: {status:#x}, mask: {mask:#x}, ready: {ready:#x}, event: {event}, flush: {flush:?} }})"
        ),
    };
    let [start, feed] = match watchdog {
        Some(watchdog) => [steps(&watchdog.start), steps(&watchdog.feed)],
        None => [String::new(), String::new()],
    };
    format!(
        "#[allow(unused_imports, reason = \"what a board needs differs\")]\nuse elastiq_fw::setup::{{Console, Setup, Step, Uart}};\n\
         /// Registers, console and watchdog of the board.\npub const SETUP: Setup = Setup {{ steps: &[{}], console: {console}, \
         watchdog: &[{start}], feed: &[{feed}] }};\n",
        steps(init)
    )
}

fn steps(steps: &[Step]) -> String {
    let steps = steps.iter().map(|step| match *step {
        Step::Write { write, value } => format!("Step::Write({write:#x}, {value:#x})"),
        Step::Set { set, bits } => format!("Step::Set({set:#x}, {bits:#x})"),
        Step::Clear { clear, bits } => format!("Step::Clear({clear:#x}, {bits:#x})"),
        Step::Wait { wait, mask, value } => {
            format!("Step::Wait({wait:#x}, {mask:#x}, {value:#x})")
        }
    });
    steps.collect::<Vec<_>>().join(", ")
}

/// Sections `.boot.first`, before everything, and `.boot.block`, behind the vector table.
fn boot_s(boot: Boot) -> String {
    let words = |section: &str, words: &[&str]| {
        format!(
            "    .section {section}, \"a\"\n    .balign 4\n    .word {}\n    .text\n",
            words.join(", ")
        )
    };
    match boot {
        Boot::Plain => String::new(),
        // RP2040 datasheet 2.8.1.3.1: 252 bytes of code and their CRC-32, copied to RAM and run.
        Boot::Rp2040 => {
            let stage: Vec<String> = rp2040_boot2::BOOT_LOADER_W25Q080
                .chunks_exact(4)
                .map(|b| format!("{:#010x}", u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
                .collect();
            let stage: Vec<&str> = stage.iter().map(String::as_str).collect();
            words(".boot.first", &stage)
        }
        // RP2350 datasheet 5.9.5.1: secure executable for Arm; the vector table stands at the start of the image.
        Boot::Rp2350Arm => words(
            ".boot.block",
            &[
                "0xffffded3",
                "0x10210142",
                "0x000001ff",
                "0x00000000",
                "0xab123579",
            ],
        ),
        // RP2350 datasheet 5.9.3.4 and 5.9.5.2: executable for RISC-V, entry point and first stack pointer.
        Boot::Rp2350Riscv => words(
            ".boot.block",
            &[
                "0xffffded3",
                "0x11010142",
                "0x00000344",
                "reset",
                "__stack_top",
                "0x000004ff",
                "0x00000000",
                "0xab123579",
            ],
        ),
        // "ESP32-C3 Direct Boot example" of Espressif: the ROM maps flash and jumps behind these words.
        Boot::Esp32c3Direct => words(".boot.first", &["0xaedb041d", "0xaedb041d"]),
    }
}
