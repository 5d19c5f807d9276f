//! How the contracts' errors read off chain: a stable code, and a sentence that says what to do next.

/// Gives an on-chain error enum its `code`, its `Display` and `core::error::Error`; every variant must be listed.
macro_rules! explained {
    ($name:ty { $($variant:ident => $code:literal, $text:literal);+ $(;)? }) => {
        impl $name {
            /// All variants, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name of the error, for programs.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }

        impl core::error::Error for $name {}
    };
}

explained!(crate::registry::Error {
    NotAuthorised => "REGISTRY_NOT_AUTHORISED", "the registry does not let this account do that; use the account of the admin, of the device's owner, or register first";
    NotFound => "REGISTRY_NOT_FOUND", "the registry has no device or model of that id; check the id, and register it first";
    AlreadyExists => "REGISTRY_ALREADY_EXISTS", "the registry holds this already; nothing needs to be done, or choose another id";
    InvalidKey => "REGISTRY_INVALID_KEY", "the public key does not fit its algorithm or its use; give X25519 or Ed25519 keys as 32 bytes, RSA keys as SubjectPublicKeyInfo of 3072 bits or more";
    InvalidCategories => "REGISTRY_INVALID_CATEGORIES", "name at least one category, and only known ones";
    InvalidOracleSet => "REGISTRY_INVALID_ORACLE_SET", "give one to sixteen different compressed secp256k1 keys, and a threshold from one to their number";
    DeviceRevoked => "REGISTRY_DEVICE_REVOKED", "a revoked device stays revoked; register the device with a fresh key";
    TooManyDevices => "REGISTRY_TOO_MANY_DEVICES", "the patient has as many devices as one may have";
    NotProposed => "REGISTRY_NOT_PROPOSED", "this account is not proposed as admin; let the admin propose it first";
    NothingToRollBack => "REGISTRY_NOTHING_TO_ROLL_BACK", "there is no earlier model of this kind to return to; activate an approved one instead";
    Overflow => "REGISTRY_OVERFLOW", "a counter of the registry is at its end; deploy the registry anew";
    InvalidModel => "REGISTRY_INVALID_MODEL", "the all-zero model id means no model; give the SHA-256 of the weights";
});

explained!(crate::consent::Error {
    NotAuthorised => "CONSENT_NOT_AUTHORISED", "only the patient whose grant it is may change it; use that patient's account";
    NotFound => "CONSENT_NOT_FOUND", "there is no grant of that number; list the grants to see their numbers";
    AlreadyRevoked => "CONSENT_ALREADY_REVOKED", "the grant was revoked before; nothing needs to be done";
    InvalidWindow => "CONSENT_INVALID_WINDOW", "the window must begin and end on whole hours and end after it begins";
    InvalidCategories => "CONSENT_INVALID_CATEGORIES", "name at least one category, and only known ones";
    InvalidPurposes => "CONSENT_INVALID_PURPOSES", "name at least one purpose of use, and only known ones";
    InvalidWrappedKeys => "CONSENT_INVALID_WRAPPED_KEYS", "a permit names its wrapped keys by a CIDv1 over SHA-256, a denial names none";
    StaleGeneration => "CONSENT_STALE_GENERATION", "the keys are of another generation; read the patient's generation again and wrap for that one";
    SelfGrant => "CONSENT_SELF_GRANT", "patients read their own data without a grant; name somebody else";
    TooManyGrants => "CONSENT_TOO_MANY_GRANTS", "too many grants stand between the two; revoke one first";
    InvalidSignature => "CONSENT_INVALID_SIGNATURE", "the wallet's signature is malformed or not the patient's; sign the message again with the patient's wallet";
    InvalidNonce => "CONSENT_INVALID_NONCE", "the nonce was used before or is too high; read the patient's nonce and sign again";
    Expired => "CONSENT_EXPIRED", "the signature's deadline is over; sign again with a later one";
    TooMany => "CONSENT_TOO_MANY", "too many moments for one call; ask in parts";
    Overflow => "CONSENT_OVERFLOW", "a counter of the consent contract is at its end; deploy the contract anew";
    InvalidDirectory => "CONSENT_INVALID_DIRECTORY", "the key directory is named by a CIDv1 over SHA-256";
});

explained!(crate::records::Error {
    NotAuthorised => "RECORDS_NOT_AUTHORISED", "only the registry's admin may halt and resume; use the admin's account";
    Halted => "RECORDS_HALTED", "anchoring is halted; wait until the admin resumes it, then submit the same batch again";
    AlreadyAnchored => "RECORDS_ALREADY_ANCHORED", "this sequence is anchored already; compare it with the batch on chain and go on with the next";
    SequenceGap => "RECORDS_SEQUENCE_GAP", "an earlier batch is missing; anchor the batches in order";
    BrokenChain => "RECORDS_BROKEN_CHAIN", "the batch does not name the newest one on chain as its predecessor; read the head and build the batch on it";
    InvalidCount => "RECORDS_INVALID_COUNT", "the number of leaves is zero or above the most, or a critical batch holds not exactly one";
    InvalidManifest => "RECORDS_INVALID_MANIFEST", "the manifest is named by a CIDv1 over SHA-256";
    StaleOracleSet => "RECORDS_STALE_ORACLE_SET", "the oracle set changed since the batch was signed; sign it again for the set on chain";
    InvalidSignature => "RECORDS_INVALID_SIGNATURE", "a signature is malformed, given twice, or not of an oracle in the set; collect the signatures again";
    BelowThreshold => "RECORDS_BELOW_THRESHOLD", "too few oracles signed; collect more signatures";
    RegistryUnavailable => "RECORDS_REGISTRY_UNAVAILABLE", "the registry contract did not answer; check the registry's account in the deployment";
    Overflow => "RECORDS_OVERFLOW", "a counter of the records contract is at its end; deploy the contract anew";
});
