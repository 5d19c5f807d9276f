//! The field's code lists as small enums and bit sets: FHIR-aligned categories of data, HL7 v3 purposes of use.

use parity_scale_codec::{Decode, Encode};

macro_rules! code_list {
    ($(#[$doc:meta])* $name:ident, $(#[$set_doc:meta])* $set:ident($bits:ty) { $($(#[$variant_doc:meta])* $variant:ident = $code:literal => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* #[codec(index = $code)] #[cfg_attr(feature = "std", serde(rename = $text))] $variant = $code),+
        }

        impl $name {
            /// All of the list, in code order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The standard's own text for the code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Finds the code by its text.
            #[must_use]
            pub fn from_code(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|entry| entry.code() == text)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.code())
            }
        }

        $(#[$set_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "std", serde(transparent))]
        pub struct $set(pub $bits);

        impl $set {
            /// The set of every known code.
            pub const ALL: Self = Self(0 $(| (1 << $code))+);

            /// The set of these codes.
            #[must_use]
            pub fn of(entries: &[$name]) -> Self {
                Self(entries.iter().fold(0, |bits, entry| bits | (1 << (*entry as u8))))
            }

            /// Whether the code is in the set.
            #[must_use]
            pub const fn contains(self, entry: $name) -> bool {
                self.0 & (1 << (entry as u8)) != 0
            }

            /// Whether the set is not empty and holds only known codes. Contracts refuse others.
            #[must_use]
            pub const fn is_valid(self) -> bool {
                self.0 != 0 && self.0 & !Self::ALL.0 == 0
            }

            /// The codes in the set, in code order.
            pub fn iter(self) -> impl Iterator<Item = $name> {
                $name::ALL.iter().copied().filter(move |entry| self.contains(*entry))
            }
        }

        impl core::fmt::Display for $set {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                for (position, entry) in self.iter().enumerate() {
                    if position > 0 { f.write_str(", ")?; }
                    f.write_str(entry.code())?;
                }
                Ok(())
            }
        }

        impl core::fmt::Debug for $set {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{{{self}}}")
            }
        }
    };
}

code_list!(
    /// What kind of data a stream carries: FHIR observation categories where one exists.
    Category,
    /// A set of categories, one bit per code.
    Categories(u16) {
        /// Pulse, blood pressure, temperature, breathing, oxygen saturation.
        VitalSigns = 0 => "vital-signs",
        /// Electrocardiogram waveforms.
        Ecg = 1 => "ecg",
        /// Steps, posture, exercise.
        Activity = 2 => "activity",
        /// Laboratory results, glucose meters among them.
        Laboratory = 3 => "laboratory",
        /// Medication intake and infusion.
        Medication = 4 => "medication",
    }
);

code_list!(
    /// Why somebody reads: HL7 v3 `PurposeOfUse` (code system `ActReason`).
    Purpose,
    /// A set of purposes of use, one bit per code.
    Purposes(u16) {
        /// Treatment.
        Treatment = 0 => "TREAT",
        /// Emergency treatment.
        EmergencyTreatment = 1 => "ETREAT",
        /// Healthcare payment.
        Payment = 2 => "HPAYMT",
        /// Healthcare research.
        Research = 3 => "HRESCH",
        /// Healthcare operations.
        Operations = 4 => "HOPERAT",
        /// Public health.
        PublicHealth = 5 => "PUBHLTH",
        /// At the patient's own request.
        PatientRequest = 6 => "PATRQT",
    }
);
