//! Traffic as flows: what a connection looks like to a sensor, and nothing of what was said in it.
//!
//! [`Flow`] is the one form that every source is brought into: Zeek's `conn.log`, the oracle's own listener and the public data sets;
//! [`serving`] makes features of it, in training and live alike, and [`zeek`] reads it from a sensor's log. Must not: hold an address, a port, a name or a payload; those identify
//! people and let a model learn the testbed by heart.

pub mod autoencoder_bilstm;
mod class_weights;
pub mod detector;
pub mod encoding;
mod first_layer;
mod flow;
pub mod full_columns;
mod full_columns_text;
pub mod inference;
pub mod model;
pub mod protocol;
pub mod recipes;
pub mod serving;
mod serving_boosting;
pub mod serving_model;
pub mod serving_report;
pub mod sets;
pub mod training;
pub mod zeek;
mod zeek_error;
mod zeek_record;

pub use flow::{
    ConnectionState, FLOW_BYTES_MAX, FLOW_DURATION_MAX_MS, FLOW_PACKETS_MAX, FLOW_STARTED_MAX_MS, Flow, FlowError,
    Protocol, Service,
};
