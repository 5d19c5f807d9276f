//! What a reader and the oracle say to each other, and what the patient gets to read about it. Clients use this module too.
//!
//! All of it is DAG-CBOR. A request is signed by the reader's registered signing key in the signing context `CONTEXT_RELEASE_REQUEST`; a receipt by
//! the oracle's secp256k1 key over SHA-256(`RECEIPT_CONTEXT ‖ receipt bytes`), recoverable, so that anybody who has it can name the oracle.
//! Signatures cover the bytes as sent, never a re-encoding. Must not: put a share anywhere but inside an envelope to the reader.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use pulsegate_ipfs::block::Block;
use pulsegate_ipfs::record::EpochShare;
use pulsegate_ipfs::signing::{self, CONTEXT_RELEASE_REQUEST, SigningKey};
use pulsegate_ipfs::wrapping::{self, DecryptionKey, Envelope, INFO_EPOCH_SHARES, INFO_RECEIPT};
use pulsegate_ledger::BlockRef;
use pulsegate_rules::consent::{DECISIONS_MAX, DenyReason};
use pulsegate_rules::registry::PublicKey;
use pulsegate_rules::{Category, Epoch, Generation, GrantId, OracleKey, Principal, Purpose};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What the hash that the oracle signs for a receipt begins with.
pub const RECEIPT_CONTEXT: &[u8] = b"pulsegate/receipt/v1\0";
/// Longest request, bytes: the most epochs, a patient and a reader, and an RSA-4096 signature fit several times.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// How far the request's time may be from the oracle's, either way, milliseconds.
pub const REQUEST_SKEW_MS_MAX: u64 = 60_000;

/// A reader asks for the oracle's lock of some epochs of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Who asks; must sign with the signing key registered for it.
    pub reader: Principal,
    /// Whose data.
    pub patient: Principal,
    /// Which stream.
    pub category: Category,
    /// What for.
    pub purpose: Purpose,
    /// Which key generation of the patient the records were sealed under.
    pub generation: Generation,
    /// Which hours; from one to [`DECISIONS_MAX`], none twice.
    pub epochs: Vec<Epoch>,
    /// Random; a second request with the same one is refused.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// The reader's time, Unix milliseconds, within [`REQUEST_SKEW_MS_MAX`] of the oracle's.
    pub requested_at_ms: u64,
    /// The deployment's audience, as `GET /v1/oracle` says.
    #[serde(with = "serde_bytes")]
    pub audience: [u8; 32],
}

/// The body of `POST /v1/release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRequest {
    /// DAG-CBOR of the [`ReleaseRequest`].
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
    /// Over `request`, in the context [`CONTEXT_RELEASE_REQUEST`].
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// Why an epoch was not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// The consent contract says no.
    Consent(DenyReason),
    /// Permitted, but nothing was sealed in that epoch under that generation.
    NoRecords,
    /// The request's time is too far from the oracle's, or before the oracle's start.
    StaleRequest,
    /// The nonce was used before.
    NonceReused,
    /// The reader has no encryption key on chain to which shares could be wrapped.
    NoEncryptionKey,
}

/// The oracle's answer, also when it refuses everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseAnswer {
    /// The shares of the released epochs, wrapped to the reader's encryption key; `None` when nothing is released.
    pub shares: Option<Envelope>,
    /// Every epoch asked for that is not released, with the reason.
    pub refused: Vec<(Epoch, RefusalReason)>,
    /// The grant that permits; `None` for a refusal and for patients reading their own data.
    pub grant: Option<GrantId>,
    /// The finalised block whose state decided.
    pub block: BlockRef,
    /// The receipt that the patient gets too.
    pub receipt: SignedReceipt,
}

/// What happened: durable before the reader has the answer, sealed to the patient, anchored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Who asked.
    pub reader: Principal,
    /// Whose data.
    pub patient: Principal,
    /// Which stream.
    pub category: Category,
    /// What for.
    pub purpose: Purpose,
    /// Which key generation.
    pub generation: Generation,
    /// Which epochs the reader can open now.
    pub released: Vec<Epoch>,
    /// Which it cannot, and why.
    pub refused: Vec<(Epoch, RefusalReason)>,
    /// The grant that permitted.
    pub grant: Option<GrantId>,
    /// The finalised block whose state decided.
    pub block: BlockRef,
    /// SHA-256 of the request as it came (request and signature).
    #[serde(with = "serde_bytes")]
    pub request_digest: [u8; 32],
    /// The oracle instance that answered.
    pub oracle: Principal,
    /// The oracle's time of the answer, Unix milliseconds.
    pub answered_at_ms: u64,
}

