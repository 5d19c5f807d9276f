//! A transaction of the embedded chain: who, which one of theirs, what, and the signature over it all.
//!
//! Signed bytes: `"pulsegate/embedded-call/v1"` ‖ genesis hash ‖ SCALE of (signer, nonce, action); sr25519.
//! Guarantees: a signature fits one chain, one account, one nonce and one action. Must not: trust the signer's word.

use parity_scale_codec::{Decode, Encode};
use pulsegate_rules::Principal;

use crate::port::blake2b_256;
use crate::{LedgerError, Signer};

/// Largest data of one call, constructor or salt, bytes: a batch of decisions fits many times.
pub const CALL_BYTES_MAX: usize = 256 * 1024;
/// Largest contract code, bytes: the pallet's own limit.
pub const CODE_BYTES_MAX: usize = 123 * 1024;

const SIGNING_PREFIX: &[u8] = b"pulsegate/embedded-call/v1";

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Sends a message to a contract.
    Call {
        /// The contract's account.
        contract: Principal,
        /// Selector and SCALE-encoded arguments.
        data: Vec<u8>,
    },
    /// Uploads code and makes a contract of it.
    Instantiate {
        /// The wasm code.
        code: Vec<u8>,
        /// The constructor's selector and SCALE-encoded arguments.
        data: Vec<u8>,
        /// Tells apart contracts of the same code, data and signer.
        salt: Vec<u8>,
    },
}

impl Action {
    /// Refuses what is larger than the chain takes.
    pub(crate) fn check_size(&self) -> Result<(), LedgerError> {
        let limited = |what: &str, bytes: usize, bytes_max: usize| {
            if bytes <= bytes_max {
                return Ok(());
            }
            Err(LedgerError::TooLarge { what: what.to_owned(), bytes: bytes as u64, bytes_max: bytes_max as u64 })
        };
        match self {
            Self::Call { data, .. } => limited("the call's data", data.len(), CALL_BYTES_MAX),
            Self::Instantiate { code, data, salt } => {
                limited("the contract's code", code.len(), CODE_BYTES_MAX)?;
                limited("the constructor's data", data.len(), CALL_BYTES_MAX)?;
                limited("the salt", salt.len(), CALL_BYTES_MAX)
            }
        }
    }
}

/// A transaction of the embedded chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedCall {
    /// The account, an sr25519 public key.
    pub signer: Principal,
    /// How many transactions the account made before.
    pub nonce: u32,
    /// What it does.
    pub action: Action,
    /// The signer's, over chain, nonce and action.
    pub signature: [u8; 64],
}

impl SignedCall {
    /// Signs an action for one chain.
    #[must_use]
    pub fn sign(genesis: &[u8; 32], signer: &Signer, nonce: u32, action: Action) -> Self {
        let account = signer.principal();
        let signature = signer.sign(&signed_bytes(genesis, &account, nonce, &action));
        Self { signer: account, nonce, action, signature }
    }

    /// Whether the signature is the signer's, for this chain.
    ///
    /// # Errors
    /// [`LedgerError::InvalidSignature`].
    pub fn verify(&self, genesis: &[u8; 32]) -> Result<(), LedgerError> {
        let bytes = signed_bytes(genesis, &self.signer, self.nonce, &self.action);
        if Signer::verify(&self.signer, &bytes, &self.signature) {
            return Ok(());
        }
        Err(LedgerError::InvalidSignature { signer: self.signer })
    }

    /// The transaction's hash: BLAKE2b-256 of its SCALE encoding.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        blake2b_256(&self.encode())
    }
}

fn signed_bytes(genesis: &[u8; 32], signer: &Principal, nonce: u32, action: &Action) -> Vec<u8> {
    let mut bytes = SIGNING_PREFIX.to_vec();
    bytes.extend_from_slice(genesis);
    (signer, nonce, action).encode_to(&mut bytes);
    bytes
}
