//! The registry contract: participants and their keys, devices, oracles, detector models.
//!
//! Participants speak for themselves, patients for their devices, one admin for oracles and models. The admin can neither read nor grant
//! anything, and hands over in two steps. The rules are in `pulsegate_rules::registry`; this file wires caller, time, storage and events.
//! It holds pseudonymous accounts, public keys and hashes only: no names, no readings.
#![cfg_attr(not(feature = "std"), no_std, no_main)]

#[ink::contract]
mod registry {
    use ink::prelude::vec::Vec;
    use ink::storage::Mapping;
    use pulsegate_rules::registry::transition;
    use pulsegate_rules::registry::{
        ActiveModel, DetectorKind, Device, DeviceStatus, Error, KeyUse, Model, OracleSet, Participant, PublicKey, Role,
    };
    use pulsegate_rules::{Categories, DeviceId, ModelId, OracleKey, Principal, PAGE_MAX};

    /// Somebody registered.
    #[ink(event)]
    pub struct ParticipantRegistered {
        /// Who.
        #[ink(topic)]
        pub participant: Principal,
        /// As what.
        pub role: Role,
    }

    /// A participant set a public key; an earlier one of that use no longer counts.
    #[ink(event)]
    pub struct KeySet {
        /// Whose.
        #[ink(topic)]
        pub participant: Principal,
        /// What for.
        pub key_use: KeyUse,
    }

    /// A patient added a device.
    #[ink(event)]
    pub struct DeviceRegistered {
        /// The patient.
        #[ink(topic)]
        pub owner: Principal,
        /// The device.
        #[ink(topic)]
        pub device: DeviceId,
        /// What it may send.
        pub categories: Categories,
    }

    /// The owner changed a device's status.
    #[ink(event)]
    pub struct DeviceStatusChanged {
        /// The patient.
        #[ink(topic)]
        pub owner: Principal,
        /// The device.
        #[ink(topic)]
        pub device: DeviceId,
        /// From now on.
        pub status: DeviceStatus,
    }

    /// Another set of oracles is in force.
    #[ink(event)]
    pub struct OraclesSet {
        /// Its version.
        #[ink(topic)]
        pub version: u32,
        /// How many must sign.
        pub threshold: u8,
        /// Of these.
        pub members: Vec<OracleKey>,
    }

    /// The admin put a model forward.
    #[ink(event)]
    pub struct ModelApproved {
        /// The model.
        #[ink(topic)]
        pub model: ModelId,
        /// What it judges.
        pub kind: DetectorKind,
        /// Who approved.
        #[ink(topic)]
        pub approver: Principal,
    }

    /// A model is in use, by activation or by roll-back.
    #[ink(event)]
    pub struct ModelActivated {
        /// The model now in use.
        #[ink(topic)]
        pub model: ModelId,
        /// What it judges.
        pub kind: DetectorKind,
        /// Whether it is an earlier one, returned to.
        pub rolled_back: bool,
    }

    /// The admin proposed a successor.
    #[ink(event)]
    pub struct AdminProposed {
        /// Who is to accept.
        #[ink(topic)]
        pub proposed: Principal,
    }

    /// The successor accepted.
    #[ink(event)]
    pub struct AdminChanged {
        /// The admin before.
        #[ink(topic)]
        pub from: Principal,
        /// The admin now.
        #[ink(topic)]
        pub to: Principal,
    }

    /// Identities, devices, oracles and models. Every cell is bounded; lists are one cell an entry.
    #[ink(storage)]
    pub struct Registry {
        admin: AccountId,
        proposed_admin: Option<AccountId>,
        participants: Mapping<Principal, Participant>,
        keys: Mapping<(Principal, KeyUse), PublicKey>,
        devices: Mapping<DeviceId, Device>,
        device_counts: Mapping<Principal, u32>,
        devices_by_owner: Mapping<(Principal, u32), DeviceId>,
        oracles: OracleSet,
        models: Mapping<ModelId, Model>,
        active_models: Mapping<DetectorKind, ActiveModel>,
    }

    impl Registry {
        /// Deploys an empty registry; the caller is its admin. The oracle set is empty and of version 0: nothing can be anchored yet.
        #[ink(constructor)]
        pub fn new() -> Self {
            Self {
                admin: Self::env().caller(),
                proposed_admin: None,
                participants: Mapping::default(),
                keys: Mapping::default(),
                devices: Mapping::default(),
                device_counts: Mapping::default(),
                devices_by_owner: Mapping::default(),
                oracles: OracleSet { version: 0, threshold: 0, members: Vec::new() },
                models: Mapping::default(),
                active_models: Mapping::default(),
            }
        }

