//! Findings and the verdict that is sealed with a reading.
//!
//! Several detectors judge each side, rules and learned models beside each other, and every one of them is kept with its own finding: the
//! word for the whole is the worst that anybody said, so no model can talk another one's alarm away, least of all the request-rate rule's.
//!
//! Guarantees: every number is finite, so a verdict encodes in DAG-CBOR and JSON alike; a verdict always says which detector did not
//! judge, by which model, and why; only detectors that do not look at this kind of measurement at all are left out.
//! Must not: be written anywhere unsealed, it tells of a patient's health.

use std::borrow::Cow;
use std::marker::PhantomData;

use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::news2::{News2, News2Score};
use crate::request_rate::{RateDetail, RequestRate};
use crate::seam::{PhysiologyDetector, TrafficDetector};

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
    /// No exchange of the device has ended since its last reading, so its traffic says nothing new.
    NoFlow,
    /// The state is full and holds no room for another device or patient.
    NoRoom,
    /// The detector failed; the reading is kept all the same.
    Failed,
    /// The chain names a model that this oracle does not have, or that cannot be loaded; the reading is kept all the same.
    Unavailable,
}

/// What one detector said: which, by which model, and its finding or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged<T> {
    /// What the detector judges. The rules beside the learned models have kinds too: the request rate its own, NEWS2 that of vital signs.
    pub detector: DetectorKind,
    /// The model that judged, or should have.
    pub model: ModelId,
    /// What it said.
    pub assessment: Assessment<T>,
}

/// How many beats of each AAMI class (ANSI/AAMI EC57) a waveform held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeatCounts {
    /// N: normal and bundle branch block.
    pub normal: u32,
    /// S: supraventricular ectopic.
    pub supraventricular: u32,
    /// V: ventricular ectopic.
    pub ventricular: u32,
    /// F: fusion of normal and ventricular.
    pub fusion: u32,
    /// Q: paced, fusion of paced and normal, not classifiable.
    pub unknown: u32,
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
    /// The model's own name of what it saw, such as a kind of attack, when it tells more than the class.
    #[serde(default)]
    pub label: Option<String>,
    /// Digest of what was looked at.
    pub inputs: InputsDigest,
    /// What the model would have liked to know and did not, by the names of its inputs.
    #[serde(default)]
    pub missing: Vec<Cow<'static, str>>,
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
    /// The model's own name of what it saw, when it tells more than the class.
    #[serde(default)]
    pub label: Option<String>,
    /// Digest of what was looked at.
    pub inputs: InputsDigest,
    /// What the model would have needed and did not have, fresh enough, by the names of its inputs.
    pub missing: Vec<Cow<'static, str>>,
    /// The score, when NEWS2 was the model.
    pub news2: Option<News2Score>,
    /// The beats by class, when the model reads an electrocardiogram.
    #[serde(default)]
    pub beats: Option<BeatCounts>,
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
    /// Both sides in one word: the worst that anybody said of each.
    pub class: VerdictClass,
    /// Whether the reading was late: such a verdict raises no live alarm.
    pub late: bool,
    /// What each detector said of the device's traffic; the request-rate rule first.
    #[serde(deserialize_with = "traffic_of_any_version")]
    pub traffic: Vec<Judged<TrafficFinding>>,
    /// What each detector said of the patient's physiology; NEWS2 first.
    #[serde(deserialize_with = "physiology_of_any_version")]
    pub physiology: Vec<Judged<PhysiologyFinding>>,
}

impl Verdict {
    /// Puts all judgements together. Both sides stay apart inside: being unwell never makes a device suspect, or the other way round.
    /// A side has the worst class that any of its detectors gave: one alarm is an alarm, whatever the others say.
    #[must_use]
    pub fn combine(
        late: bool,
        traffic: Vec<Judged<TrafficFinding>>,
        physiology: Vec<Judged<PhysiologyFinding>>,
    ) -> Self {
        let compromised = any(&traffic, |finding| finding.class == TrafficClass::Compromised);
        let unwell = any(&physiology, |finding| finding.class == PhysiologyClass::Unwell);
        let class = match (compromised, unwell) {
            (None, None) => VerdictClass::NotAssessed,
            (Some(true), Some(true)) => VerdictClass::Both,
            (Some(true), _) => VerdictClass::Compromised,
            (_, Some(true)) => VerdictClass::Unwell,
            _ => VerdictClass::Neither,
        };
        Self { class, late, traffic, physiology }
    }

    /// The NEWS2 score, if that rule judged.
    #[must_use]
    pub fn news2(&self) -> Option<&News2Score> {
        self.physiology.iter().find_map(|judged| judged.assessment.finding()?.news2.as_ref())
    }

    /// Whether somebody should be alarmed now: the patient is unwell with NEWS2 in the high band (7 or more), and the reading is live.
    /// Such a verdict is anchored at once. A learned model alone does not make a verdict critical.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        !self.late && self.news2().is_some_and(|score| score.risk == crate::Risk::High)
    }

    /// The models that judged or should have, with what they judge: those of physiology, then those of traffic.
    pub fn models(&self) -> impl Iterator<Item = (DetectorKind, ModelId)> {
        let physiology = self.physiology.iter().map(|judged| (judged.detector, judged.model));
        physiology.chain(self.traffic.iter().map(|judged| (judged.detector, judged.model)))
    }
}

/// Whether any finding is of a kind; `None` when there is no finding.
fn any<T>(judged: &[Judged<T>], is: impl Fn(&T) -> bool) -> Option<bool> {
    judged.iter().filter_map(|judged| judged.assessment.finding()).map(is).reduce(|one, other| one || other)
}

/// Reads a side of a verdict as any version wrote it: the first version knew one detector a side, and no list.
struct Side<T> {
    detector: DetectorKind,
    model: ModelId,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Side<T> {
    type Value = Vec<Judged<T>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of judgements, or one assessment")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut judged = Vec::new();
        while let Some(next) = list.next_element()? {
            judged.push(next);
        }
        Ok(judged)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let assessment = Assessment::deserialize(MapAccessDeserializer::new(map))?;
        Ok(vec![Judged { detector: self.detector, model: self.model, assessment }])
    }
}

fn traffic_of_any_version<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Judged<TrafficFinding>>, D::Error> {
    let (detector, model) = (DetectorKind::RequestRate, RequestRate::new(1).model());
    from.deserialize_any(Side { detector, model, of: PhantomData })
}

fn physiology_of_any_version<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Judged<PhysiologyFinding>>, D::Error> {
    let (detector, model) = (DetectorKind::VitalSigns, News2::default().model());
    from.deserialize_any(Side { detector, model, of: PhantomData })
}
