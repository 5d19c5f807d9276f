//! Identities as newtypes. On chain they are fixed-size bytes; in JSON they are `0x` hex strings or plain numbers.

use parity_scale_codec::{Decode, Encode};

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        pub struct $name(pub [u8; $len]);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = NotHex;

            /// Reads hex of exactly this length, with or without `0x`.
            fn from_str(text: &str) -> Result<Self, NotHex> {
                decode_hex(text).map(Self)
            }
        }

        #[cfg(feature = "std")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
            }
        }

        #[cfg(feature = "std")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    deserializer.deserialize_bytes(BytesVisitor::<$len>).map(Self)
                }
            }
        }
    };
}

/// A text was not hex of the expected length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHex {
    /// Number of bytes that the hex should give.
    pub expected_bytes: usize,
}

impl core::fmt::Display for NotHex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "expected {} bytes as hex digits", self.expected_bytes)
    }
}

impl core::error::Error for NotHex {}

fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    let wrong = NotHex { expected_bytes: N };
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let mut bytes = [0u8; N];
    if digits.len() != N.saturating_mul(2) {
        return Err(wrong);
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = core::str::from_utf8(pair).map_err(|_| wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
    }
    Ok(bytes)
}

#[cfg(feature = "std")]
struct BytesVisitor<const N: usize>;

#[cfg(feature = "std")]
impl<const N: usize> serde::de::Visitor<'_> for BytesVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

bytes_id!(
    /// A person, an organisation or a service: a 32-byte `AccountId`. An Ethereum wallet is its 20-byte address followed by
    /// twelve `0xEE` bytes, the mapping of pallet-revive.
    Principal,
    32
);
bytes_id!(
    /// A device: the SHA-256 of its 32-byte Ed25519 public key, so the id proves which key belongs to it.
    DeviceId,
    32
);
bytes_id!(
    /// An oracle's compressed secp256k1 public key (SEC 1).
    OracleKey,
    33
);
bytes_id!(
    /// A detector model: the SHA-256 of its weights file. All zero means "no model".
    ModelId,
    32
);
bytes_id!(
    /// One patient × one category; see [`StreamId::of`].
    StreamId,
    32
);
bytes_id!(
    /// A binary CIDv1 over SHA-256: version, codec, `0x12`, `0x20`, 32 digest bytes.
    CidBytes,
    36
);

impl Principal {
    /// The principal of an Ethereum address: the 20 bytes, then twelve `0xEE`.
    #[must_use]
    pub fn of_ethereum_address(address: &[u8; 20]) -> Self {
        let mut bytes = [0xEE; 32];
        bytes[..20].copy_from_slice(address);
        Self(bytes)
    }
}

impl DeviceId {
    /// The id of the device that signs with this Ed25519 public key.
    #[must_use]
    pub fn of_public_key(public_key: &[u8; 32]) -> Self {
        Self(crate::hash::sha256(&[public_key]))
    }
}

impl StreamId {
    /// SHA-256 of `"pulsegate/stream/v1"`, the patient's 32 bytes and the category's code byte.
    #[must_use]
    pub fn of(patient: &Principal, category: crate::Category) -> Self {
        Self(crate::hash::sha256(&[b"pulsegate/stream/v1", &patient.0, &[category as u8]]))
    }
}

impl CidBytes {
    /// Whether the bytes have the form of a CIDv1 with a one-byte codec over SHA-256. Contracts refuse others.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        self.0[0] == 1 && self.0[1] < 0x80 && self.0[2] == 0x12 && self.0[3] == 0x20
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        #[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
        #[cfg_attr(all(feature = "ink", feature = "std"), derive(ink::storage::traits::StorageLayout))]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "std", serde(transparent))]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number_id!(
    /// A grant's number in the consent contract, from 1.
    GrantId,
    u64
);
number_id!(
    /// Which key tree of a patient: bumped by every rotation, from 0. One number for all the patient's streams.
    Generation,
    u32
);
number_id!(
    /// A slice of time of [`EPOCH_SECONDS`]: Unix seconds divided by it, rounded down.
    Epoch,
    u32
);

/// The length of an epoch: one hour, the smallest time that a grant can cover.
pub const EPOCH_SECONDS: u64 = 3_600;
/// How many epochs there are: the leaves of a key tree of depth 24, some 1,900 years from 1970. A grant ends at the last at the latest.
pub const EPOCHS_MAX: u64 = 1 << 24;

impl Epoch {
    /// The epoch that holds a moment; `None` past the last representable epoch.
    #[must_use]
    pub fn at(unix_s: u64) -> Option<Self> {
        u32::try_from(unix_s / EPOCH_SECONDS).ok().map(Self)
    }

    /// The first second of the epoch, in Unix seconds.
    #[must_use]
    pub fn start_s(self) -> u64 {
        u64::from(self.0).saturating_mul(EPOCH_SECONDS)
    }
}
