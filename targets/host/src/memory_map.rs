//! What lies where in the arena, when: as text and as a drawing.

use crate::artifact::{Artifact, op_name};
use crate::output::grouped;
use elastiq::Model;
use elastiq::format::{NONE, PLACE_ARENA};
use serde::Serialize;
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

/// A storage in the arena.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    pub name: String,
    /// Bytes from the start of the arena.
    pub off: usize,
    pub bytes: usize,
    /// First and last operator that uses it, by index.
    pub first: usize,
    pub last: usize,
    /// Working memory of one operator.
    pub scratch: bool,
}

/// All storages of a model, by offset and then by time.
pub fn blocks(artifact: &Artifact, model: &Model<'_>) -> Vec<Block> {
    let ops = model.steps().count();
    let end = |last: u16| usize::from(last).min(ops.saturating_sub(1));
    let mut blocks: Vec<Block> = model
        .tensors()
        .iter()
        .enumerate()
        .filter(|(_, t)| t.root.get() == NONE && t.place == PLACE_ARENA)
        .map(|(i, t)| Block {
            name: artifact.tensor_name(i),
            off: t.off.get() as usize,
            bytes: t.byte_len().unwrap_or_default(),
            first: usize::from(t.first.get()),
            last: end(t.last.get()),
            scratch: false,
        })
        .collect();
    blocks.extend(
        model
            .steps()
            .enumerate()
            .filter(|(_, op)| op.scratch.len.get() > 0)
            .map(|(i, op)| Block {
                name: format!("scratch of {}", artifact.layer_name(i)),
                off: op.scratch.off.get() as usize,
                bytes: op.scratch.len.get() as usize,
                first: i,
                last: i,
                scratch: true,
            }),
    );
    blocks.sort_by_key(|b| (b.off, b.first));
    blocks
}

/// Columns of the time axis in text.
const COLUMNS: usize = 48;

/// One line per storage: offset, size, operators, and a bar over the operators of the network.
pub fn text(blocks: &[Block], ops: usize) -> String {
    let mut text = format!(
        "{:>8} {:>8}  {:9} {:COLUMNS$}  name\n",
        "offset", "bytes", "operators", "time"
    );
    let column = |op: usize| op * COLUMNS / ops.max(1);
    for b in blocks {
        let (from, to) = (
            column(b.first),
            column(b.last + 1).max(column(b.first) + 1).min(COLUMNS),
        );
        let fill = if b.scratch { "+" } else { "#" };
        let bar = format!(
            "{}{}",
            ".".repeat(from),
            fill.repeat(to.saturating_sub(from))
        );
        let span = format!("{}..{}", b.first, b.last);
        text.push_str(&format!(
            "{:>8} {:>8}  {span:9} {bar:.<COLUMNS$}  {}\n",
            b.off, b.bytes, b.name
        ));
    }
    text
}

const PLOT_W: f64 = 960.0;
const PLOT_H: f64 = 480.0;
/// Margins for the byte axis, the heading and the names of operators.
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 110.0;

/// A drawing: operators along x, bytes of the arena along y, one rectangle per storage.
pub fn drawing(artifact: &Artifact, model: &Model<'_>, blocks: &[Block]) -> String {
    let ops = model.steps().count().max(1);
    let arena = model.arena_len().max(1);
    let x = |op: usize| LEFT + PLOT_W * op as f64 / ops as f64;
    let y = |byte: usize| TOP + PLOT_H * (1.0 - byte as f64 / arena as f64);
    let (width, height) = (LEFT + PLOT_W + 20.0, TOP + PLOT_H + BOTTOM);
    let heading = format!(
        "{}: arena of {} bytes",
        artifact.path.display(),
        grouped(arena as u64)
    );
    let mut doc = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .set("font-family", "sans-serif")
        .set("font-size", 11)
        .add(
            Rectangle::new()
                .set("width", "100%")
                .set("height", "100%")
                .set("fill", "white"),
        )
        .add(label(LEFT, TOP - 16.0, &heading).set("font-size", 14));
    for quarter in 0..=4 {
        let byte = arena * quarter / 4;
        doc = doc
            .add(
                Line::new()
                    .set("x1", LEFT)
                    .set("x2", LEFT + PLOT_W)
                    .set("y1", y(byte))
                    .set("y2", y(byte))
                    .set("stroke", "#ccc"),
            )
            .add(label(LEFT - 6.0, y(byte) + 4.0, &grouped(byte as u64)).set("text-anchor", "end"));
    }
    for (i, b) in blocks.iter().enumerate() {
        let (left, top) = (x(b.first), y(b.off + b.bytes));
        let (w, h) = (x(b.last + 1) - left, y(b.off) - top);
        // Neighbours differ in hue: the golden angle never repeats.
        let hue = (i as f64 * 137.5) % 360.0;
        let fill = if b.scratch {
            "#ddd".to_string()
        } else {
            format!("hsl({hue:.0},60%,78%)")
        };
        let what = format!(
            "{}: {} bytes at {}, operators {}..{}",
            b.name, b.bytes, b.off, b.first, b.last
        );
        let mut group = Group::new().add(Title::new(what)).add(
            Rectangle::new()
                .set("x", left)
                .set("y", top)
                .set("width", w)
                .set("height", h)
                .set("fill", fill)
                .set("stroke", "#333")
                .set("stroke-width", 0.5),
        );
        if h >= 13.0 && w >= 6.5 * b.name.chars().count() as f64 {
            group = group.add(label(left + 4.0, top + h / 2.0 + 4.0, &b.name));
        }
        doc = doc.add(group);
    }
    for (i, op) in model.steps().enumerate() {
        let at = (x(i) + x(i + 1)) / 2.0;
        let foot = TOP + PLOT_H + 12.0;
        let text = format!("{i} {}", op_name(op));
        doc = doc.add(label(at, foot, &text).set("transform", format!("rotate(60 {at} {foot})")));
    }
    doc.to_string()
}

fn label(x: f64, y: f64, text: &str) -> Text {
    Text::new(text).set("x", x).set("y", y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_cover_the_time_of_a_block() {
        let block = |first, last, scratch| Block {
            name: "t".into(),
            off: 0,
            bytes: 4,
            first,
            last,
            scratch,
        };
        let text = text(&[block(0, 1, false), block(3, 3, true)], 4);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].matches('#').count(), COLUMNS / 2);
        assert_eq!(lines[2].matches('+').count(), COLUMNS / 4);
        assert!(lines[2].contains("3..3"));
    }
}
