//! What was measured: a number, a panel of numbers, a waveform or a coded level, and the rules that make each plausible.
//!
//! Must not: show a measured value in an error.

use crate::error::ReadingError;
use crate::loinc::{LoincCode, PlausibleRange, Shape};
use crate::unit::Unit;

/// Most components of a panel.
pub const COMPONENTS_MAX: usize = 8;
/// Most samples of a waveform: 10 s at 500 Hz fit, and 22 s at 360 Hz.
pub const SAMPLES_MAX: usize = 8_192;
/// Longest time between two samples, nanoseconds: one minute.
const PERIOD_NS_MAX: u64 = 60_000_000_000;

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// The number, finite.
    pub value: f64,
    /// Its UCUM unit.
    pub unit: Unit,
}

/// One number of a panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Component {
    /// What it is.
    pub code: LoincCode,
    /// The number.
    pub quantity: Quantity,
}

/// A waveform, after FHIR's SampledData: the physical value of a sample is `origin + factor × sample`, in `unit`.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledData {
    /// Physical value of a zero sample, in `unit`.
    pub origin: f64,
    /// Physical value of one step, in `unit`; more than zero.
    pub factor: f64,
    /// Time between two samples, nanoseconds (2,777,778 at 360 Hz); the first sample is at the reading's time.
    pub period_ns: u64,
    /// Smallest sample that the converter can give.
    pub lower: i32,
    /// Largest sample that the converter can give.
    pub upper: i32,
    /// The physical unit.
    pub unit: Unit,
    /// The samples, 1 to [`SAMPLES_MAX`].
    pub samples: Vec<i32>,
}

/// Level of consciousness: the scale of NEWS2 (Royal College of Physicians, 2017), on the wire as SNOMED CT concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acvpu {
    /// Alert.
    Alert,
    /// New confusion.
    Confusion,
    /// Responds to voice.
    Voice,
    /// Responds to pain.
    Pain,
    /// Unresponsive.
    Unresponsive,
}

impl Acvpu {
    /// All levels.
    pub const ALL: &'static [Self] = &[Self::Alert, Self::Confusion, Self::Voice, Self::Pain, Self::Unresponsive];

    /// The SNOMED CT concept id.
    #[must_use]
    pub const fn snomed(self) -> &'static str {
        match self {
            Self::Alert => "248234008",
            Self::Confusion => "130987000",
            Self::Voice => "300202002",
            Self::Pain => "450847001",
            Self::Unresponsive => "422768004",
        }
    }

    /// The level for people.
    #[must_use]
    pub const fn display(self) -> &'static str {
        match self {
            Self::Alert => "Mentally alert",
            Self::Confusion => "Acute confusion",
            Self::Voice => "Responds to voice",
            Self::Pain => "Responds to pain",
            Self::Unresponsive => "Unresponsive",
        }
    }

    /// Finds a level by its SNOMED CT concept id.
    #[must_use]
    pub fn from_snomed(concept: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|level| level.snomed() == concept)
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Quantity(Quantity),
    /// A panel, such as blood pressure.
    Components(Vec<Component>),
    /// A waveform, such as an ECG lead.
    Sampled(SampledData),
    /// A level of consciousness.
    Coded(Acvpu),
}

impl Value {
    /// A number in a unit.
    #[must_use]
    pub const fn quantity(value: f64, unit: Unit) -> Self {
        Self::Quantity(Quantity { value, unit })
    }

    /// Whether the value has the shape, the unit and the range of the code.
    ///
    /// # Errors
    /// [`ReadingError::WrongShape`], [`ReadingError::UnitMismatch`], [`ReadingError::AbsurdValue`], [`ReadingError::TooLarge`].
    pub fn check(&self, code: LoincCode) -> Result<(), ReadingError> {
        match (self, code.shape()) {
            (Self::Quantity(quantity), Shape::Quantity) => check_quantity(code, *quantity),
            (Self::Components(components), Shape::Components { codes, required }) => {
                check_components(code, components, codes, required)
            }
            (Self::Sampled(sampled), Shape::Sampled) => check_sampled(code, sampled),
            (Self::Coded(_), Shape::Coded) => Ok(()),
            (value, shape) => {
                Err(ReadingError::WrongShape { code, found: value.shape_name(), expected: shape_name(shape) })
            }
        }
    }

    const fn shape_name(&self) -> &'static str {
        match self {
            Self::Quantity(_) => QUANTITY,
            Self::Components(_) => COMPONENTS,
            Self::Sampled(_) => SAMPLED,
            Self::Coded(_) => CODED,
        }
    }
}

