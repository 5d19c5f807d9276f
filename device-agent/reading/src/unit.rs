//! The UCUM units that readings carry (The Unified Code for Units of Measure, case-sensitive codes).

/// A unit of measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Per minute: heart rate, respiratory rate.
    PerMinute,
    /// Per cent.
    Percent,
    /// Degree Celsius.
    Celsius,
    /// Millimetre of mercury.
    MillimetreOfMercury,
    /// Points of a score.
    Score,
    /// Litres per minute.
    LitrePerMinute,
    /// Millivolt.
    Millivolt,
    /// Millimoles per litre.
    MillimolePerLitre,
    /// Milligrams per decilitre.
    MilligramPerDecilitre,
    /// Kilogram.
    Kilogram,
    /// Steps (an annotated count).
    Steps,
}

impl Unit {
    /// All units.
    pub const ALL: &'static [Self] = &[
        Self::PerMinute,
        Self::Percent,
        Self::Celsius,
        Self::MillimetreOfMercury,
        Self::Score,
        Self::LitrePerMinute,
        Self::Millivolt,
        Self::MillimolePerLitre,
        Self::MilligramPerDecilitre,
        Self::Kilogram,
        Self::Steps,
    ];

    /// The UCUM code, as it is on the wire and in FHIR.
    #[must_use]
    pub const fn ucum(self) -> &'static str {
        match self {
            Self::PerMinute => "/min",
            Self::Percent => "%",
            Self::Celsius => "Cel",
            Self::MillimetreOfMercury => "mm[Hg]",
            Self::Score => "{score}",
            Self::LitrePerMinute => "L/min",
            Self::Millivolt => "mV",
            Self::MillimolePerLitre => "mmol/L",
            Self::MilligramPerDecilitre => "mg/dL",
            Self::Kilogram => "kg",
            Self::Steps => "{steps}",
        }
    }

    /// The unit for people (`Quantity.unit` of FHIR).
    #[must_use]
    pub const fn display(self) -> &'static str {
        match self {
            Self::PerMinute => "per minute",
            Self::Celsius => "°C",
            Self::MillimetreOfMercury => "mmHg",
            Self::Score => "points",
            Self::Steps => "steps",
            other => other.ucum(),
        }
    }

    /// Finds a unit by its UCUM code.
    #[must_use]
    pub fn from_ucum(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|unit| unit.ucum() == code)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.ucum())
    }
}

impl serde::Serialize for Unit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.ucum())
    }
}

impl<'de> serde::Deserialize<'de> for Unit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_ucum(&text).ok_or_else(|| serde::de::Error::custom("not a UCUM unit that Pulsegate carries"))
    }
}
