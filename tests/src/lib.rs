//! What the end-to-end scenarios share: real parts as processes, waiting for an outcome, seeds, and the `pulsegate` program itself.
//!
//! Guarantees that every process it starts is ended by its own id when its handle goes, and that a scenario which could not run says so.
//! Must not contain anything that a product crate should: a scenario uses the same programs and ports as a user.
#![expect(clippy::print_stdout, reason = "scenarios tell the test runner what they did")]

pub mod eventually;
pub mod parts;
pub mod process;
pub mod seed;
