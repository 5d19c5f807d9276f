//! End-to-end scenarios: the `pulsegate` program, the oracle as a process, chain and block store embedded or real.
//!
//! Each scenario makes its own installation in its own folder on its own ports, so they run side by side and in any order.
#![expect(clippy::print_stdout, reason = "scenarios say at what point they cut the power")]

mod agent;
mod attackers;
mod crash;
mod demo;
mod documents;
mod scripts;
mod story;
