//! The consent contract: who may read what, for which purpose, over which time.
//!
//! The patient alone grants and revokes, with its own account or by an EIP-712 message of its wallet that anybody may relay. There is no
//! admin, no upgrade and no way around the patient. The rules are in `pulsegate_rules::consent`; this file wires caller, time, storage and
//! events. Deny by default, a denial wins over every permit. It must hold nothing but accounts, codes, windows, and CIDs of ciphertext.
#![cfg_attr(not(feature = "std"), no_std, no_main)]

#[ink::contract]
mod consent {
    use ink::prelude::vec::Vec;
    use ink::storage::Mapping;
    use pulsegate_rules::consent::transition::{self, PairIndex, PatientState};
    use pulsegate_rules::consent::{self as rules, Decision, Error, Grant, GrantRequest, KeyDirectory};
    use pulsegate_rules::eip712::{Domain, Validity};
    use pulsegate_rules::{signature, Category, CidBytes, Generation, GrantId, Principal, Purpose, PAGE_MAX};

    /// A patient permits or forbids.
    #[ink(event)]
    pub struct ConsentGranted {
        /// Whose data.
        #[ink(topic)]
        pub patient: Principal,
        /// Who may, or may not, read.
        #[ink(topic)]
        pub grantee: Principal,
        /// The grant's number.
        #[ink(topic)]
        pub grant: GrantId,
    }

    /// A patient took a grant back.
    #[ink(event)]
    pub struct ConsentRevoked {
        /// Whose data.
        #[ink(topic)]
        pub patient: Principal,
        /// Who was named by the grant.
        #[ink(topic)]
        pub grantee: Principal,
        /// The grant's number.
        #[ink(topic)]
        pub grant: GrantId,
    }

    /// A standing grant points at newly wrapped keys.
    #[ink(event)]
    pub struct KeysRewrapped {
        /// Whose data.
        #[ink(topic)]
        pub patient: Principal,
        /// Who may read.
        #[ink(topic)]
        pub grantee: Principal,
        /// The grant's number.
        #[ink(topic)]
        pub grant: GrantId,
        /// Of this generation.
        pub generation: Generation,
    }

    /// A patient went on to a new key tree.
    #[ink(event)]
    pub struct KeysRotated {
        /// Whose.
        #[ink(topic)]
        pub patient: Principal,
        /// The generation from now on.
        pub generation: Generation,
    }

    /// A patient published the public keys of its generation.
    #[ink(event)]
    pub struct DirectoryPublished {
        /// Whose.
        #[ink(topic)]
        pub patient: Principal,
        /// The generation.
        pub generation: Generation,
        /// The signed directory object.
        pub directory: CidBytes,
    }

    /// A patient linked a wallet, or unlinked it.
    #[ink(event)]
    pub struct WalletSet {
        /// Whose.
        #[ink(topic)]
        pub patient: Principal,
        /// The Ethereum address that may sign from now on.
        pub wallet: Option<[u8; 20]>,
    }

    /// Grants and what patients publish. Every cell is bounded; lists are one cell an entry.
    #[ink(storage)]
    pub struct Consent {
        chain_id: u64,
        last_grant: GrantId,
        grants: Mapping<GrantId, Grant>,
        patients: Mapping<Principal, PatientState>,
        /// By patient and grantee.
        pairs: Mapping<(Principal, Principal), PairIndex>,
        patient_counts: Mapping<Principal, u32>,
        grants_by_patient: Mapping<(Principal, u32), GrantId>,
        grantee_counts: Mapping<Principal, u32>,
        grants_by_grantee: Mapping<(Principal, u32), GrantId>,
    }

    impl Consent {
        /// Deploys without any grant. `chain_id` is the deployment's: signed messages of another chain do not count here.
        #[ink(constructor)]
        pub fn new(chain_id: u64) -> Self {
            Self {
                chain_id,
                last_grant: GrantId(0),
                grants: Mapping::default(),
                patients: Mapping::default(),
                pairs: Mapping::default(),
                patient_counts: Mapping::default(),
                grants_by_patient: Mapping::default(),
                grantee_counts: Mapping::default(),
                grants_by_grantee: Mapping::default(),
            }
        }

