//! Tests of the built `pulsegate`, as people and scripts run it.

mod demo;
mod embedded;
mod support;
mod usage;
