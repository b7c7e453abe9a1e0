//! Drawings: points with their front, bars, lines.

use super::elements::{tag, text, with};
use svg::node::element::Element;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
/// Margins for numbers and names of the axes.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;
const ACCENT: &str = "#1f5fa8";
const SECOND: &str = "#c2571a";
const QUIET: &str = "#8a8f98";
const GRID: &str = "#e3e6ea";
const INK: &str = "#2b2f36";

/// Which end of the vertical axis is better; horizontally it is always the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    High,
    Low,
}

/// One result in a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub name: String,
}

/// For each point whether it is on the front: no other is at least as good in both directions and better in one.
pub fn pareto(points: &[(f64, f64)], aim: Aim) -> Vec<bool> {
    let better = |a: f64, b: f64| match aim {
        Aim::High => a > b,
        Aim::Low => a < b,
    };
    let beats = |a: &(f64, f64), b: &(f64, f64)| {
        a.0 <= b.0 && !better(b.1, a.1) && (a.0 < b.0 || better(a.1, b.1))
    };
    let free = |p: &(f64, f64)| !points.iter().any(|q| beats(q, p));
    points.iter().map(free).collect()
}

/// An axis: values to positions, and where the numbers stand.
struct Axis {
    lo: f64,
    hi: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: &[f64], log: bool, from: f64, to: f64) -> Axis {
        let on = |v: f64| if log { v.max(1e-12).log10() } else { v };
        let lo = values.iter().copied().map(on).fold(f64::INFINITY, f64::min);
        let hi = values
            .iter()
            .copied()
            .map(on)
            .fold(f64::NEG_INFINITY, f64::max);
        // A margin on both sides; one value alone stands in the middle.
        let pad = match hi - lo {
            d if d > 0.0 => d * 0.06,
            _ => hi.abs().max(1.0) * 0.05,
        };
        let floor = if log || lo < 0.0 {
            f64::NEG_INFINITY
        } else {
            0.0
        };
        Axis {
            lo: (lo - pad).max(floor),
            hi: hi + pad,
            log,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let value = if self.log {
            value.max(1e-12).log10()
        } else {
            value
        };
        self.from + (value - self.lo) / (self.hi - self.lo) * (self.to - self.from)
    }

    /// About five round numbers.
    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.lo.floor() as i32)..=(self.hi.ceil() as i32);
            let all = decades.flat_map(|d| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(d)));
            return all
                .filter(|v| (self.lo..=self.hi).contains(&v.log10()))
                .collect();
        }
        let rough = (self.hi - self.lo) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
        let step = steps.into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (self.lo / step).ceil() as i64;
        let last = (self.hi / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// A number for an axis: `12k`, `1.5M`, `0.93`.
fn short(v: f64) -> String {
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    };
    match v.abs() {
        a if a >= 1e6 => format!("{}M", trim(format!("{:.2}", v / 1e6))),
        a if a >= 1e4 => format!("{}k", trim(format!("{:.1}", v / 1e3))),
        a if a >= 100.0 => format!("{v:.0}"),
        a if a >= 10.0 => trim(format!("{v:.1}")),
        _ => trim(format!("{v:.4}")),
    }
}

fn number(v: f64) -> String {
    format!("{v:.1}")
}