        /// Grants, or forbids; gives the number of the grant. Times are Unix seconds and whole epochs.
        ///
        /// Caller: anybody, over its own data. Event: [`ConsentGranted`].
        ///
        /// # Errors
        /// `SelfGrant`, `InvalidCategories`, `InvalidPurposes`, `InvalidWindow`, `InvalidWrappedKeys`, `StaleGeneration`,
        /// `TooManyGrants`, `Overflow`, in this order.
        #[ink(message)]
        pub fn grant(&mut self, request: GrantRequest) -> Result<GrantId, Error> {
            let patient = self.caller();
            self.record_grant(patient, &self.state(patient), request)
        }

        /// Takes a grant back; it permits nothing from the next block on, whatever the time of the data.
        ///
        /// Caller: the patient of the grant. Event: [`ConsentRevoked`].
        ///
        /// # Errors
        /// `NotFound`, `NotAuthorised`, `AlreadyRevoked`, in this order.
        #[ink(message)]
        pub fn revoke(&mut self, grant: GrantId) -> Result<(), Error> {
            self.record_revocation(self.caller(), grant)
        }

        /// Points a standing permit at keys wrapped anew, of the current generation.
        ///
        /// Caller: the patient of the grant. Event: [`KeysRewrapped`].
        ///
        /// # Errors
        /// `NotFound`, `NotAuthorised`, `AlreadyRevoked`, `InvalidWrappedKeys` (also for a denial), `StaleGeneration`, in this order.
        #[ink(message)]
        pub fn rewrap(&mut self, grant: GrantId, generation: Generation, wrapped_keys: CidBytes) -> Result<(), Error> {
            let patient = self.caller();
            let changed =
                transition::rewrap(&patient, &self.state(patient), self.grants.get(grant), generation, wrapped_keys)?;
            self.grants.insert(grant, &changed);
            self.env().emit_event(KeysRewrapped { patient, grantee: changed.request.grantee, grant, generation });
            Ok(())
        }

        /// Goes on to the next key tree, and publishes its directory. Grants stay; those to keep are re-wrapped by [`Consent::rewrap`].
        ///
        /// Caller: anybody, for itself. Events: [`KeysRotated`], [`DirectoryPublished`].
        ///
        /// # Errors
        /// `InvalidDirectory`, `Overflow`, `StaleGeneration` unless `generation` is the current one plus one, in this order.
        #[ink(message)]
        pub fn rotate(&mut self, generation: Generation, directory: CidBytes) -> Result<(), Error> {
            let patient = self.caller();
            let state = transition::rotate(self.state(patient), generation, directory)?;
            self.patients.insert(patient, &state);
            self.env().emit_event(KeysRotated { patient, generation });
            self.env().emit_event(DirectoryPublished { patient, generation, directory });
            Ok(())
        }

        /// Publishes the signed directory of the current generation's public keys; replaces the earlier one.
        ///
        /// Caller: anybody, for itself. Event: [`DirectoryPublished`].
        ///
        /// # Errors
        /// `InvalidDirectory`.
        #[ink(message)]
        pub fn publish_directory(&mut self, directory: CidBytes) -> Result<(), Error> {
            let patient = self.caller();
            let state = transition::publish_directory(self.state(patient), directory)?;
            self.patients.insert(patient, &state);
            self.env().emit_event(DirectoryPublished { patient, generation: state.generation, directory });
            Ok(())
        }

        /// Links the Ethereum wallet that may sign for the caller, replaces it, or unlinks it with `None`. It uses up a nonce, so messages
        /// signed before no longer count.
        ///
        /// Caller: anybody, for itself. Event: [`WalletSet`].
        ///
        /// # Errors
        /// `Overflow`.
        #[ink(message)]
        pub fn set_wallet(&mut self, address: Option<[u8; 20]>) -> Result<(), Error> {
            let patient = self.caller();
            let state = transition::set_wallet(self.state(patient), address)?;
            self.patients.insert(patient, &state);
            self.env().emit_event(WalletSet { patient, wallet: address });
            Ok(())
        }

