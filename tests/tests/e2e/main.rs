//! End-to-end scenarios: the `pulsegate` program, the oracle as a process, chain and block store embedded or real.
//!
//! Each scenario makes its own installation in its own folder on its own ports, so they run side by side and in any order.

mod attackers;
mod crash;
mod demo;
mod documents;
mod scripts;
mod story;
