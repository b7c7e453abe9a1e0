//! Progress of a training on a terminal: a bar, and a line per epoch.

use crate::output::share;
use elastiq_quant::train::{EpochReport, Event};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The bar and the clock of the mini-batches.
pub struct Bar {
    bar: ProgressBar,
    epochs: usize,
    last: Instant,
    seen: usize,
    samples: usize,
    busy: Duration,
}

impl Bar {
    /// A bar for `epochs` epochs.
    pub fn new(epochs: usize) -> Bar {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {msg} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Bar {
            bar,
            epochs,
            last: Instant::now(),
            seen: 0,
            samples: 0,
            busy: Duration::ZERO,
        }
    }

    /// Training samples per second so far, without validation; 0 before the first.
    pub fn rate(&self) -> f64 {
        match self.busy.as_secs_f64() {
            s if s > 0.0 => self.samples as f64 / s,
            _ => 0.0,
        }
    }

    /// Show an event.
    pub fn show(&mut self, event: &Event) {
        let now = Instant::now();
        match *event {
            Event::Step {
                epoch,
                batch,
                batches,
                seen,
                loss,
                accuracy,
            } => {
                // The first mini-batch after a resumption brings the sums of those before it.
                let first = seen < self.seen || (self.seen == 0 && batch > 1);
                let new = if first {
                    seen / batch
                } else {
                    seen - self.seen
                };
                self.samples += new;
                self.busy += now - self.last;
                self.seen = seen;
                self.bar
                    .set_prefix(format!("epoch {epoch}/{}", self.epochs));
                self.bar.set_length((batches * self.epochs) as u64);
                self.bar
                    .set_position((batches * (epoch - 1) + batch) as u64);
                let metric = accuracy.map_or(String::new(), |a| format!(" accuracy {a:.4}"));
                self.bar
                    .set_message(format!("loss {loss:.4}{metric} {:.0}/s", self.rate()));
            }
            Event::Epoch(report) => {
                self.seen = 0;
                self.bar.println(line(report, self.epochs));
            }
        }
        self.last = Instant::now();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(r: &EpochReport, epochs: usize) -> String {
    let loss = r.loss.map_or("-".to_string(), |l| format!("{l:.4}"));
    let [reals, integers] = match r.configurations.is_empty() {
        true => ["float", "8-bit"],
        false => ["quantized", "integers"],
    };
    format!(
        "epoch {}/{epochs}: loss {loss}, accuracy {}; validation: loss {:.4}, {reals} {}, {integers} {}{}",
        r.epoch,
        share(r.accuracy.map(f64::from)),
        r.val_loss,
        share(r.val_accuracy.map(f64::from)),
        share(r.int_score.map(f64::from)),
        if r.best { " (best)" } else { "" }
    )
}
