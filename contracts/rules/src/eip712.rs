//! EIP-712 typed messages by which an Ethereum wallet grants and revokes, and anybody relays.
//!
//! `digest = keccak256(0x1901 ‖ domainSeparator ‖ hashStruct(message))`. The domain is
//! `EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)` with name `Pulsegate Consent`,
//! version `1`, `verifyingContract` the first 20 bytes of the contract's account and `salt` the whole 32.

use crate::consent::GrantRequest;
use crate::hash::keccak256;
use crate::{GrantId, Principal};

/// The domain's name.
pub const DOMAIN_NAME: &str = "Pulsegate Consent";
/// The domain's version.
pub const DOMAIN_VERSION: &str = "1";
/// The domain's type.
pub const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)";
/// A grant's type. `effect` is 0 for permit, 1 for deny; `wrappedKeys` is the binary CID, empty for a denial.
pub const GRANT_TYPE: &str = "Grant(bytes32 patient,bytes32 grantee,uint8 effect,uint16 categories,uint16 purposes,uint64 from,uint64 until,bytes wrappedKeys,uint32 generation,uint64 nonce,uint64 deadline)";
/// A revocation's type.
pub const REVOKE_TYPE: &str = "Revoke(bytes32 patient,uint64 grantId,uint64 nonce,uint64 deadline)";

/// Where a signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The deployment's chain id.
    pub chain_id: u64,
    /// The consent contract's account.
    pub contract: Principal,
}

/// When and how often a signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The patient's next nonce.
    pub nonce: u64,
    /// Last valid second, Unix seconds.
    pub deadline_s: u64,
}

impl Domain {
    /// The digest that the wallet signs to grant.
    #[must_use]
    pub fn grant_digest(&self, patient: &Principal, request: &GrantRequest, validity: &Validity) -> [u8; 32] {
        let wrapped_keys: &[u8] = request.wrapped_keys.as_ref().map_or(&[], |cid| &cid.0);
        let words = [
            keccak256(&[GRANT_TYPE.as_bytes()]),
            patient.0,
            request.grantee.0,
            word(request.effect as u64),
            word(request.categories.0.into()),
            word(request.purposes.0.into()),
            word(request.from_s),
            word(request.until_s),
            keccak256(&[wrapped_keys]),
            word(request.generation.0.into()),
            word(validity.nonce),
            word(validity.deadline_s),
        ];
        self.digest(&words)
    }

    /// The digest that the wallet signs to revoke.
    #[must_use]
    pub fn revoke_digest(&self, patient: &Principal, grant: GrantId, validity: &Validity) -> [u8; 32] {
        let words = [
            keccak256(&[REVOKE_TYPE.as_bytes()]),
            patient.0,
            word(grant.0),
            word(validity.nonce),
            word(validity.deadline_s),
        ];
        self.digest(&words)
    }

    fn digest(&self, words: &[[u8; 32]]) -> [u8; 32] {
        keccak256(&[&[0x19, 0x01], &self.separator(), &keccak_words(words)])
    }

    fn separator(&self) -> [u8; 32] {
        let mut verifying_contract = [0u8; 32];
        verifying_contract[12..].copy_from_slice(&self.contract.0[..20]);
        keccak_words(&[
            keccak256(&[DOMAIN_TYPE.as_bytes()]),
            keccak256(&[DOMAIN_NAME.as_bytes()]),
            keccak256(&[DOMAIN_VERSION.as_bytes()]),
            word(self.chain_id),
            verifying_contract,
            self.contract.0,
        ])
    }
}

/// A number as a 32-byte big-endian word.
fn word(number: u64) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn keccak_words(words: &[[u8; 32]]) -> [u8; 32] {
    keccak256(&[words.as_flattened()])
}
