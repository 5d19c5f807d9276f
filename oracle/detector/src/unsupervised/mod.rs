//! Traffic without labels: an ensemble of autoencoders, taught on benign flows alone, so that an attack nobody labelled still shows.
//!
//! The design follows KitNET (Mirsky, Doitshman, Elovici, Shabtai, "Kitsune: An Ensemble of Autoencoders for Online Network Intrusion
//! Detection", NDSS 2018), written from the paper: features that move together go to one small autoencoder each, taught one row at a time.
//! Beside them a codebook of benign kinds of flow reads the whole row. Guarantees: taught on benign rows alone; committed weights never
//! change while they serve, what a device adds is its own, bounded and frozen after a grace ([`GRACE_FLOWS`]); judging allocates nothing. Must not:
//! see labels of the rows that it judges, or override another detector.

mod autoencoder;
mod card;
mod clusters;
mod codebook;
mod detector;
mod ensemble;
mod model;
mod nearest;
mod own;
mod placing;
mod rows;
mod scale;
mod study;
mod tail;
mod together;
mod train;
mod weights;

pub(crate) use model::{Judgement, Model};
pub(crate) use own::Own;
pub(crate) use together::{TOGETHER_MAX, Work};

pub use detector::{DEVICE_STATE_BYTES, UNSUPERVISED_DEVICES_MAX, UnsupervisedTraffic};
pub use model::ALARM_SHARE;
pub use own::{BURST_SHARE, CEILING_SHARE, GRACE_FLOWS, GRACE_MS, OWN_MAX, OWN_RADIUS, RECENT, WINS_MIN};
pub use tail::ATTACK_SHAPE;
pub use train::Unsupervised;
pub use weights::NAME;
