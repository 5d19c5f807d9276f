//! How long work reports where it stands, without knowing who looks.
//!
//! [`Progress`] is the seam, [`Silent`] says nothing, [`Bar`] draws on standard error and hides itself when that is not a terminal.
//! Must not: write to standard output, or slow the work down.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

/// Told by long work where it stands.
pub trait Progress: Sync {
    /// A piece of work of this many steps begins; a piece that is still open ends.
    fn start(&self, what: &str, steps: u64);
    /// One step is done; the note (a loss, a file name) may be empty.
    fn step(&self, note: &str);
    /// The piece of work is done.
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _steps: u64) {}
    fn step(&self, _note: &str) {}
    fn finish(&self) {}
}

/// A bar on standard error; hidden when that is not a terminal.
#[derive(Debug, Default)]
pub struct Bar(Mutex<Option<(ProgressBar, String)>>);

impl Bar {
    /// No bar yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with(&self, act: impl FnOnce(&mut Option<(ProgressBar, String)>)) {
        // A panic elsewhere must not take the display down too: a poisoned lock still holds a usable bar.
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, steps: u64) {
        let style = ProgressStyle::with_template("  {msg} [{bar:32}] {pos}/{len} {elapsed} (left: {eta})")
            .expect("the template is a constant that parses")
            .progress_chars("=> ");
        let bar = ProgressBar::new(steps).with_style(style).with_message(what.to_owned());
        self.with(|open| {
            if let Some((bar, _)) = open.replace((bar, what.to_owned())) {
                bar.finish_and_clear();
            }
        });
    }

    fn step(&self, note: &str) {
        self.with(|open| {
            if let Some((bar, what)) = open {
                if !note.is_empty() {
                    bar.set_message(format!("{what}: {note}"));
                }
                bar.inc(1);
            }
        });
    }

    fn finish(&self) {
        self.with(|open| {
            if let Some((bar, _)) = open.take() {
                bar.finish_and_clear();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_takes_steps_before_a_start_and_after_the_end() {
        let bar = Bar::new();
        bar.step("early");
        bar.start("training", 2);
        bar.step("loss 0.1");
        bar.start("testing", 1);
        bar.finish();
        bar.finish();
        bar.step("late");
    }
}
