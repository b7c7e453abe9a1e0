//! What a firmware with one model in it needs of flash and RAM.

use crate::artifact::Artifact;
use crate::failure::{Failure, Outcome, io_text};
use crate::measure::sizes;
use crate::output::write_file;
use crate::qemu::{self, Core};
use elastiq::ModelInfo;
use elastiq::format::crc::crc32c;
use elastiq_quant::pack::without_meta;
use object::{Object, ObjectSymbol, SymbolKind};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Bytes of the application: startup, engine, the operators of the model, the model; optimized for size.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Footprint {
    pub core: String,
    /// Kernels, engine, startup: all instructions.
    pub code_bytes: u64,
    /// Constants beside the model.
    pub rodata_bytes: u64,
    /// Variables with a start value, in flash and in RAM.
    pub data_bytes: u64,
    /// Variables that start as zero, beside the arena.
    pub bss_bytes: u64,
    /// The artifact as embedded.
    pub model_bytes: u64,
    /// Part of the artifact's file that only host tools read and that is not embedded.
    pub meta_bytes: u64,
    /// Recorded runs, part of `model_bytes`.
    pub self_test_bytes: u64,
    /// Everything in flash.
    pub flash_bytes: u64,
    pub arena_bytes: u64,
    /// Stack that the application does not exceed, from frame sizes and calls.
    pub stack_bound_bytes: u64,
    /// Arena, variables and stack.
    pub ram_bytes: u64,
    /// The largest functions.
    pub functions: Vec<Function>,
}

/// A function of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Function {
    pub name: String,
    pub bytes: u64,
}

/// Functions that are listed.
const LARGEST: usize = 8;

/// Function that startup code calls: the whole program.
const MAIN: &str = "main";

/// Build the application for `core` with `artifact` in it and look at what came out.
pub fn measure(
    core: &Core,
    artifact: &Artifact,
    progress: &mut dyn FnMut(&str),
) -> Outcome<Footprint> {
    let embedded = embedded(artifact)?;
    let elf = qemu::build_small_app(core, &model_file(&embedded)?, progress)?;
    of(core, artifact, &embedded, &elf)
}

/// The artifact as firmware embeds it: without what only host tools read.
pub fn embedded(artifact: &Artifact) -> Outcome<Vec<u8>> {
    without_meta(&artifact.bytes).map_err(|e| Failure::at(&artifact.path, e))
}

/// A file in the build folder that holds `embedded`; the same for the same bytes, so that nothing is compiled twice.
pub fn model_file(embedded: &[u8]) -> Outcome<PathBuf> {
    let dir = qemu::workspace()?.join("target/firmware/models");
    std::fs::create_dir_all(&dir).map_err(|e| Failure::at(&dir, io_text(&e)))?;
    let name = format!("{:08x}-{}.eqm", crc32c(embedded), embedded.len());
    let file = dir.join(name);
    if std::fs::read(&file).is_ok_and(|bytes| bytes == embedded) {
        return Ok(file);
    }
    write_file(&file, embedded)?;
    Ok(file)
}

/// Sizes of the application `elf` with `embedded` in it.
pub fn of(core: &Core, artifact: &Artifact, embedded: &[u8], elf: &Path) -> Outcome<Footprint> {
    let all = sizes(elf)?;
    let arena = ModelInfo::read(embedded).map_or(0, |info| info.arena_len as u64);
    let model = embedded.len() as u64;
    let stack = u64::from(qemu::stack::report(elf, MAIN)?.bytes);
    let cases = artifact.engine()?.model().self_test_cases();
    let self_test = cases.map(|(x, y)| x.len() + y.len()).sum::<usize>();
    let bss = all.bss.saturating_sub(arena);
    Ok(Footprint {
        core: core.name.clone(),
        code_bytes: all.code,
        rodata_bytes: all.rodata.saturating_sub(model),
        data_bytes: all.data,
        bss_bytes: bss,
        model_bytes: model,
        meta_bytes: (artifact.bytes.len() - embedded.len()) as u64,
        self_test_bytes: self_test as u64,
        flash_bytes: all.code + all.rodata + all.data,
        arena_bytes: arena,
        stack_bound_bytes: stack,
        ram_bytes: arena + all.data + bss + stack,
        functions: functions(elf)?,
    })
}

/// The largest functions of a program, the largest first.
fn functions(elf: &Path) -> Outcome<Vec<Function>> {
    let bytes = std::fs::read(elf).map_err(|e| Failure::at(elf, io_text(&e)))?;
    let file = object::File::parse(bytes.as_slice()).map_err(|e| Failure::at(elf, e))?;
    let symbols = file
        .symbols()
        .filter(|s| s.kind() == SymbolKind::Text && s.size() > 0);
    let mut found: Vec<Function> = symbols
        .map(|s| Function {
            name: format!(
                "{:#}",
                rustc_demangle::demangle(s.name().unwrap_or_default())
            ),
            bytes: s.size(),
        })
        .collect();
    found.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    found.truncate(LARGEST);
    Ok(found)
}
