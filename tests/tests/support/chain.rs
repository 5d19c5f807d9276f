//! An embedded chain with the three contracts of `contracts/artifacts`, and requests that are good in every part.
//!
//! Guarantees: a fresh chain each time, whose clock only the test moves. Must not: judge anything; the tests do.
#![allow(dead_code, reason = "every test that includes this file uses its own part of it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k256::ecdsa::SigningKey;
use pulsegate_ledger::embedded::EmbeddedLedger;
use pulsegate_ledger::{Bundles, Call, Contracts, Deployment, Ledger, LedgerError, Signer, Transaction};
use pulsegate_rules::consent::{Effect, GrantRequest};
use pulsegate_rules::eip712::Domain;
use pulsegate_rules::ids::EPOCH_SECONDS;
use pulsegate_rules::records::{BatchHeader, BatchKind};
use pulsegate_rules::{Categories, Category, CidBytes, Generation, ModelId, OracleKey, Principal, Purpose, Purposes};
use tempfile::TempDir;

/// When the chain's clock starts, Unix milliseconds.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// A fresh embedded chain with the contracts on it.
pub(crate) struct Chain {
    /// The chain.
    pub(crate) ledger: Arc<EmbeddedLedger>,
    /// Clients of its contracts.
    pub(crate) contracts: Contracts,
    /// The registry's admin.
    pub(crate) admin: Signer,
    now_ms: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Chain {
    /// Founds the chain and installs the committed bundles.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let clock = Arc::clone(&now_ms);
        let clock = Arc::new(move || clock.load(Ordering::SeqCst));
        let ledger = Arc::new(EmbeddedLedger::open(folder.path(), clock).expect("the chain opens"));
        let admin = account(1);
        let deployment =
            Deployment::install(ledger.as_ref(), &admin, &bundles()).await.expect("the contracts are installed");
        let contracts = Contracts::open(ledger.clone(), deployment).await.expect("the contracts are there");
        Self { ledger, contracts, admin, now_ms, _folder: folder }
    }

    /// Sets the clock that the next block shows.
    pub(crate) fn set_now_ms(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    /// What wallets sign for.
    pub(crate) async fn domain(&self) -> Domain {
        let chain_id = self.ledger.identity().await.expect("the chain answers").chain_id();
        Domain { chain_id, contract: self.contracts.deployment.consent }
    }

    /// Sends a message in its raw form.
    pub(crate) async fn submit(&self, signer: &Signer, call: &Call) -> Result<Transaction, LedgerError> {
        self.ledger.submit(signer, call).await
    }
}

/// The committed bundles.
pub(crate) fn bundles() -> Bundles {
    Bundles::from_dir(&artifacts()).expect("the committed bundles can be read")
}

/// The folder of the committed bundles.
pub(crate) fn artifacts() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/artifacts")
}

/// A test account.
pub(crate) fn account(mark: u8) -> Signer {
    Signer::from_seed(&[mark; 32])
}

/// A test secp256k1 key: of a wallet or of an oracle.
pub(crate) fn secp256k1(mark: u8) -> SigningKey {
    SigningKey::from_slice(&[mark; 32]).expect("small numbers are keys")
}

/// The key as the registry knows an oracle.
pub(crate) fn oracle_key(key: &SigningKey) -> OracleKey {
    let point = key.verifying_key().to_encoded_point(true);
    OracleKey(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
}

/// `r ‖ s ‖ v` with low `s` and `v` of 0 or 1.
pub(crate) fn sign(key: &SigningKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, recovery) = key.sign_prehash_recoverable(digest).expect("a digest can be signed");
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = recovery.to_byte();
    bytes
}

/// The twin of a signature that recovers the same signer: high `s`, the other `v`.
pub(crate) fn high_s_twin(signature: &[u8; 65]) -> [u8; 65] {
    let low = k256::ecdsa::Signature::from_slice(&signature[..64]).expect("it is a signature");
    let (r, s) = low.split_scalars();
    let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("the twin is one too");
    let mut twin = [0; 65];
    twin[..64].copy_from_slice(&high.to_bytes());
    twin[64] = signature[64] ^ 1;
    twin
}

/// A well-formed CID.
pub(crate) fn cid(mark: u8) -> CidBytes {
    let mut bytes = [mark; 36];
    bytes[..4].copy_from_slice(&[1, 0x71, 0x12, 0x20]);
    CidBytes(bytes)
}

/// A good permit.
pub(crate) fn permit(grantee: Principal) -> GrantRequest {
    GrantRequest {
        grantee,
        effect: Effect::Permit,
        categories: Categories::of(&[Category::VitalSigns, Category::Ecg]),
        purposes: Purposes::of(&[Purpose::Treatment]),
        from_s: 10 * EPOCH_SECONDS,
        until_s: 12 * EPOCH_SECONDS,
        wrapped_keys: Some(cid(7)),
        generation: Generation(0),
    }
}

/// A good header of a chain's first batch.
pub(crate) fn first_batch(oracle: Principal, oracle_set: u32) -> BatchHeader {
    BatchHeader {
        kind: BatchKind::Records,
        oracle,
        sequence: 1,
        previous: [0; 32],
        merkle_root: [6; 32],
        manifest: cid(5),
        count: 64,
        model: ModelId([0; 32]),
        oracle_set,
        closed_at_ms: START_MS,
    }
}
