//! The registry contract: participants and keys, devices, oracles, detector models.
//!
//! Guarantees: as the module above. Must not: decide anything; the contract does.

use std::sync::Arc;

use pulsegate_rules::registry::{
    ActiveModel, DetectorKind, Device, DeviceStatus, KeyUse, Model, OracleSet, Participant, PublicKey, Role,
};
use pulsegate_rules::{Categories, DeviceId, ModelId, OracleKey, Principal};

use super::{Committed, Handle};
use crate::{ContractKind, Ledger, LedgerError, Signer};

/// Client of the registry contract. Errors of all methods: those of [`Ledger::submit`] (writes) and [`Ledger::dry_run`] (reads),
/// with refusals as [`LedgerError::Refused`] and a [`pulsegate_rules::registry::Error`] inside.
#[derive(Clone)]
pub struct RegistryClient {
    handle: Handle,
}

#[expect(clippy::missing_errors_doc, reason = "the type's documentation says it once for all methods")]
impl RegistryClient {
    /// A client of the registry contract at this account.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, contract: Principal) -> Self {
        Self { handle: Handle { ledger, contract, kind: ContractKind::Registry } }
    }

    /// The contract's account.
    #[must_use]
    pub const fn account(&self) -> Principal {
        self.handle.contract
    }

    /// Registers the signer as a participant.
    pub async fn register_participant(&self, signer: &Signer, role: Role) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "register_participant", &(role,)).await
    }

    /// Sets the signer's public key for one use; the signer is registered.
    pub async fn set_key(
        &self,
        signer: &Signer,
        key_use: KeyUse,
        key: &PublicKey,
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "set_key", &(key_use, key)).await
    }

    /// Registers a device (its Ed25519 public key) of the signer, a patient.
    pub async fn register_device(
        &self,
        signer: &Signer,
        public_key: &[u8; 32],
        categories: Categories,
    ) -> Result<Committed<DeviceId>, LedgerError> {
        self.handle.write(signer, "register_device", &(public_key, categories)).await
    }

    /// Changes whether readings of the signer's device are taken.
    pub async fn set_device_status(
        &self,
        signer: &Signer,
        device: DeviceId,
        status: DeviceStatus,
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "set_device_status", &(device, status)).await
    }

    /// Replaces the oracle set; the signer is the admin. Returns the set's new version.
    pub async fn set_oracles(
        &self,
        signer: &Signer,
        threshold: u8,
        members: &[OracleKey],
    ) -> Result<Committed<u32>, LedgerError> {
        // The fields of `OraclesSet`: version, threshold, members.
        let version = |(version, _, _): (u32, u8, Vec<OracleKey>)| version;
        self.handle.write_and_read_event(signer, "set_oracles", &(threshold, members), version).await
    }

    /// Approves a detector model; the signer is the admin. The hashes are SHA-256 of its training data and evaluation report.
    pub async fn approve_model(
        &self,
        signer: &Signer,
        id: ModelId,
        kind: DetectorKind,
        data_hash: &[u8; 32],
        metrics_hash: &[u8; 32],
    ) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "approve_model", &(id, kind, data_hash, metrics_hash)).await
    }

    /// Makes an approved model the active one of its kind; the signer is the admin.
    pub async fn activate_model(&self, signer: &Signer, id: ModelId) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "activate_model", &(id,)).await
    }

    /// Returns to the model before the active one; the signer is the admin.
    pub async fn roll_back_model(&self, signer: &Signer, kind: DetectorKind) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "roll_back_model", &(kind,)).await
    }

    /// Proposes another admin; the signer is the admin, and stays it until the proposed one accepts.
    pub async fn propose_admin(&self, signer: &Signer, account: Principal) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "propose_admin", &(account,)).await
    }

    /// Becomes admin; the signer was proposed.
    pub async fn accept_admin(&self, signer: &Signer) -> Result<Committed<()>, LedgerError> {
        self.handle.write(signer, "accept_admin", &()).await
    }

    /// The admin.
    pub async fn admin(&self) -> Result<Principal, LedgerError> {
        Ok(self.handle.read("admin", &()).await?.value)
    }

    /// The account that was proposed as admin and has not accepted yet, if any.
    pub async fn proposed_admin(&self) -> Result<Option<Principal>, LedgerError> {
        Ok(self.handle.read("proposed_admin", &()).await?.value)
    }

    /// What a participant registered as, if it did.
    pub async fn participant(&self, participant: Principal) -> Result<Option<Participant>, LedgerError> {
        Ok(self.handle.read("participant", &(participant,)).await?.value)
    }

    /// A participant's public key for one use, if set.
    pub async fn key(&self, participant: Principal, key_use: KeyUse) -> Result<Option<PublicKey>, LedgerError> {
        Ok(self.handle.read("key", &(participant, key_use)).await?.value)
    }

    /// A device, if registered.
    pub async fn device(&self, id: DeviceId) -> Result<Option<Device>, LedgerError> {
        Ok(self.handle.read("device", &(id,)).await?.value)
    }

    /// A page of an owner's devices, in order of registration.
    pub async fn devices_of(&self, owner: Principal, offset: u32, limit: u32) -> Result<Vec<DeviceId>, LedgerError> {
        Ok(self.handle.read("devices_of", &(owner, offset, limit)).await?.value)
    }

    /// The oracle set now.
    pub async fn oracles(&self) -> Result<OracleSet, LedgerError> {
        Ok(self.handle.read("oracles", &()).await?.value)
    }

    /// A detector model, if approved.
    pub async fn model(&self, id: ModelId) -> Result<Option<Model>, LedgerError> {
        Ok(self.handle.read("model", &(id,)).await?.value)
    }

    /// The active model of a kind, if any.
    pub async fn active_model(&self, kind: DetectorKind) -> Result<Option<ActiveModel>, LedgerError> {
        Ok(self.handle.read("active_model", &(kind,)).await?.value)
    }
}
