//! What the end-to-end scenarios share: a whole Pulsegate in a folder, real parts as processes, people at terminals, devices,
//! waiting for an outcome, seeds.
//!
//! Guarantees that every process it starts is ended by its own id when its handle goes, and that a scenario which could not run says so.
//! Must not contain anything that a product crate should: a scenario uses the same programs and ports as a user.
#![expect(clippy::print_stdout, reason = "scenarios tell the test runner what they did")]

pub mod anchored;
pub mod device;
pub mod eventually;
pub mod installation;
pub mod parts;
pub mod person;
pub mod process;
pub mod reader;
pub mod seed;