        /// Registers the caller, once and for ever in this role.
        ///
        /// Caller: anybody, for itself. Event: [`ParticipantRegistered`].
        ///
        /// # Errors
        /// `AlreadyExists`.
        #[ink(message)]
        pub fn register_participant(&mut self, role: Role) -> Result<(), Error> {
            let caller = self.caller();
            let existing = self.participants.get(caller);
            let participant = transition::register_participant(existing.as_ref(), role, self.now_ms())?;
            self.participants.insert(caller, &participant);
            self.env().emit_event(ParticipantRegistered { participant: caller, role });
            Ok(())
        }

        /// Sets the caller's public key of one use; replaces the earlier one.
        ///
        /// Caller: a registered participant, for itself. Event: [`KeySet`].
        ///
        /// # Errors
        /// `NotAuthorised` if the caller is not registered, `InvalidKey`.
        #[ink(message)]
        pub fn set_key(&mut self, key_use: KeyUse, key: PublicKey) -> Result<(), Error> {
            let caller = self.caller();
            transition::set_key(self.participants.get(caller).as_ref(), key_use, &key)?;
            self.keys.insert((caller, key_use), &key);
            self.env().emit_event(KeySet { participant: caller, key_use });
            Ok(())
        }

        /// Adds a device of the caller by its Ed25519 public key; gives its id, the SHA-256 of the key. It is active at once.
        ///
        /// Caller: a participant registered as patient. Event: [`DeviceRegistered`].
        ///
        /// # Errors
        /// `NotAuthorised`, `InvalidKey` for the all-zero key, `InvalidCategories`, `AlreadyExists`, `TooManyDevices`.
        #[ink(message)]
        pub fn register_device(&mut self, public_key: [u8; 32], categories: Categories) -> Result<DeviceId, Error> {
            let caller = self.caller();
            let position = self.device_counts.get(caller).unwrap_or(0);
            let (device_id, device, count) = transition::register_device(
                &caller,
                self.participants.get(caller).as_ref(),
                self.devices.get(DeviceId::of_public_key(&public_key)).as_ref(),
                position,
                (public_key, categories),
                self.now_ms(),
            )?;
            self.devices.insert(device_id, &device);
            self.devices_by_owner.insert((caller, position), &device_id);
            self.device_counts.insert(caller, &count);
            self.env().emit_event(DeviceRegistered { owner: caller, device: device_id, categories });
            Ok(device_id)
        }

        /// Changes the status of one of the caller's devices; revoked is final.
        ///
        /// Caller: the device's owner. Event: [`DeviceStatusChanged`], also when the status stays as it was.
        ///
        /// # Errors
        /// `NotFound`, `NotAuthorised`, `DeviceRevoked`.
        #[ink(message)]
        pub fn set_device_status(&mut self, device: DeviceId, status: DeviceStatus) -> Result<(), Error> {
            let caller = self.caller();
            let changed = transition::set_device_status(&caller, self.devices.get(device), status)?;
            self.devices.insert(device, &changed);
            self.env().emit_event(DeviceStatusChanged { owner: caller, device, status });
            Ok(())
        }

        /// Puts another set of oracles in force: any `threshold` of `members` (compressed secp256k1 keys) sign batches. Gives its version.
        ///
        /// Caller: the admin. Event: [`OraclesSet`].
        ///
        /// # Errors
        /// `NotAuthorised`, `InvalidOracleSet`, `Overflow`.
        #[ink(message)]
        pub fn set_oracles(&mut self, threshold: u8, members: Vec<OracleKey>) -> Result<u32, Error> {
            self.require_admin()?;
            self.oracles = transition::set_oracles(self.oracles.version, threshold, members)?;
            let version = self.oracles.version;
            self.env().emit_event(OraclesSet { version, threshold, members: self.oracles.members.clone() });
            Ok(version)
        }

        /// Puts a detector model forward. `id`, `data_hash`, `metrics_hash`: SHA-256 of its weights, training data and evaluation report.
        ///
        /// Caller: the admin, who is the approver. Event: [`ModelApproved`].
        ///
        /// # Errors
        /// `NotAuthorised`, `InvalidModel` for the all-zero id, `AlreadyExists`.
        #[ink(message)]
        pub fn approve_model(
            &mut self,
            id: ModelId,
            kind: DetectorKind,
            data_hash: [u8; 32],
            metrics_hash: [u8; 32],
        ) -> Result<(), Error> {
            let approver = self.require_admin()?;
            let model = Model { kind, data_hash, metrics_hash, approver, approved_at_ms: self.now_ms() };
            let model = transition::approve_model(self.models.get(id).as_ref(), &id, model)?;
            self.models.insert(id, &model);
            self.env().emit_event(ModelApproved { model: id, kind, approver });
            Ok(())
        }