        /// Grants by a wallet's EIP-712 message. `deadline_s`: last valid second, Unix seconds, compared with the block's time.
        /// `signature`: `r ‖ s ‖ v`, low `s`, `v` of 0, 1, 27 or 28. A success uses the nonce up; a refusal changes nothing.
        ///
        /// Caller: anybody relays; the signer must be the patient's own address or its linked wallet. Event: [`ConsentGranted`].
        ///
        /// # Errors
        /// `Expired`, `InvalidNonce`, `InvalidSignature`, `Overflow`, then those of [`Consent::grant`].
        #[ink(message)]
        pub fn grant_signed(
            &mut self,
            patient: Principal,
            request: GrantRequest,
            nonce: u64,
            deadline_s: u64,
            signature: [u8; 65],
        ) -> Result<GrantId, Error> {
            let validity = Validity { nonce, deadline_s };
            let state = self.state(patient);
            transition::check_validity(&state, &validity, self.now_ms())?;
            let digest = self.domain().grant_digest(&patient, &request, &validity);
            let state = transition::accept_signer(&patient, state, self.recover(&digest, &signature))?;
            let id = self.record_grant(patient, &state, request)?;
            self.patients.insert(patient, &state);
            Ok(id)
        }

        /// Revokes by a wallet's EIP-712 message; units as in [`Consent::grant_signed`].
        ///
        /// Caller: anybody relays; the signer must be the patient's own address or its linked wallet. Event: [`ConsentRevoked`].
        ///
        /// # Errors
        /// `Expired`, `InvalidNonce`, `InvalidSignature`, `Overflow`, then those of [`Consent::revoke`].
        #[ink(message)]
        pub fn revoke_signed(
            &mut self,
            patient: Principal,
            grant: GrantId,
            nonce: u64,
            deadline_s: u64,
            signature: [u8; 65],
        ) -> Result<(), Error> {
            let validity = Validity { nonce, deadline_s };
            let state = self.state(patient);
            transition::check_validity(&state, &validity, self.now_ms())?;
            let digest = self.domain().revoke_digest(&patient, grant, &validity);
            let state = transition::accept_signer(&patient, state, self.recover(&digest, &signature))?;
            self.record_revocation(patient, grant)?;
            self.patients.insert(patient, &state);
            Ok(())
        }

        /// Whether `grantee` may read data of `patient` measured at `at_s` (Unix seconds). Anybody may ask, as with all the questions below.
        #[ink(message)]
        pub fn decide(
            &self,
            grantee: Principal,
            patient: Principal,
            category: Category,
            purpose: Purpose,
            at_s: u64,
        ) -> Decision {
            rules::decide(&self.grants_between(patient, grantee), &grantee, &patient, category, purpose, at_s)
        }

        /// [`Consent::decide`] for many moments, answered in their order.
        ///
        /// # Errors
        /// `TooMany` for more than `DECISIONS_MAX` moments.
        #[ink(message)]
        pub fn decide_each(
            &self,
            grantee: Principal,
            patient: Principal,
            category: Category,
            purpose: Purpose,
            at_s: Vec<u64>,
        ) -> Result<Vec<Decision>, Error> {
            transition::check_moments(at_s.len())?;
            let grants = self.grants_between(patient, grantee);
            let decide = |at_s| rules::decide(&grants, &grantee, &patient, category, purpose, at_s);
            Ok(at_s.into_iter().map(decide).collect())
        }

        /// A grant by its number, standing or revoked.
        #[ink(message)]
        pub fn grant_of(&self, id: GrantId) -> Option<Grant> {
            self.grants.get(id)
        }

        /// What a decision looks at: all standing grants between the two in the order of granting, then the newest `REVOKED_PER_PAIR_MAX`
        /// revoked ones in the order of revocation. Older revoked ones are found by [`Consent::grants_of_patient`].
        #[ink(message)]
        pub fn grants_between(&self, patient: Principal, grantee: Principal) -> Vec<Grant> {
            let pair = self.pairs.get((patient, grantee)).unwrap_or_default();
            pair.standing.iter().chain(&pair.revoked).filter_map(|id| self.grants.get(id)).collect()
        }

        /// Every grant that a patient ever gave, in order, from `offset`, at most `limit` of them and at most `PAGE_MAX`.
        #[ink(message)]
        pub fn grants_of_patient(&self, patient: Principal, offset: u32, limit: u32) -> Vec<Grant> {
            self.page(offset, limit, |position| self.grants_by_patient.get((patient, position)))
        }