const QUANTITY: &str = "one number";
const COMPONENTS: &str = "components";
const SAMPLED: &str = "a waveform";
const CODED: &str = "a coded level";

const fn shape_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Quantity => QUANTITY,
        Shape::Components { .. } => COMPONENTS,
        Shape::Sampled => SAMPLED,
        Shape::Coded => CODED,
    }
}

fn range_in(code: LoincCode, unit: Unit) -> Result<&'static PlausibleRange, ReadingError> {
    let found = code.ranges().iter().find(|range| range.unit == unit);
    found.ok_or_else(|| unit_mismatch(code, unit.ucum()))
}

/// The error for a unit that does not belong to a code, known or not.
pub(crate) fn unit_mismatch(code: LoincCode, unit: &str) -> ReadingError {
    let expected: Vec<&str> = code.ranges().iter().map(|range| range.unit.ucum()).collect();
    let unit = unit.chars().take(crate::wire::CODE_BYTES_MAX).collect();
    ReadingError::UnitMismatch { code, unit, expected: expected.join(" or ") }
}

fn absurd(code: LoincCode, problem: &'static str) -> ReadingError {
    ReadingError::AbsurdValue { code, problem }
}

fn check_quantity(code: LoincCode, quantity: Quantity) -> Result<(), ReadingError> {
    let range = range_in(code, quantity.unit)?;
    if !quantity.value.is_finite() {
        return Err(absurd(code, "not a finite number"));
    }
    if quantity.value < range.low || quantity.value > range.high {
        return Err(absurd(code, "outside the plausible range"));
    }
    if range.whole && quantity.value.fract() != 0.0 {
        return Err(absurd(code, "not a whole number"));
    }
    Ok(())
}

fn check_components(
    code: LoincCode,
    components: &[Component],
    codes: &'static [LoincCode],
    required: usize,
) -> Result<(), ReadingError> {
    if components.len() > COMPONENTS_MAX {
        return Err(ReadingError::TooLarge { what: "the panel", actual: components.len(), limit: COMPONENTS_MAX });
    }
    let shape =
        |found| ReadingError::WrongShape { code, found, expected: "each of its parts once, in the order of the table" };
    let mut places = components.iter().map(|component| codes.iter().position(|known| *known == component.code));
    let mut next = 0;
    for place in places.by_ref() {
        let place = place.ok_or_else(|| shape("a part of another panel"))?;
        if place < next {
            return Err(shape("a part twice or out of order"));
        }
        if place > next && next < required {
            return Err(shape("a panel without a required part"));
        }
        next = place + 1;
    }
    if next < required {
        return Err(shape("a panel without a required part"));
    }
    for component in components {
        check_quantity(component.code, component.quantity)?;
    }
    let of = |wanted| components.iter().find(|component| component.code == wanted).map(|found| found.quantity.value);
    match (of(LoincCode::SystolicBloodPressure), of(LoincCode::DiastolicBloodPressure)) {
        (Some(systolic), Some(diastolic)) if diastolic >= systolic => {
            Err(absurd(code, "a diastolic pressure that is not below the systolic one"))
        }
        _ => Ok(()),
    }
}

fn check_sampled(code: LoincCode, sampled: &SampledData) -> Result<(), ReadingError> {
    let range = range_in(code, sampled.unit)?;
    let count = sampled.samples.len();
    if count > SAMPLES_MAX {
        return Err(ReadingError::TooLarge { what: "the waveform", actual: count, limit: SAMPLES_MAX });
    }
    if count == 0 {
        return Err(absurd(code, "a waveform without samples"));
    }
    if !sampled.origin.is_finite() || !sampled.factor.is_finite() || sampled.factor <= 0.0 {
        return Err(absurd(code, "a waveform without a finite origin and a positive factor"));
    }
    if sampled.period_ns == 0 || sampled.period_ns > PERIOD_NS_MAX {
        return Err(absurd(code, "a waveform whose sampling period is zero or over a minute"));
    }
    if sampled.lower >= sampled.upper {
        return Err(absurd(code, "a waveform whose limits are in the wrong order"));
    }
    let plausible = |sample: i32| {
        let physical = sampled.origin + sampled.factor * f64::from(sample);
        physical.is_finite() && physical >= range.low && physical <= range.high
    };
    if sampled.samples.iter().any(|sample| *sample < sampled.lower || *sample > sampled.upper) {
        return Err(absurd(code, "a waveform with a sample outside its own limits"));
    }
    if !sampled.samples.iter().copied().all(plausible) {
        return Err(absurd(code, "a waveform outside the plausible range"));
    }
    Ok(())
}