fn line(from: (f64, f64), to: (f64, f64), stroke: &str) -> Element {
    let ends = [from.0, from.1, to.0, to.1].map(number);
    let [x1, y1, x2, y2] = ends.each_ref().map(String::as_str);
    let place = [("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)];
    tag("line", &[&place[..], &[("stroke", stroke)]].concat())
}

fn label(at: (f64, f64), anchor: &str, words: &str) -> Element {
    let (x, y) = (number(at.0), number(at.1));
    text(
        "text",
        &[("x", &x), ("y", &y), ("text-anchor", anchor), ("fill", INK)],
        words,
    )
}

fn canvas(height: f64, name: &str) -> Element {
    let view = format!("0 0 {WIDTH} {height}");
    let svg = tag(
        "svg",
        &[
            ("viewBox", &view),
            ("role", "img"),
            ("font-size", "12"),
            ("class", "plot"),
        ],
    );
    with(svg, [text("title", &[], name)])
}

/// Axes with grid, numbers and names.
fn frame(name: &str, x: &Axis, y: &Axis, x_name: &str, y_name: &str) -> Element {
    let mut parts = Vec::new();
    let foot = HEIGHT - BOTTOM;
    for tick in y.ticks() {
        let at = y.at(tick);
        parts.push(line((LEFT, at), (WIDTH - RIGHT, at), GRID));
        parts.push(label((LEFT - 6.0, at + 4.0), "end", &short(tick)));
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        parts.push(line((at, TOP), (at, foot), GRID));
        parts.push(label((at, foot + 16.0), "middle", &short(tick)));
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    parts.push(label((middle, HEIGHT - 8.0), "middle", x_name));
    let turned = format!("rotate(-90 13 {})", number((TOP + foot) / 2.0));
    let side = text(
        "text",
        &[
            ("x", "13"),
            ("y", &number((TOP + foot) / 2.0)),
            ("text-anchor", "middle"),
            ("fill", INK),
            ("transform", &turned),
        ],
        y_name,
    );
    parts.push(side);
    with(canvas(HEIGHT, name), parts)
}

/// Points; those on the front are filled, named and joined.
pub fn scatter(name: &str, x_name: &str, y_name: &str, points: &[Point], aim: Aim) -> Element {
    let xs: Vec<f64> = points.iter().map(|p| p.x).collect();
    let ys: Vec<f64> = points.iter().map(|p| p.y).collect();
    let spread =
        xs.iter().copied().fold(0.0, f64::max) / xs.iter().copied().fold(f64::MAX, f64::min);
    let x = Axis::new(&xs, spread > 20.0, LEFT, WIDTH - RIGHT);
    let y = Axis::new(&ys, false, HEIGHT - BOTTOM, TOP);
    let pairs: Vec<(f64, f64)> = points.iter().map(|p| (p.x, p.y)).collect();
    let front = pareto(&pairs, aim);
    let mut svg = frame(name, &x, &y, x_name, y_name);
    let mut joined: Vec<&Point> = points
        .iter()
        .zip(&front)
        .filter_map(|(p, on)| on.then_some(p))
        .collect();
    joined.sort_by(|a, b| a.x.total_cmp(&b.x));
    let corners = |pair: &[&Point]| {
        let (a, b) = (pair[0], pair[1]);
        let corner = (x.at(b.x), y.at(a.y));
        [
            line((x.at(a.x), y.at(a.y)), corner, ACCENT),
            line(corner, (x.at(b.x), y.at(b.y)), ACCENT),
        ]
    };
    svg = with(svg, joined.windows(2).flat_map(corners));
    let few = joined.len() <= 12;
    for (p, on) in points.iter().zip(front) {
        let (cx, cy) = (number(x.at(p.x)), number(y.at(p.y)));
        let (data_x, data_y) = (p.x.to_string(), p.y.to_string());
        let look = match on {
            true => [
                ("class", "point pareto"),
                ("fill", ACCENT),
                ("stroke", ACCENT),
                ("r", "4.5"),
            ],
            false => [
                ("class", "point"),
                ("fill", "white"),
                ("stroke", QUIET),
                ("r", "3.5"),
            ],
        };
        let place = [
            ("cx", &*cx),
            ("cy", &*cy),
            ("data-x", &*data_x),
            ("data-y", &*data_y),
        ];
        let what = format!(
            "{}: {} {}, {} {}",
            p.name,
            y_name,
            short(p.y),
            x_name,
            short(p.x)
        );
        let circle = tag("circle", &[&look[..], &place[..]].concat());
        svg = with(svg, [with(circle, [text("title", &[], what)])]);
        if on && few && !p.name.is_empty() {
            // Beside the point, on the side where there is room.
            let (dx, anchor) = match x.at(p.x) > WIDTH * 0.7 {
                true => (-7.0, "end"),
                false => (7.0, "start"),
            };
            svg = with(
                svg,
                [label((x.at(p.x) + dx, y.at(p.y) - 6.0), anchor, &p.name)],
            );
        }
    }
    svg
}

/// Height of a bar and the distance to the next.
const BAR: f64 = 14.0;
const STEP: f64 = 20.0;
/// Room for names of layers, in letters.
const NAME: usize = 18;

/// One horizontal bar per name.
pub fn bars(name: &str, unit: &str, values: &[(String, f64)]) -> Element {
    let height = STEP * values.len() as f64 + 30.0;
    let most = values.iter().map(|(_, v)| *v).fold(0.0, f64::max);
    let left = 136.0;
    let room = WIDTH - left - 58.0;
    let mut parts = vec![label((left, 14.0), "start", unit)];
    for (i, (what, value)) in values.iter().enumerate() {
        let top = 24.0 + STEP * i as f64;
        let width = if most > 0.0 {
            room * value.max(0.0) / most
        } else {
            0.0
        };
        let shown: String = match what.chars().count() > NAME {
            true => what.chars().take(NAME - 1).chain(['…']).collect(),
            false => what.clone(),
        };
        parts.push(label((left - 6.0, top + 11.0), "end", &shown));
        let place = [number(left), number(top), number(width), number(BAR)];
        let [x, y, w, h] = place.each_ref().map(String::as_str);
        let data = value.to_string();
        let bar = tag(
            "rect",
            &[
                ("class", "bar"),
                ("x", x),
                ("y", y),
                ("width", w),
                ("height", h),
                ("fill", ACCENT),
                ("data-value", &data),
            ],
        );
        parts.push(with(bar, [text("title", &[], format!("{what}: {value}"))]));
        parts.push(label(
            (left + width + 5.0, top + 11.0),
            "start",
            &short(*value),
        ));
    }
    with(canvas(height, name), parts)
}

/// A curve of a plot of lines.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// In the second colour, dashed.
    pub second: bool,
}

/// Curves over a logarithmic axis, named at their end.
pub fn curves(name: &str, x_name: &str, y_name: &str, all: &[Curve]) -> Element {
    let flat = || all.iter().flat_map(|c| &c.points);
    let xs: Vec<f64> = flat().map(|p| p.0).collect();
    let ys: Vec<f64> = flat().map(|p| p.1).collect();
    let x = Axis::new(&xs, true, LEFT, WIDTH - RIGHT - 40.0);
    let y = Axis::new(&ys, false, HEIGHT - BOTTOM, TOP);
    let mut svg = frame(name, &x, &y, x_name, y_name);
    for curve in all {
        let colour = if curve.second { SECOND } else { ACCENT };
        let dash = if curve.second { "5 3" } else { "none" };
        let mut points = curve.points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let path: Vec<String> = points
            .iter()
            .map(|p| format!("{},{}", number(x.at(p.0)), number(y.at(p.1))))
            .collect();
        let path = path.join(" ");
        let stroke = [
            ("fill", "none"),
            ("stroke", colour),
            ("stroke-width", "1.5"),
        ];
        let shape = [
            ("class", "curve"),
            ("points", &*path),
            ("stroke-dasharray", dash),
        ];
        svg = with(svg, [tag("polyline", &[&shape[..], &stroke[..]].concat())]);
        for p in &points {
            let (cx, cy) = (number(x.at(p.0)), number(y.at(p.1)));
            let (data_x, data_y) = (p.0.to_string(), p.1.to_string());
            let dot = [
                ("class", "point"),
                ("cx", &*cx),
                ("cy", &*cy),
                ("r", "3"),
                ("fill", colour),
                ("data-x", &*data_x),
                ("data-y", &*data_y),
            ];
            let what = format!("{}: {} at {}", curve.name, short(p.1), short(p.0));
            svg = with(svg, [with(tag("circle", &dot), [text("title", &[], what)])]);
        }
        if let Some(end) = points.last() {
            let at = (x.at(end.0) + 6.0, y.at(end.1) + 4.0);
            svg = with(svg, [label(at, "start", &curve.name)]);
        }
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_what_nothing_beats() {
        let points = [
            (1.0, 0.5),
            (2.0, 0.9),
            (3.0, 0.8),
            (2.0, 0.9),
            (4.0, 0.95),
            (1.0, 0.4),
        ];
        let front = [true, true, false, true, true, false];
        assert_eq!(pareto(&points, Aim::High), front);
        let turned = points.map(|(x, y)| (x, -y));
        assert_eq!(pareto(&turned, Aim::Low), front);
    }

    #[test]
    fn axes_have_round_numbers_inside() {
        let axis = Axis::new(&[5_200.0, 19_800.0], false, 0.0, 100.0);
        assert_eq!(axis.ticks(), [5_000.0, 10_000.0, 15_000.0, 20_000.0]);
        let one = Axis::new(&[0.9], false, 0.0, 100.0);
        assert_eq!(one.at(0.9).round(), 50.0);
        assert!(!one.ticks().is_empty());
        let log = Axis::new(&[0.01, 1.0], true, 0.0, 100.0);
        assert!((log.at(0.1) - 50.0).abs() < 1e-9);
        assert_eq!(short(0.25), "0.25");
        assert_eq!(
            (short(12_000.0), short(1_500_000.0)),
            ("12k".into(), "1.5M".into())
        );
    }
}