        /// Every grant that ever named a grantee, in order, from `offset`, at most `limit` of them and at most `PAGE_MAX`.
        #[ink(message)]
        pub fn grants_to(&self, grantee: Principal, offset: u32, limit: u32) -> Vec<Grant> {
            self.page(offset, limit, |position| self.grants_by_grantee.get((grantee, position)))
        }

        /// Where the patient's epoch public keys are; `None` until it published them.
        #[ink(message)]
        pub fn directory(&self, patient: Principal) -> Option<KeyDirectory> {
            let state = self.state(patient);
            state.directory.map(|cid| KeyDirectory { generation: state.generation, cid })
        }

        /// The patient's generation, from 0.
        #[ink(message)]
        pub fn generation(&self, patient: Principal) -> Generation {
            self.state(patient).generation
        }

        /// What the patient's next signed message must carry, from 0.
        #[ink(message)]
        pub fn nonce(&self, patient: Principal) -> u64 {
            self.state(patient).nonce
        }

        /// The patient's linked wallet.
        #[ink(message)]
        pub fn wallet(&self, patient: Principal) -> Option<[u8; 20]> {
            self.state(patient).wallet
        }

        /// The deployment's chain id, as signed messages carry it.
        #[ink(message)]
        pub fn chain_id(&self) -> u64 {
            self.chain_id
        }

        fn record_grant(
            &mut self,
            patient: Principal,
            state: &PatientState,
            request: GrantRequest,
        ) -> Result<GrantId, Error> {
            let grantee = request.grantee;
            let mut pair = self.pairs.get((patient, grantee)).unwrap_or_default();
            let grant = transition::grant(&patient, state, &mut pair, self.last_grant, request, self.now_ms())?;
            let of_patient = self.patient_counts.get(patient).unwrap_or(0);
            let to_grantee = self.grantee_counts.get(grantee).unwrap_or(0);
            let next_of_patient = of_patient.checked_add(1).ok_or(Error::Overflow)?;
            let next_to_grantee = to_grantee.checked_add(1).ok_or(Error::Overflow)?;
            self.last_grant = grant.id;
            self.grants.insert(grant.id, &grant);
            self.pairs.insert((patient, grantee), &pair);
            self.grants_by_patient.insert((patient, of_patient), &grant.id);
            self.patient_counts.insert(patient, &next_of_patient);
            self.grants_by_grantee.insert((grantee, to_grantee), &grant.id);
            self.grantee_counts.insert(grantee, &next_to_grantee);
            self.env().emit_event(ConsentGranted { patient, grantee, grant: grant.id });
            Ok(grant.id)
        }

        fn record_revocation(&mut self, patient: Principal, grant: GrantId) -> Result<(), Error> {
            let present = self.grants.get(grant);
            let grantee = present.as_ref().map(|grant| grant.request.grantee).ok_or(Error::NotFound)?;
            let mut pair = self.pairs.get((patient, grantee)).unwrap_or_default();
            let revoked = transition::revoke(&patient, present, &mut pair, self.now_ms())?;
            self.grants.insert(grant, &revoked);
            self.pairs.insert((patient, grantee), &pair);
            self.env().emit_event(ConsentRevoked { patient, grantee, grant });
            Ok(())
        }

        fn page(&self, offset: u32, limit: u32, id_at: impl Fn(u32) -> Option<GrantId>) -> Vec<Grant> {
            let end = offset.saturating_add(limit.min(PAGE_MAX));
            (offset..end).map_while(id_at).filter_map(|id| self.grants.get(id)).collect()
        }

        fn state(&self, patient: Principal) -> PatientState {
            self.patients.get(patient).unwrap_or_default()
        }

        fn caller(&self) -> Principal {
            Principal(*self.env().caller().as_ref())
        }

        fn now_ms(&self) -> u64 {
            self.env().block_timestamp()
        }

        fn domain(&self) -> Domain {
            Domain { chain_id: self.chain_id, contract: Principal(*self.env().account_id().as_ref()) }
        }

        /// The Ethereum address that signed the digest; `None` if the signature has not the accepted form or recovers nobody.
        fn recover(&self, digest: &[u8; 32], signature: &[u8; 65]) -> Option<[u8; 20]> {
            let normal = signature::normalise(signature)?;
            let key = self.env().ecdsa_recover(&normal, digest).ok()?;
            self.env().ecdsa_to_eth_address(&key).ok()
        }
    }
}

#[cfg(test)]
mod tests;
