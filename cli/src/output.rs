//! How results reach the person or the program that asked: plain lines and tables, or one JSON document.
//!
//! With `--json` standard output holds exactly one JSON document (or nothing, when the command fails); everything for
//! people is left out. Progress bars go to standard error and hide themselves when that is not a terminal.

use std::fmt::Display;
use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document instead of words.
    pub(crate) json: bool,
}

impl Output {
    /// A line for people; left out with `--json`.
    pub(crate) fn say(self, line: impl Display) {
        if !self.json {
            print_line(&line);
        }
    }

    /// The result for programs; left out without `--json`.
    pub(crate) fn result(self, value: &impl Serialize) {
        if self.json {
            print_json(value);
        }
    }

    /// A table for people, every column as wide as its widest cell; left out with `--json`.
    pub(crate) fn table(self, headings: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("  {}", padded.join("  ")).trim_end().to_owned()
        };
        print_line(&line(&mut headings.iter().copied()));
        print_line(&line(
            &mut widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().iter().map(String::as_str),
        ));
        for row in rows {
            print_line(&line(&mut row.iter().map(String::as_str)));
        }
    }

    /// A bar for work of known length; hidden with `--json`.
    pub(crate) fn progress(self, steps: u64, what: &str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("  {msg} [{bar:32}] {pos}/{len} {elapsed}")
            .expect("the template is a constant that parses")
            .progress_chars("=> ");
        ProgressBar::new(steps).with_style(style).with_message(what.to_owned())
    }

    /// A failure, on standard error: words, or with `--json` an object `{"error": …}`.
    pub(crate) fn failure(self, failure: &Failure) {
        let text = if self.json {
            serde_json::to_string_pretty(&serde_json::json!({ "error": failure })).expect("a failure is plain data")
        } else {
            format!("error: {failure}")
        };
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Prints a JSON document, also without `--json`.
pub(crate) fn print_json(value: &impl Serialize) {
    print_line(&serde_json::to_string_pretty(value).expect("results are plain data with text keys"));
}

/// Prints raw text (CSV, a FHIR Bundle) as it is.
pub(crate) fn print_raw(text: &str) {
    // A closed pipe (`pulsegate open | head`) is the reader's choice, not an error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn print_line(line: &dyn Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Whole number with thousands separated.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The beginning of a long hex text or CID, enough to recognise it.
pub(crate) fn short(text: &str) -> String {
    const HEAD: usize = 14;
    const TAIL: usize = 6;
    match (text.is_ascii(), text.len() > HEAD + TAIL + 1) {
        (true, true) => format!("{}…{}", &text[..HEAD], &text[text.len() - TAIL..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn a_long_text_keeps_its_ends() {
        assert_eq!(short("0x0123456789abcdef0123456789abcdef"), "0x0123456789ab…abcdef");
        assert_eq!(short("0x0123"), "0x0123");
    }
}
