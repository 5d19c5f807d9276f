//! How the demo tells: chapters with lines for people and facts for programs, timed, and expectations that end it when they fail.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// One chapter.
#[derive(Debug, Serialize)]
pub(super) struct Chapter {
    title: String,
    elapsed_ms: u64,
    facts: Map<String, Value>,
}

/// The demo's tale.
pub(super) struct Tale {
    pub(super) output: Output,
    begun: Instant,
    chapter_begun: Instant,
    chapters: Vec<Chapter>,
    /// Expectations that held.
    pub(super) held: u32,
    /// Release requests that were answered in this run; each must leave a receipt.
    pub(super) requests: u64,
}

impl Tale {
    pub(super) fn new(output: Output) -> Self {
        let now = Instant::now();
        Self { output, begun: now, chapter_begun: now, chapters: Vec::new(), held: 0, requests: 0 }
    }

    /// Ends the chapter before, and begins one.
    pub(super) fn chapter(&mut self, title: &str) {
        self.end_chapter();
        self.chapter_begun = Instant::now();
        self.output.say(format_args!("\n{}. {title}", self.chapters.len() + 1));
        self.chapters.push(Chapter { title: title.to_owned(), elapsed_ms: 0, facts: Map::new() });
    }

    /// A line for people.
    pub(super) fn say(&self, line: impl std::fmt::Display) {
        self.output.say(format_args!("   {line}"));
    }

    /// A fact for programs.
    pub(super) fn fact(&mut self, name: &str, value: impl Serialize) {
        if let Some(chapter) = self.chapters.last_mut() {
            let value = serde_json::to_value(value).expect("facts are plain data");
            chapter.facts.insert(name.to_owned(), value);
        }
    }

    /// Ends the demo when something is not as it should be.
    pub(super) fn expect(&mut self, holds: bool, what: impl Into<String>) -> Outcome<()> {
        if holds {
            self.held += 1;
            return Ok(());
        }
        Err(Failure::new("DEMO_EXPECTATION_FAILED", format!("this should hold and does not: {}", what.into()))
            .next("this is a fault of Pulsegate: report it with the demo's output, and keep the data folder"))
    }

    /// Ends the last chapter; returns all of them and the milliseconds since the beginning.
    pub(super) fn end(mut self) -> (Vec<Chapter>, u64) {
        self.end_chapter();
        (self.chapters, milliseconds(self.begun))
    }

    fn end_chapter(&mut self) {
        if let Some(chapter) = self.chapters.last_mut() {
            chapter.elapsed_ms = milliseconds(self.chapter_begun);
            self.output.say(format_args!("   ({} ms)", chapter.elapsed_ms));
        }
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
