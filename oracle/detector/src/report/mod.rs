//! The report of an evaluation and the card of a model: Markdown, SVG plots, and figures for programs.
//!
//! Guarantees: every number in a report comes from the evaluation at hand. Must not: write anything but figures of whole groups of rows,
//! except the export that the boosting baseline needs, which is removed with the report's folder.

mod section;

pub use section::{Axis, Plot, Section, Series};
