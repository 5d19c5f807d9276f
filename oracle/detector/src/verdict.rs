//! Findings and the verdict that is sealed with a reading.
//!
//! Guarantees: every number is finite, so a verdict encodes in DAG-CBOR and JSON alike; a verdict always says what was not assessed and
//! why. Must not: be written anywhere unsealed, it tells of a patient's health.

use pulsegate_rules::ModelId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::news2::{News2Score, Parameter};
use crate::request_rate::RateDetail;

/// SHA-256 over what a detector looked at, so that a judgement can be repeated and compared. Hex in every format.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputsDigest(pub [u8; 32]);

impl InputsDigest {
    /// The digest of the parts, each with its length before it (big-endian, 8 bytes).
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let add =
            |hasher: Sha256, part: &&[u8]| hasher.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
        Self(parts.iter().fold(Sha256::new(), add).finalize().into())
    }
}

impl std::fmt::Display for InputsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for InputsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for InputsDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InputsDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse::<ModelId>().map(|id| Self(id.0)).map_err(serde::de::Error::custom)
    }
}

/// What a detector said, or why it said nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assessment<T> {
    /// It judged.
    Assessed(T),
    /// It did not.
    NotAssessed(NotAssessed),
}

impl<T> Assessment<T> {
    /// The finding, if there is one.
    #[must_use]
    pub const fn finding(&self) -> Option<&T> {
        match self {
            Self::Assessed(finding) => Some(finding),
            Self::NotAssessed(_) => None,
        }
    }
}

/// Why there is no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotAssessed {
    /// Too little was seen of the device or patient so far.
    Learning,
    /// The reading was measured offline and came late; live judgement is over.
    Late,
    /// The detector does not judge this kind of measurement.
    NotApplicable,
    /// The state is full and holds no room for another device or patient.
    NoRoom,
    /// The detector failed; the reading is kept all the same.
    Failed,
}

/// What the traffic says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficClass {
    /// As usual.
    Normal,
    /// As of a device that somebody else controls or floods with.
    Compromised,
}

/// What the measurements say of a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhysiologyClass {
    /// Nothing that asks for a clinician.
    Unremarkable,
    /// Somebody should look at the patient.
    Unwell,
}

/// A judgement of traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficFinding {
    /// Which model judged.
    pub model: ModelId,
    /// The class.
    pub class: TrafficClass,
    /// Calibrated probability of the class, 0 to 1; absent when the model gives none, as rules do.
    pub confidence: Option<f64>,
    /// Digest of what was looked at.
    pub inputs: InputsDigest,
    /// The numbers of the request-rate rule, when that was the model.
    pub rate: Option<RateDetail>,
}

/// A judgement of physiology.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhysiologyFinding {
    /// Which model judged.
    pub model: ModelId,
    /// The class.
    pub class: PhysiologyClass,
    /// Calibrated probability of the class, 0 to 1; absent when the model gives none, as rules do.
    pub confidence: Option<f64>,
    /// Digest of what was looked at.
    pub inputs: InputsDigest,
    /// What the model would have needed and did not have, fresh enough.
    pub missing: Vec<Parameter>,
    /// The score, when NEWS2 was the model.
    pub news2: Option<News2Score>,
}

/// Both judgements in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictClass {
    /// Whoever judged found nothing.
    Neither,
    /// The device is suspect; what it measured is kept and marked.
    Compromised,
    /// The patient is unwell.
    Unwell,
    /// The device is suspect and the patient seems unwell.
    Both,
    /// Nobody judged.
    NotAssessed,
}

/// What the detectors said of one reading; sealed with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Both judgements in one word.
    pub class: VerdictClass,
    /// Whether the reading was late: such a verdict raises no live alarm.
    pub late: bool,
    /// The device's traffic.
    pub traffic: Assessment<TrafficFinding>,
    /// The patient's physiology.
    pub physiology: Assessment<PhysiologyFinding>,
}

impl Verdict {
    /// Puts both judgements together. They stay apart inside: being unwell never makes a device suspect, or the other way round.
    #[must_use]
    pub fn combine(late: bool, traffic: Assessment<TrafficFinding>, physiology: Assessment<PhysiologyFinding>) -> Self {
        let compromised = traffic.finding().map(|finding| finding.class == TrafficClass::Compromised);
        let unwell = physiology.finding().map(|finding| finding.class == PhysiologyClass::Unwell);
        let class = match (compromised, unwell) {
            (None, None) => VerdictClass::NotAssessed,
            (Some(true), Some(true)) => VerdictClass::Both,
            (Some(true), _) => VerdictClass::Compromised,
            (_, Some(true)) => VerdictClass::Unwell,
            _ => VerdictClass::Neither,
        };
        Self { class, late, traffic, physiology }
    }

    /// Nobody judged, for this reason.
    #[must_use]
    pub fn not_assessed(late: bool, reason: NotAssessed) -> Self {
        Self::combine(late, Assessment::NotAssessed(reason), Assessment::NotAssessed(reason))
    }

    /// Whether somebody should be alarmed now: the patient is unwell with NEWS2 in the high band (7 or more), and the reading is live.
    /// Such a verdict is anchored at once.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        let score = self.physiology.finding().and_then(|finding| finding.news2.as_ref());
        !self.late && score.is_some_and(|score| score.risk == crate::Risk::High)
    }

    /// The models that judged: that of physiology, then that of traffic.
    pub fn models(&self) -> impl Iterator<Item = ModelId> {
        let physiology = self.physiology.finding().map(|finding| finding.model);
        physiology.into_iter().chain(self.traffic.finding().map(|finding| finding.model))
    }
}