/// A receipt with the oracle's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReceipt {
    /// DAG-CBOR of the [`Receipt`].
    #[serde(with = "serde_bytes")]
    pub receipt: Vec<u8>,
    /// secp256k1 r ‖ s ‖ v (v 0 or 1).
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// The block that a leaf of a receipts batch names: the signed receipt, readable by the patient only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedReceipt {
    /// DAG-CBOR of the [`SignedReceipt`], wrapped to the patient's encryption key with [`INFO_RECEIPT`].
    pub envelope: Envelope,
}

/// Something of this protocol cannot be read or is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not DAG-CBOR of the expected shape, or too long.
    #[error("the {what} does not decode; make it with the release protocol of this version")]
    Malformed {
        /// Which message.
        what: &'static str,
    },
    /// No epochs, too many, or one twice.
    #[error("the request names {count} epochs or one of them twice; ask for 1 to {DECISIONS_MAX} different ones")]
    Epochs {
        /// How many were named.
        count: usize,
    },
    /// The key cannot sign or the envelope cannot be made or opened.
    #[error("the {what} does not open with this key; use the key that is registered on chain for it")]
    Key {
        /// Which message.
        what: &'static str,
    },
    /// The receipt is not signed by the oracle that it should be of.
    #[error("the receipt's signature is not of oracle {expected}; do not rely on it")]
    ForeignReceipt {
        /// The oracle's registered key.
        expected: OracleKey,
    },
}

impl ProtocolError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "RELEASE_MALFORMED",
            Self::Epochs { .. } => "RELEASE_EPOCHS",
            Self::Key { .. } => "RELEASE_WRONG_KEY",
            Self::ForeignReceipt { .. } => "RECEIPT_FOREIGN",
        }
    }
}

impl RefusalReason {
    /// The stable code of the reason.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Consent(DenyReason::NoGrant) => "NO_GRANT",
            Self::Consent(DenyReason::Revoked) => "REVOKED",
            Self::Consent(DenyReason::CategoryNotCovered) => "CATEGORY_NOT_COVERED",
            Self::Consent(DenyReason::PurposeNotCovered) => "PURPOSE_NOT_COVERED",
            Self::Consent(DenyReason::OutsideWindow) => "OUTSIDE_WINDOW",
            Self::Consent(DenyReason::DeniedByPatient) => "DENIED_BY_PATIENT",
            Self::NoRecords => "NO_RECORDS",
            Self::StaleRequest => "STALE_REQUEST",
            Self::NonceReused => "NONCE_REUSED",
            Self::NoEncryptionKey => "NO_ENCRYPTION_KEY",
        }
    }
}

/// Encodes a message of this protocol.
fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("messages hold numbers, bytes and lists, which all encode")
}

/// SHA-256 of the body that a reader sends, by which receipts name it.
#[must_use]
pub fn request_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

impl ReleaseRequest {
    /// Encodes and signs the request with the reader's signing key; the result is the body to send.
    ///
    /// # Errors
    /// [`ProtocolError::Epochs`] when the oracle would refuse the list, [`ProtocolError::Key`] when the key cannot sign.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, ProtocolError> {
        self.check_epochs()?;
        let request = encode(self);
        let signature =
            key.sign(CONTEXT_RELEASE_REQUEST, &request).map_err(|_| ProtocolError::Key { what: "release request" })?;
        Ok(encode(&SignedRequest { request, signature }))
    }

    fn check_epochs(&self) -> Result<(), ProtocolError> {
        let count = self.epochs.len();
        let mut distinct = self.epochs.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if count == 0 || count > DECISIONS_MAX || distinct.len() != count {
            return Err(ProtocolError::Epochs { count });
        }
        Ok(())
    }
}

impl SignedRequest {
    /// Reads a body; the signature is not checked yet.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] or [`ProtocolError::Epochs`].
    pub fn decode(body: &[u8]) -> Result<(Self, ReleaseRequest), ProtocolError> {
        let malformed = ProtocolError::Malformed { what: "release request" };
        if body.len() > REQUEST_BYTES_MAX {
            return Err(malformed);
        }
        let signed: Self = serde_ipld_dagcbor::from_slice(body).map_err(|_| malformed)?;
        let request: ReleaseRequest = serde_ipld_dagcbor::from_slice(&signed.request).map_err(|_| malformed)?;
        request.check_epochs()?;
        Ok((signed, request))
    }

    /// Whether the signature is the reader's.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        signing::verify(key, CONTEXT_RELEASE_REQUEST, &self.request, &self.signature, "release request").is_ok()
    }
}

impl ReleaseAnswer {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, ProtocolError> {
        serde_ipld_dagcbor::from_slice(body).map_err(|_| ProtocolError::Malformed { what: "release answer" })
    }