        /// Takes an approved model into use for its kind.
        ///
        /// Caller: the admin. Event: [`ModelActivated`].
        ///
        /// # Errors
        /// `NotAuthorised`, `NotFound`, `AlreadyExists` if it is in use.
        #[ink(message)]
        pub fn activate_model(&mut self, id: ModelId) -> Result<(), Error> {
            self.require_admin()?;
            let model = self.models.get(id);
            let active = model.as_ref().and_then(|model| self.active_models.get(model.kind));
            let (kind, active) = transition::activate_model(model.as_ref(), active.as_ref(), id)?;
            self.active_models.insert(kind, &active);
            self.env().emit_event(ModelActivated { model: id, kind, rolled_back: false });
            Ok(())
        }

        /// Returns to the model of this kind that was in use before, one step.
        ///
        /// Caller: the admin. Event: [`ModelActivated`] with `rolled_back`.
        ///
        /// # Errors
        /// `NotAuthorised`, `NothingToRollBack`.
        #[ink(message)]
        pub fn roll_back_model(&mut self, kind: DetectorKind) -> Result<(), Error> {
            self.require_admin()?;
            let active = transition::roll_back_model(self.active_models.get(kind).as_ref())?;
            self.active_models.insert(kind, &active);
            self.env().emit_event(ModelActivated { model: active.current, kind, rolled_back: true });
            Ok(())
        }

        /// Proposes a successor, who must accept; replaces an earlier proposal. Proposing oneself takes a proposal back.
        ///
        /// Caller: the admin. Event: [`AdminProposed`].
        ///
        /// # Errors
        /// `NotAuthorised`.
        #[ink(message)]
        pub fn propose_admin(&mut self, account: AccountId) -> Result<(), Error> {
            self.require_admin()?;
            self.proposed_admin = Some(account);
            self.env().emit_event(AdminProposed { proposed: principal(account) });
            Ok(())
        }

        /// Makes the proposed account the admin.
        ///
        /// Caller: the proposed account. Event: [`AdminChanged`].
        ///
        /// # Errors
        /// `NotProposed`.
        #[ink(message)]
        pub fn accept_admin(&mut self) -> Result<(), Error> {
            let caller = self.caller();
            transition::accept_admin(&caller, self.proposed_admin.map(principal).as_ref())?;
            let from = principal(self.admin);
            self.admin = self.env().caller();
            self.proposed_admin = None;
            self.env().emit_event(AdminChanged { from, to: caller });
            Ok(())
        }

        /// The admin. Anybody may ask, as with all the questions below.
        #[ink(message)]
        pub fn admin(&self) -> AccountId {
            self.admin
        }

        /// Who may accept to become admin.
        #[ink(message)]
        pub fn proposed_admin(&self) -> Option<AccountId> {
            self.proposed_admin
        }

        /// A participant's role and when it registered.
        #[ink(message)]
        pub fn participant(&self, participant: Principal) -> Option<Participant> {
            self.participants.get(participant)
        }

        /// A participant's public key of one use.
        #[ink(message)]
        pub fn key(&self, participant: Principal, key_use: KeyUse) -> Option<PublicKey> {
            self.keys.get((participant, key_use))
        }

        /// A device by its id.
        #[ink(message)]
        pub fn device(&self, id: DeviceId) -> Option<Device> {
            self.devices.get(id)
        }

        /// A patient's devices in the order of registration, from `offset`, at most `limit` of them and at most `PAGE_MAX`.
        #[ink(message)]
        pub fn devices_of(&self, owner: Principal, offset: u32, limit: u32) -> Vec<DeviceId> {
            let end = offset.saturating_add(limit.min(PAGE_MAX));
            (offset..end).map_while(|position| self.devices_by_owner.get((owner, position))).collect()
        }

        /// The oracle set in force.
        #[ink(message)]
        pub fn oracles(&self) -> OracleSet {
            self.oracles.clone()
        }

        /// An approved model.
        #[ink(message)]
        pub fn model(&self, id: ModelId) -> Option<Model> {
            self.models.get(id)
        }

        /// The model in use of one kind, and the one before it.
        #[ink(message)]
        pub fn active_model(&self, kind: DetectorKind) -> Option<ActiveModel> {
            self.active_models.get(kind)
        }

        fn caller(&self) -> Principal {
            principal(self.env().caller())
        }

        fn now_ms(&self) -> u64 {
            self.env().block_timestamp()
        }

        fn require_admin(&self) -> Result<Principal, Error> {
            let caller = self.caller();
            transition::require_admin(&caller, &principal(self.admin))?;
            Ok(caller)
        }
    }

    /// The account's 32 bytes as they are.
    fn principal(account: AccountId) -> Principal {
        Principal(*account.as_ref())
    }
}

#[cfg(test)]
mod tests;
