//! Who exists: participants and their keys, devices, oracles, detector models. State changes are in [`transition`].

pub mod transition;

use alloc::vec::Vec;
use parity_scale_codec::{Decode, Encode};

use crate::{Categories, ModelId, OracleKey, Principal};

/// Longest public key that the registry stores: an RSA-4096 key in SubjectPublicKeyInfo form fits.
pub const PUBLIC_KEY_BYTES_MAX: usize = 600;
/// Most oracles in the set.
pub const ORACLES_MAX: usize = 16;
/// Most devices of one patient.
pub const DEVICES_PER_OWNER_MAX: u32 = 64;

macro_rules! on_chain {
    ($(#[$meta:meta])* $vis:vis enum $name:ident $body:tt) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "std", serde(rename_all = "kebab-case"))]
        $vis enum $name $body
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident $body:tt) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        $vis struct $name $body
    };
}
pub(crate) use on_chain;

on_chain! {
    /// What a participant says it is. Self-declared: consent, not the role, decides access.
    pub enum Role {
        /// Has devices and grants.
        Patient,
        /// Treats.
        Practitioner,
        /// Pays.
        Insurer,
        /// Studies.
        Researcher,
    }
}
on_chain! {
    /// What a public key is for.
    pub enum KeyUse {
        /// Others wrap keys to it.
        Encryption,
        /// It signs release requests and key directories.
        Signing,
    }
}
on_chain! {
    /// How the key's bytes are read.
    pub enum KeyAlgorithm {
        /// 32 bytes; HPKE base mode, DHKEM(X25519, HKDF-SHA-256), HKDF-SHA-256, ChaCha20-Poly1305 (RFC 9180).
        X25519Hpke,
        /// DER SubjectPublicKeyInfo, 3072 bits or more; RSA-OAEP with SHA-256 (RFC 8017).
        RsaOaepSha256,
        /// 32 bytes; Ed25519 (RFC 8032).
        Ed25519,
        /// DER SubjectPublicKeyInfo, 3072 bits or more; RSA-PSS with SHA-256 (RFC 8017).
        RsaPssSha256,
    }
}
on_chain! {
    /// A participant's public key.
    pub struct PublicKey {
        /// How to read the bytes.
        pub algorithm: KeyAlgorithm,
        /// At most [`PUBLIC_KEY_BYTES_MAX`].
        pub bytes: Vec<u8>,
    }
}
on_chain! {
    /// A registered participant.
    pub struct Participant {
        /// Self-declared.
        pub role: Role,
        /// Block time, Unix milliseconds.
        pub registered_at_ms: u64,
    }
}
on_chain! {
    /// Whether readings of a device are taken.
    pub enum DeviceStatus {
        /// Taken.
        Active,
        /// Taken, stored and marked.
        Quarantined,
        /// Refused, for ever.
        Revoked,
    }
}
on_chain! {
    /// A registered device.
    pub struct Device {
        /// The patient whose readings these are.
        pub owner: Principal,
        /// Ed25519; the device id is its SHA-256.
        pub public_key: [u8; 32],
        /// What the device may send.
        pub categories: Categories,
        /// Whether its readings are taken.
        pub status: DeviceStatus,
        /// Block time, Unix milliseconds.
        pub registered_at_ms: u64,
    }
}
on_chain! {
    /// The oracles whose signatures anchor batches: any `threshold` of `members`.
    pub struct OracleSet {
        /// Grows by one with every change; a batch names the version that signed it.
        pub version: u32,
        /// How many distinct members must sign; from 1 to the number of members.
        pub threshold: u8,
        /// Compressed secp256k1 public keys, at most [`ORACLES_MAX`], none twice.
        pub members: Vec<OracleKey>,
    }
}
on_chain! {
    /// What a detector model judges.
    pub enum DetectorKind {
        /// How often a device sends.
        RequestRate,
        /// Network flows, learned from labelled attacks.
        Traffic,
        /// Network flows, learned from normal ones alone.
        TrafficUnsupervised,
        /// Beats of an electrocardiogram.
        EcgBeats,
        /// Vital signs together.
        VitalSigns,
    }
}
on_chain! {
    /// A detector model that an approver put forward.
    pub struct Model {
        /// What it judges.
        pub kind: DetectorKind,
        /// SHA-256 of the data that it was trained on.
        pub data_hash: [u8; 32],
        /// SHA-256 of its evaluation report.
        pub metrics_hash: [u8; 32],
        /// Who approved it.
        pub approver: Principal,
        /// Block time, Unix milliseconds.
        pub approved_at_ms: u64,
    }
}
on_chain! {
    /// Which model judges now, and which one a roll-back returns to.
    pub struct ActiveModel {
        /// The model in use.
        pub current: ModelId,
        /// The one before it, if any.
        pub previous: Option<ModelId>,
    }
}
on_chain! {
    /// Why the registry refuses.
    pub enum Error {
        /// The caller may not do this.
        NotAuthorised,
        /// No participant, device, model or key of that id.
        NotFound,
        /// It is there already.
        AlreadyExists,
        /// A key that is too long, of the wrong length for its algorithm, or of an algorithm that does not fit its use.
        InvalidKey,
        /// An empty set of categories or an unknown one.
        InvalidCategories,
        /// A threshold of zero or above the number of members, too many members, or one twice.
        InvalidOracleSet,
        /// A revoked device stays revoked.
        DeviceRevoked,
        /// The owner has [`DEVICES_PER_OWNER_MAX`] devices already.
        TooManyDevices,
        /// No proposed admin, or another one.
        NotProposed,
        /// There is no earlier model to return to.
        NothingToRollBack,
        /// A counter would overflow.
        Overflow,
        /// The all-zero id, which means no model.
        InvalidModel,
    }
}
