//! Whether a model fits a board: flash, arena, stack.

use crate::footprint::Footprint;
use crate::output::{TextTable, grouped};
use elastiq::ModelInfo;
use elastiq_board::Board;
use serde::Serialize;

/// What the application with a model needs of a memory of the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// `flash`, or the name of a RAM region.
    pub memory: String,
    pub bytes: u64,
    pub parts: Vec<Part>,
}

/// A part of a [`Need`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub name: String,
    pub used: u64,
}

impl Need {
    /// Bytes of all parts.
    pub fn used(&self) -> u64 {
        self.parts.iter().map(|part| part.used).sum()
    }

    /// The first thing that does not fit, in words.
    fn missing(&self, board: &Board) -> Option<String> {
        let over = self.used().checked_sub(self.bytes).filter(|&n| n > 0)?;
        let parts = self.parts.iter().filter(|part| part.used > 0);
        let parts: Vec<String> = parts
            .map(|part| format!("{} {}", part.name, grouped(part.used)))
            .collect();
        Some(format!(
            "{} has {} bytes of {}, {} too few: {}",
            board.title,
            grouped(self.bytes),
            self.memory,
            grouped(over),
            parts.join(", ")
        ))
    }
}

/// Before anything is built: the model, its arena and the stack that the board file keeps.
///
/// # Errors
/// One line that says what does not fit, and by how much.
pub fn at_least(board: &Board, embedded: &[u8]) -> Result<(), String> {
    let arena = ModelInfo::read(embedded).map_or(0, |info| info.arena_len as u64);
    verdict(
        board,
        &needs(board, [0, 0, 0, embedded.len() as u64], [0, arena]),
    )
}

/// Of what was built.
///
/// # Errors
/// As [`at_least`]; also a stack that the board file does not keep enough for.
pub fn check(board: &Board, built: &Footprint) -> Result<Vec<Need>, String> {
    let flash = [
        built.code_bytes,
        built.rodata_bytes,
        built.data_bytes,
        built.model_bytes,
    ];
    let variables = built.data_bytes + built.bss_bytes;
    let needs = needs(board, flash, [variables, built.arena_bytes]);
    verdict(board, &needs)?;
    if built.stack_bound_bytes > u64::from(board.stack_len) {
        return Err(format!(
            "{} keeps {} bytes for the stack, the application may need {}: set stack_len in its board file",
            board.title,
            grouped(board.stack_len.into()),
            grouped(built.stack_bound_bytes)
        ));
    }
    Ok(needs)
}

fn verdict(board: &Board, needs: &[Need]) -> Result<(), String> {
    needs
        .iter()
        .find_map(|need| need.missing(board))
        .map_or(Ok(()), Err)
}

fn needs(board: &Board, flash: [u64; 4], ram: [u64; 2]) -> Vec<Need> {
    let need = |memory: &str, bytes: u32, parts: Vec<(&str, u64)>| Need {
        memory: memory.into(),
        bytes: bytes.into(),
        parts: parts
            .into_iter()
            .map(|(name, used)| Part {
                name: name.into(),
                used,
            })
            .collect(),
    };
    let [code, constants, start, model] = flash;
    let [variables, arena] = ram;
    let name = board.ram.first().map_or("ram", |ram| &ram.name);
    vec![
        need(
            "flash",
            board.flash.len,
            vec![
                ("code", code),
                ("constants", constants),
                ("start values", start),
                ("model", model),
            ],
        ),
        need(
            name,
            board.main_ram().len,
            vec![
                ("stack", board.stack_len.into()),
                ("variables", variables),
                ("arena", arena),
            ],
        ),
    ]
}

/// Used and free bytes of every memory, as a table.
pub fn table(needs: &[Need]) -> String {
    let mut table = TextTable::new(&["memory", "part", "bytes", "of"]);
    for need in needs {
        for part in &need.parts {
            table.row(["", &part.name, &grouped(part.used), ""]);
        }
        let (all, used) = (grouped(need.bytes), need.used());
        table.row([&need.memory, "used", &grouped(used), &all]);
        let free = need.bytes.saturating_sub(used);
        table.row([&need.memory, "free", &grouped(free), &all]);
    }
    table.render(&[0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boards::board;

    #[test]
    fn what_does_not_fit_is_named_with_its_parts() {
        let mut board = board("microbit").unwrap().board;
        let mut header = [0; 64];
        header[..4].copy_from_slice(&elastiq::format::MAGIC);
        (header[4], header[6]) = (elastiq::format::MAJOR, elastiq::spec::ARITH);
        header[12..16].copy_from_slice(&13_312u32.to_le_bytes());
        assert_eq!(at_least(&board, &header), Ok(()));
        header[12] += 1;
        assert_eq!(
            at_least(&board, &header),
            Err(
                "BBC micro:bit V1 has 16,384 bytes of ram, 1 too few: stack 3,072, arena 13,313"
                    .into()
            )
        );
        board.flash.len = 60;
        assert_eq!(
            at_least(&board, &header),
            Err("BBC micro:bit V1 has 60 bytes of flash, 4 too few: model 64".into())
        );
    }

    #[test]
    fn a_stack_that_may_overflow_is_refused() {
        let board = board("microbit").unwrap().board;
        let built = Footprint {
            stack_bound_bytes: 3_073,
            ..Footprint::default()
        };
        let text = check(&board, &built).unwrap_err();
        assert!(
            text.contains("keeps 3,072 bytes for the stack") && text.contains("3,073"),
            "{text}"
        );
    }
}
