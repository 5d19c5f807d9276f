//! What detectors say of a device's traffic and of a patient's physiology, and how the two are put together.
//!
//! [`TrafficDetector`] and [`PhysiologyDetector`] are the seam: rules stand behind it, and learned models fit the same shape (state per
//! device or patient, model id, class, calibrated confidence, digest of the inputs, what was missing). Guarantees: unwell is not
//! compromised, the two findings are never mixed; a detector that fails leaves "not assessed" and never costs a reading; a late reading
//! (measured offline, sent afterwards) changes no live state and raises no live alarm; state is bounded and one device's state never
//! touches another's. Must not: read a clock, drop a reading, or log what was measured.

mod bounded;
pub mod catalogue;
pub mod command;
pub mod data;
pub mod ecg;
mod error;
mod exact;
pub mod explain;
pub mod measure;
pub mod model_file;
pub mod models;
mod news2;
pub mod nn;
pub mod progress;
pub mod report;
mod request_rate;
pub mod runtime;
mod seam;
pub mod timing;
pub mod traffic;
pub mod unsupervised;
mod verdict;
pub mod vitals;

pub use error::DetectorError;
pub use news2::chart;
pub use news2::{FRESHNESS_MS, NEWS2_PATIENTS_MAX, News2, News2Score, Parameter, ParameterScore, Risk, SpO2Scale};
pub use request_rate::{RATE_DEVICES_MAX, RATE_PERCENT_MIN, RATE_WINDOW, RateDetail, RequestRate};
pub use seam::{Arrival, LATE_AFTER_MS, Measured, PhysiologyDetector, TrafficDetector};
pub use verdict::{
    Assessment, BeatCounts, InputsDigest, Judged, NotAssessed, PhysiologyClass, PhysiologyFinding, TrafficClass,
    TrafficFinding, Verdict, VerdictClass,
};