    /// The answer as it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Opens the shares with the reader's decryption key; `body` is the request as it was sent, to which they are bound.
    ///
    /// # Errors
    /// [`ProtocolError::Key`] when the key or the request is another, [`ProtocolError::Malformed`].
    pub fn open_shares(&self, key: &DecryptionKey, body: &[u8]) -> Result<Vec<(Epoch, EpochShare)>, ProtocolError> {
        let Some(envelope) = &self.shares else { return Ok(Vec::new()) };
        let plaintext = wrapping::unwrap(key, INFO_EPOCH_SHARES, &request_digest(body), envelope)
            .map_err(|_| ProtocolError::Key { what: "envelope of shares" })?;
        let rows: Vec<(Epoch, serde_bytes::ByteBuf)> =
            serde_ipld_dagcbor::from_slice(&plaintext).map_err(|_| ProtocolError::Malformed { what: "shares" })?;
        rows.into_iter()
            .map(|(epoch, share)| {
                let share = Zeroizing::new(share.into_vec());
                let share: [u8; 32] =
                    share.as_slice().try_into().map_err(|_| ProtocolError::Malformed { what: "shares" })?;
                Ok((epoch, EpochShare::from_bytes(share)))
            })
            .collect()
    }

    /// Wraps shares to a reader; the counterpart of [`ReleaseAnswer::open_shares`].
    pub(crate) fn wrap_shares(
        shares: &[(Epoch, EpochShare)],
        to: &PublicKey,
        request_digest: &[u8; 32],
    ) -> Result<Envelope, ProtocolError> {
        let rows: Vec<(Epoch, &serde_bytes::Bytes)> =
            shares.iter().map(|(epoch, share)| (*epoch, serde_bytes::Bytes::new(share.expose()))).collect();
        let plaintext = Zeroizing::new(encode(&rows));
        wrapping::wrap(to, INFO_EPOCH_SHARES, request_digest, &plaintext)
            .map_err(|_| ProtocolError::Key { what: "envelope of shares" })
    }
}

impl Receipt {
    /// Encodes and signs the receipt with the oracle's batch key.
    pub(crate) fn sign(&self, key: &k256::ecdsa::SigningKey) -> SignedReceipt {
        let receipt = encode(self);
        let signature = crate::keys::sign_recoverable(key, &receipt_digest(&receipt));
        SignedReceipt { receipt, signature: signature.to_vec() }
    }
}

fn receipt_digest(receipt: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(RECEIPT_CONTEXT).chain_update(receipt).finalize().into()
}

impl SignedReceipt {
    /// Reads the receipt without checking who signed it.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`].
    pub fn unverified(&self) -> Result<Receipt, ProtocolError> {
        serde_ipld_dagcbor::from_slice(&self.receipt).map_err(|_| ProtocolError::Malformed { what: "receipt" })
    }

    /// Reads the receipt if this oracle signed it.
    ///
    /// # Errors
    /// [`ProtocolError::ForeignReceipt`] for another signer, [`ProtocolError::Malformed`].
    pub fn verify(&self, oracle: &OracleKey) -> Result<Receipt, ProtocolError> {
        if self.signer() != Some(*oracle) {
            return Err(ProtocolError::ForeignReceipt { expected: *oracle });
        }
        self.unverified()
    }

    /// The key that made the signature; `None` when it is malformed. Compare with the oracles registered on chain.
    #[must_use]
    pub fn signer(&self) -> Option<OracleKey> {
        let (signature, v) = self.signature.split_at_checked(64)?;
        let signature = Signature::from_slice(signature).ok()?;
        let [v] = v else { return None };
        let key =
            VerifyingKey::recover_from_prehash(&receipt_digest(&self.receipt), &signature, RecoveryId::from_byte(*v)?)
                .ok()?;
        key.to_encoded_point(true).as_bytes().try_into().ok().map(OracleKey)
    }

    /// SHA-256 of the signed receipt, which the leaf of its batch names.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(encode(self)).into()
    }

    /// Seals the receipt to the patient, as the block that is stored and anchored.
    pub(crate) fn seal(&self, patient: &Principal, to: &PublicKey) -> Result<Block, ProtocolError> {
        let failed = ProtocolError::Key { what: "sealed receipt" };
        let envelope = wrapping::wrap(to, INFO_RECEIPT, &patient.0, &encode(self)).map_err(|_| failed)?;
        Block::dag_cbor(&SealedReceipt { envelope }).map_err(|_| failed)
    }

    /// Opens a sealed receipt with the patient's decryption key.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] when the block is none, [`ProtocolError::Key`] when it is for somebody else.
    pub fn open(block: &Block, patient: &Principal, key: &DecryptionKey) -> Result<Self, ProtocolError> {
        let sealed: SealedReceipt =
            block.decode("sealed receipt").map_err(|_| ProtocolError::Malformed { what: "sealed receipt" })?;
        let plaintext = wrapping::unwrap(key, INFO_RECEIPT, &patient.0, &sealed.envelope)
            .map_err(|_| ProtocolError::Key { what: "sealed receipt" })?;
        serde_ipld_dagcbor::from_slice(&plaintext).map_err(|_| ProtocolError::Malformed { what: "receipt" })
    }
}
