//! Tests of the built `pulsegate`, as people and scripts run it.

#[cfg(test)]
mod demo;
#[cfg(test)]
mod embedded;
mod models;
#[cfg(test)]
mod support;
#[cfg(test)]
mod usage;
