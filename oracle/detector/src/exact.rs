//! Single-precision numbers in a model file's settings, written as the double-precision numbers that they are.
//!
//! Where any crate of a program turns on serde_json's arbitrary precision, a single is kept by its shortest text, and elsewhere by its value:
//! the same weights would get another id in another program. Guarantees: what is read back is what was written.

use serde::{Serialize, Serializer};

/// One number or several.
pub(crate) trait Singles {
    /// The same in double precision.
    type Doubles: Serialize;
    /// In double precision, without loss.
    fn doubles(&self) -> Self::Doubles;
}

impl Singles for f32 {
    type Doubles = f64;
    fn doubles(&self) -> f64 {
        f64::from(*self)
    }
}

impl Singles for Option<f32> {
    type Doubles = Option<f64>;
    fn doubles(&self) -> Option<f64> {
        self.map(f64::from)
    }
}

impl Singles for Vec<f32> {
    type Doubles = Vec<f64>;
    fn doubles(&self) -> Vec<f64> {
        self.iter().copied().map(f64::from).collect()
    }
}

impl<const N: usize> Singles for [f32; N] {
    type Doubles = Vec<f64>;
    fn doubles(&self) -> Vec<f64> {
        self.iter().copied().map(f64::from).collect()
    }
}

/// For `#[serde(serialize_with = …)]`.
pub(crate) fn serialize<T: Singles, S: Serializer>(singles: &T, serializer: S) -> Result<S::Ok, S::Error> {
    singles.doubles().serialize(serializer)
}
