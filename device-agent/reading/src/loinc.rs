//! The table of what Pulsegate carries: LOINC code, name, category, shape of the value, UCUM units, plausible range.
//!
//! Codes of vital signs are those of the FHIR R4 vital-signs profile. A range is what a living body and its sensor can show, wider than
//! what is healthy: it stops sensor faults (heart rate 0 or 300, −17.8 °C), never illness. Must not: judge, which is the detectors' part.

use pulsegate_rules::Category;

use crate::error::ReadingError;
use crate::unit::Unit;

/// What kind of value a code takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One number with a unit.
    Quantity,
    /// A panel: several numbers, each with its own code out of this list; the first `required` of them must be there.
    Components {
        /// Codes that may occur.
        codes: &'static [LoincCode],
        /// How many, from the start of the list, must occur.
        required: usize,
    },
    /// A waveform.
    Sampled,
    /// One of the five levels of [`crate::Acvpu`].
    Coded,
}

/// What a code can be in one of its units: both ends are still plausible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlausibleRange {
    /// The unit.
    pub unit: Unit,
    /// Smallest plausible value.
    pub low: f64,
    /// Largest plausible value.
    pub high: f64,
    /// Whether only whole numbers occur.
    pub whole: bool,
}

const fn range(unit: Unit, low: f64, high: f64) -> PlausibleRange {
    PlausibleRange { unit, low, high, whole: false }
}

const fn whole(unit: Unit, low: f64, high: f64) -> PlausibleRange {
    PlausibleRange { unit, low, high, whole: true }
}

struct Entry {
    loinc: &'static str,
    display: &'static str,
    category: Category,
    shape: Shape,
    ranges: &'static [PlausibleRange],
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $loinc:literal, $display:literal, $category:ident, $shape:expr, $ranges:expr;)+) => {
        /// What was measured: a code of the LOINC table that Pulsegate carries. A code outside the table cannot be represented.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LoincCode { $($(#[$doc])* $name),+ }

        impl LoincCode {
            /// All codes of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$name => {
                        const ENTRY: Entry =
                            Entry { loinc: $loinc, display: $display, category: Category::$category, shape: $shape, ranges: $ranges };
                        &ENTRY
                    })+
                }
            }
        }
    };
}

table! {
    /// Heart rate.
    HeartRate = "8867-4", "Heart rate", VitalSigns, Shape::Quantity, &[range(Unit::PerMinute, 10.0, 290.0)];
    /// Respiratory rate.
    RespiratoryRate = "9279-1", "Respiratory rate", VitalSigns, Shape::Quantity, &[range(Unit::PerMinute, 1.0, 120.0)];
    /// Oxygen saturation by pulse oximetry.
    OxygenSaturation = "59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", VitalSigns, Shape::Quantity,
        &[range(Unit::Percent, 20.0, 100.0)];
    /// Body temperature.
    BodyTemperature = "8310-5", "Body temperature", VitalSigns, Shape::Quantity, &[range(Unit::Celsius, 20.0, 46.0)];
    /// Blood pressure panel: systolic and diastolic, the mean if the device gives it.
    BloodPressure = "85354-9", "Blood pressure panel with all children optional", VitalSigns,
        Shape::Components {
            codes: &[LoincCode::SystolicBloodPressure, LoincCode::DiastolicBloodPressure, LoincCode::MeanBloodPressure],
            required: 2,
        },
        &[];
    /// Systolic blood pressure.
    SystolicBloodPressure = "8480-6", "Systolic blood pressure", VitalSigns, Shape::Quantity,
        &[range(Unit::MillimetreOfMercury, 20.0, 320.0)];
    /// Diastolic blood pressure.
    DiastolicBloodPressure = "8462-4", "Diastolic blood pressure", VitalSigns, Shape::Quantity,
        &[range(Unit::MillimetreOfMercury, 5.0, 220.0)];
    /// Mean blood pressure.
    MeanBloodPressure = "8478-0", "Mean blood pressure", VitalSigns, Shape::Quantity,
        &[range(Unit::MillimetreOfMercury, 10.0, 260.0)];
    /// Glasgow coma score, total of the three parts.
    GlasgowComaScore = "9269-2", "Glasgow coma score total", VitalSigns, Shape::Quantity, &[whole(Unit::Score, 3.0, 15.0)];
    /// Level of consciousness on the ACVPU scale.
    Consciousness = "80288-4", "Level of consciousness", VitalSigns, Shape::Coded, &[];
    /// Inhaled oxygen concentration; 21 % is room air.
    InhaledOxygenConcentration = "3150-6", "Inhaled oxygen concentration", VitalSigns, Shape::Quantity,
        &[range(Unit::Percent, 20.0, 100.0)];
    /// Inhaled oxygen flow rate; 0 is room air.
    InhaledOxygenFlow = "3151-8", "Inhaled oxygen flow rate", VitalSigns, Shape::Quantity, &[range(Unit::LitrePerMinute, 0.0, 100.0)];
    /// Body weight.
    BodyWeight = "29463-7", "Body weight", VitalSigns, Shape::Quantity, &[range(Unit::Kilogram, 0.2, 650.0)];
    /// One lead of an electrocardiogram, lead II; in FHIR the lead is named by the second coding, ISO/IEEE 11073-10101 code 131330.
    EcgLeadTwo = "11524-6", "EKG study", Ecg, Shape::Sampled, &[range(Unit::Millivolt, -20.0, 20.0)];
    /// Steps counted by a pedometer since its last reading.
    Steps = "55423-8", "Number of steps in unspecified time Pedometer", Activity, Shape::Quantity, &[whole(Unit::Steps, 0.0, 200_000.0)];
    /// Glucose in blood, amount of substance.
    GlucoseMolar = "15074-8", "Glucose [Moles/volume] in Blood", Laboratory, Shape::Quantity,
        &[range(Unit::MillimolePerLitre, 0.3, 111.0)];
    /// Glucose in blood, mass.
    GlucoseMass = "2339-0", "Glucose [Mass/volume] in Blood", Laboratory, Shape::Quantity,
        &[range(Unit::MilligramPerDecilitre, 5.0, 2_000.0)];
}

impl LoincCode {
    /// The LOINC code, as it is on the wire and in FHIR.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.entry().loinc
    }

    /// LOINC's name of the code.
    #[must_use]
    pub const fn display(self) -> &'static str {
        self.entry().display
    }

    /// The category, which decides the stream.
    #[must_use]
    pub const fn category(self) -> Category {
        self.entry().category
    }

    /// What kind of value the code takes.
    #[must_use]
    pub const fn shape(self) -> Shape {
        self.entry().shape
    }

    /// The units that the code takes, each with what is plausible in it. Empty for panels and coded answers.
    #[must_use]
    pub const fn ranges(self) -> &'static [PlausibleRange] {
        self.entry().ranges
    }

    /// Finds a code of the table.
    ///
    /// # Errors
    /// [`ReadingError::UnknownLoinc`].
    pub fn parse(code: &str) -> Result<Self, ReadingError> {
        let known = Self::ALL.iter().copied().find(|entry| entry.as_str() == code);
        known.ok_or_else(|| ReadingError::UnknownLoinc {
            code: code.chars().take(crate::wire::CODE_BYTES_MAX).collect(),
        })
    }
}

impl std::fmt::Display for LoincCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for LoincCode {
    type Err = ReadingError;

    fn from_str(code: &str) -> Result<Self, ReadingError> {
        Self::parse(code)
    }
}

impl serde::Serialize for LoincCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for LoincCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
