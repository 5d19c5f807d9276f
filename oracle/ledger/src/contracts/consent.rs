//! The consent contract: grants, revocations, generations, wallets, and the decision.
//!
//! Guarantees: as the module above. Must not: decide anything; the contract does.

use std::sync::Arc;

use pulsegate_rules::consent::{Decision, Grant, GrantRequest, KeyDirectory};
use pulsegate_rules::eip712::Validity;
use pulsegate_rules::{Category, CidBytes, Generation, GrantId, Principal, Purpose};

use super::{At, Committed, Handle};
use crate::{ContractKind, Ledger, LedgerError, Signer};

/// A wallet's signature under EIP-712, relayed by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Whose consent it is.
    pub patient: Principal,
    /// The nonce and deadline that were signed.
    pub validity: Validity,
    /// secp256k1, recoverable: r ‖ s ‖ v, with v 0, 1, 27 or 28 and a low s.
    pub signature: [u8; 65],
}

/// Client of the consent contract. Errors of all methods: those of [`Ledger::submit`] (writes) and [`Ledger::dry_run`] (reads),
/// with refusals as [`LedgerError::Refused`] and a [`pulsegate_rules::consent::Error`] inside.
#[derive(Clone)]
pub struct ConsentClient {
    handle: Handle,
}

/// The number in the fields of `ConsentGranted`: patient, grantee, grant.
fn granted((_, _, grant): (Principal, Principal, GrantId)) -> GrantId {
    grant
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation says it once for all methods")]
impl ConsentClient {
    /// A client of the consent contract at this account.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, contract: Principal) -> Self {
        Self { handle: Handle { ledger, contract, kind: ContractKind::Consent } }
    }

    /// The contract's account.
    #[must_use]
    pub const fn account(&self) -> Principal {
        self.handle.contract
    }

    /// Grants, or forbids, in the name of the signer, the patient.
    pub async fn grant(&self, signer: &Signer, request: &GrantRequest) -> Result<Committed<GrantId>, LedgerError> {
        self.handle.write_and_read_event(signer, "grant", &(request,), granted).await
    }

    /// Revokes a grant of the signer, the patient.
    pub async fn revoke(&self, signer: &Signer, grant: GrantId) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "revoke", &(grant,)).await
    }

    /// Replaces a standing grant's wrapped keys by ones of the current generation; the signer is the patient.
    pub async fn rewrap(
        &self,
        signer: &Signer,
        grant: GrantId,
        generation: Generation,
        wrapped_keys: CidBytes,
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "rewrap", &(grant, generation, wrapped_keys)).await
    }

    /// Moves the signer, the patient, to the next generation and its key directory.
    pub async fn rotate(
        &self,
        signer: &Signer,
        generation: Generation,
        directory: CidBytes,
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "rotate", &(generation, directory)).await
    }

    /// Publishes the key directory of the signer's current generation.
    pub async fn publish_directory(&self, signer: &Signer, directory: CidBytes) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "publish_directory", &(directory,)).await
    }

    /// Links (or unlinks) an Ethereum wallet that may sign for the signer, the patient.
    pub async fn set_wallet(&self, signer: &Signer, address: Option<[u8; 20]>) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "set_wallet", &(address,)).await
    }

    /// Relays a grant that the patient's wallet signed. The signer only pays.
    pub async fn grant_signed(
        &self,
        signer: &Signer,
        request: &GrantRequest,
        relay: &Relay,
    ) -> Result<Committed<GrantId>, LedgerError> {
        let Relay { patient, validity, signature } = relay;
        let arguments = (patient, request, validity.nonce, validity.deadline_s, signature);
        self.handle.write_and_read_event(signer, "grant_signed", &arguments, granted).await
    }

    /// Relays a revocation that the patient's wallet signed. The signer only pays.
    pub async fn revoke_signed(
        &self,
        signer: &Signer,
        grant: GrantId,
        relay: &Relay,
    ) -> Result<Committed<()>, LedgerError> {
        let Relay { patient, validity, signature } = relay;
        let arguments = (patient, grant, validity.nonce, validity.deadline_s, signature);
        self.handle.write(signer, "revoke_signed", &arguments).await
    }

    /// Whether `grantee` may read `patient`'s data of `category` measured at `at_s` (Unix seconds) for `purpose`.
    pub async fn decide(
        &self,
        grantee: Principal,
        patient: Principal,
        category: Category,
        purpose: Purpose,
        at_s: u64,
    ) -> Result<At<Decision>, LedgerError> {
        self.handle.read("decide", &(grantee, patient, category, purpose, at_s)).await
    }

    /// [`ConsentClient::decide`] for several moments at one block, in their order; at most
    /// [`pulsegate_rules::consent::DECISIONS_MAX`].
    pub async fn decide_each(
        &self,
        grantee: Principal,
        patient: Principal,
        category: Category,
        purpose: Purpose,
        at_s: &[u64],
    ) -> Result<At<Vec<Decision>>, LedgerError> {
        self.handle.try_read("decide_each", &(grantee, patient, category, purpose, at_s)).await
    }

    /// A grant by its number, standing or revoked.
    pub async fn grant_of(&self, id: GrantId) -> Result<Option<Grant>, LedgerError> {
        Ok(self.handle.read("grant_of", &(id,)).await?.value)
    }

    /// The grants from `patient` to `grantee` on which a decision between them rests.
    pub async fn grants_between(&self, patient: Principal, grantee: Principal) -> Result<At<Vec<Grant>>, LedgerError> {
        self.handle.read("grants_between", &(patient, grantee)).await
    }

    /// A page of a patient's grants, oldest first; at most [`pulsegate_rules::consent::PAGE_MAX`].
    pub async fn grants_of_patient(
        &self,
        patient: Principal,
        offset: u32,
        limit: u32,
    ) -> Result<Vec<Grant>, LedgerError> {
        Ok(self.handle.read("grants_of_patient", &(patient, offset, limit)).await?.value)
    }

    /// A page of the grants to a grantee, oldest first; at most [`pulsegate_rules::consent::PAGE_MAX`].
    pub async fn grants_to(&self, grantee: Principal, offset: u32, limit: u32) -> Result<Vec<Grant>, LedgerError> {
        Ok(self.handle.read("grants_to", &(grantee, offset, limit)).await?.value)
    }

    /// Where a patient's epoch public keys are, if published.
    pub async fn directory(&self, patient: Principal) -> Result<Option<KeyDirectory>, LedgerError> {
        Ok(self.handle.read("directory", &(patient,)).await?.value)
    }

    /// A patient's generation; 0 before the first rotation.
    pub async fn generation(&self, patient: Principal) -> Result<Generation, LedgerError> {
        Ok(self.handle.read("generation", &(patient,)).await?.value)
    }

    /// The nonce that a patient's next wallet signature carries.
    pub async fn nonce(&self, patient: Principal) -> Result<u64, LedgerError> {
        Ok(self.handle.read("nonce", &(patient,)).await?.value)
    }

    /// The wallet that may sign for a patient, if linked.
    pub async fn wallet(&self, patient: Principal) -> Result<Option<[u8; 20]>, LedgerError> {
        Ok(self.handle.read("wallet", &(patient,)).await?.value)
    }

    /// The chain id that wallet signatures are bound to.
    pub async fn chain_id(&self) -> Result<u64, LedgerError> {
        Ok(self.handle.read("chain_id", &()).await?.value)
    }
}
