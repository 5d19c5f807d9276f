//! The four public sets as labelled flows, with the columns that each set has of its own.
//!
//! Guarantees: class 0 is benign; a set without an order in time gives every flow a window of its own. Must not: add or change a value.

use std::path::Path;

use super::encoding::Column;
use super::training::LabelledFlows;
use crate::catalogue::TrainError;
use crate::data::traffic_set::{FeatureKind, Order, TrafficSet};
use crate::data::{cicids2017, nsl_kdd, unsw_nb15, wustl_ehms};

/// A public traffic set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// WUSTL-EHMS-2020.
    WustlEhms,
    /// CICIDS-2017, relabelled, the two port scans as one class.
    Cicids2017,
    /// UNSW-NB15.
    UnswNb15,
    /// NSL-KDD, a part of it.
    NslKdd(nsl_kdd::Part),
}

impl Set {
    /// The set's name as folders spell it.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::WustlEhms => "wustl_ehms_2020",
            Self::Cicids2017 => "cicids2017_improved",
            Self::UnswNb15 => "unsw_nb15_82k",
            Self::NslKdd(_) => "nsl_kdd",
        }
    }

    /// Reads the set as it is.
    ///
    /// # Errors
    /// [`TrainError`] names the file and what is wrong with it.
    pub fn read(self, path: &Path) -> Result<TrafficSet, TrainError> {
        Ok(match self {
            Self::WustlEhms => wustl_ehms::load(path, wustl_ehms::Options::default())?,
            Self::Cicids2017 => {
                cicids2017::load(path, cicids2017::Options { merge_port_scans: true, ..Default::default() })?
            }
            Self::UnswNb15 => unsw_nb15::load(path, unsw_nb15::Options::default())?,
            Self::NslKdd(part) => nsl_kdd::load(path, part)?,
        })
    }

    /// Reads the set as labelled flows with its own columns.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn flows(self, path: &Path) -> Result<LabelledFlows, TrainError> {
        Ok(labelled(&self.read(path)?))
    }
}

/// A set with its own columns as labelled flows.
#[must_use]
pub fn labelled(set: &TrafficSet) -> LabelledFlows {
    let kind = |kind: FeatureKind| match kind {
        FeatureKind::Numeric => Column::Number,
        FeatureKind::Categorical { codes } => Column::Codes(codes),
    };
    let rows = set.len();
    LabelledFlows {
        names: set.columns.iter().map(|column| column.name.clone()).collect(),
        columns: set.columns.iter().map(|column| kind(column.kind)).collect(),
        features: set.features.clone(),
        classes: set.classes.clone(),
        truth: set.truth.clone(),
        group: set.groups.clone(),
        sequence: if set.order == Order::Capture { vec![0; rows] } else { (0..rows).collect() },
        importance: vec![1.0; rows],
        sources: vec![set.source.clone()],
    }
}
