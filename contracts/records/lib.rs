//! The records contract: what was stored and when, as batches chained one to the next per oracle and kind.
//!
//! A batch is anchored only with signatures of the threshold of the registry's oracles over its header, in order, on the newest batch.
//! Anybody may relay and anybody may read; nothing is ever changed or removed. The registry's admin may halt anchoring and resume it, and
//! can do nothing else. The rules are in `pulsegate_rules::records`; this file wires caller, time, storage, events and the registry.
#![cfg_attr(not(feature = "std"), no_std, no_main)]

#[ink::contract]
mod records {
    use ink::env::call::{build_call, ExecutionInput, Selector};
    use ink::env::DefaultEnvironment;
    use ink::prelude::vec::Vec;
    use ink::storage::Mapping;
    use pulsegate_rules::records::transition;
    use pulsegate_rules::records::{AnchoredBatch, BatchHead, BatchHeader, BatchKind, Error};
    use pulsegate_rules::registry::OracleSet;
    use pulsegate_rules::{signature, CidBytes, OracleKey, Principal, PAGE_MAX};

    /// The registry's message that answers with the oracle set.
    const ORACLES: [u8; 4] = ink::selector_bytes!("oracles");
    /// The registry's message that answers with the admin.
    const ADMIN: [u8; 4] = ink::selector_bytes!("admin");

    /// A batch is on chain.
    #[ink(event)]
    pub struct BatchAnchored {
        /// Whose chain of batches it extends.
        #[ink(topic)]
        pub oracle: Principal,
        /// What it holds.
        #[ink(topic)]
        pub kind: BatchKind,
        /// Its place, from 1.
        pub sequence: u64,
        /// Number of leaves.
        pub count: u32,
        /// The manifest of its leaves.
        pub manifest: CidBytes,
    }

    /// Nothing more is anchored.
    #[ink(event)]
    pub struct AnchoringHalted {
        /// The registry's admin who halted it.
        #[ink(topic)]
        pub by: Principal,
    }

    /// Batches are anchored again.
    #[ink(event)]
    pub struct AnchoringResumed {
        /// The registry's admin who resumed it.
        #[ink(topic)]
        pub by: Principal,
    }

    /// Batches and the newest of each chain of them. Every cell is bounded; lists are one cell an entry.
    #[ink(storage)]
    #[allow(clippy::type_complexity, reason = "the key says what a batch is found by")]
    pub struct Records {
        registry: AccountId,
        chain_id: u64,
        halted: bool,
        oracles_count: u32,
        oracles_seen: Mapping<u32, Principal>,
        is_seen: Mapping<Principal, ()>,
        heads: Mapping<(Principal, BatchKind), BatchHead>,
        batches: Mapping<(Principal, BatchKind, u64), AnchoredBatch>,
    }

    impl Records {
        /// Deploys without any batch. `registry`: the registry contract that is asked for oracles and admin, for ever. `chain_id`: the
        /// deployment's, part of what oracles sign.
        #[ink(constructor)]
        pub fn new(registry: AccountId, chain_id: u64) -> Self {
            Self {
                registry,
                chain_id,
                halted: false,
                oracles_count: 0,
                oracles_seen: Mapping::default(),
                is_seen: Mapping::default(),
                heads: Mapping::default(),
                batches: Mapping::default(),
            }
        }

        /// Anchors a batch. `signatures`: of different oracles over `header.signing_digest(chain_id, own account)`, `r ‖ s ‖ v` with low
        /// `s`; every one must be good, and at least the threshold of them must be there.
        ///
        /// Caller: anybody relays. Event: [`BatchAnchored`]. The registry is asked before anything is written, and cannot call back.
        ///
        /// # Errors
        /// `Halted`, `AlreadyAnchored`, `Overflow`, `SequenceGap`, `BrokenChain`, `InvalidCount`, `InvalidManifest`,
        /// `RegistryUnavailable`, `StaleOracleSet`, `InvalidSignature`, `BelowThreshold`, in this order.
        #[ink(message)]
        pub fn anchor(&mut self, header: BatchHeader, signatures: Vec<[u8; 65]>) -> Result<(), Error> {
            let (oracle, kind, sequence) = (header.oracle, header.kind, header.sequence);
            transition::check_header(self.halted, &self.head(oracle, kind), &header)?;
            let set = self.ask_oracles()?;
            let digest = header.signing_digest(self.chain_id, &Principal(*self.env().account_id().as_ref()));
            transition::check_quorum(&header, &set, signatures.iter().map(|signed| self.recover(&digest, signed)))?;
            self.see(oracle)?;
            self.heads.insert((oracle, kind), &transition::next_head(&header));
            self.env().emit_event(BatchAnchored {
                oracle,
                kind,
                sequence,
                count: header.count,
                manifest: header.manifest,
            });
            let batch = AnchoredBatch { header, anchored_at_ms: self.env().block_timestamp() };
            self.batches.insert((oracle, kind, sequence), &batch);
            Ok(())
        }

        /// Stops anchoring; halting again changes nothing.
        ///
        /// Caller: the registry's admin. Event: [`AnchoringHalted`].
        ///
        /// # Errors
        /// `RegistryUnavailable`, `NotAuthorised`.
        #[ink(message)]
        pub fn halt(&mut self) -> Result<(), Error> {
            let by = self.require_admin()?;
            self.halted = true;
            self.env().emit_event(AnchoringHalted { by });
            Ok(())
        }

        /// Lets batches be anchored again; resuming again changes nothing.
        ///
        /// Caller: the registry's admin. Event: [`AnchoringResumed`].
        ///
        /// # Errors
        /// `RegistryUnavailable`, `NotAuthorised`.
        #[ink(message)]
        pub fn resume(&mut self) -> Result<(), Error> {
            let by = self.require_admin()?;
            self.halted = false;
            self.env().emit_event(AnchoringResumed { by });
            Ok(())
        }

        /// An anchored batch. Anybody may ask, as with all the questions below.
        #[ink(message)]
        pub fn batch(&self, oracle: Principal, kind: BatchKind, sequence: u64) -> Option<AnchoredBatch> {
            self.batches.get((oracle, kind, sequence))
        }

        /// The newest batch of one oracle and kind; sequence zero and an all-zero digest before the first.
        #[ink(message)]
        pub fn head(&self, oracle: Principal, kind: BatchKind) -> BatchHead {
            self.heads.get((oracle, kind)).unwrap_or(BatchHead { sequence: 0, digest: [0; 32] })
        }

        /// Every oracle that ever anchored, in the order of its first batch, from `offset`, at most `limit` of them and at most `PAGE_MAX`.
        #[ink(message)]
        pub fn oracles_seen(&self, offset: u32, limit: u32) -> Vec<Principal> {
            let end = offset.saturating_add(limit.min(PAGE_MAX));
            (offset..end).map_while(|position| self.oracles_seen.get(position)).collect()
        }

        /// Whether anchoring is halted.
        #[ink(message)]
        pub fn halted(&self) -> bool {
            self.halted
        }

        /// The registry contract.
        #[ink(message)]
        pub fn registry(&self) -> AccountId {
            self.registry
        }

        /// The deployment's chain id, as signatures cover it.
        #[ink(message)]
        pub fn chain_id(&self) -> u64 {
            self.chain_id
        }

        /// Remembers an oracle at its first batch.
        fn see(&mut self, oracle: Principal) -> Result<(), Error> {
            if !self.is_seen.contains(oracle) {
                let position = self.oracles_count;
                self.oracles_count = position.checked_add(1).ok_or(Error::Overflow)?;
                self.oracles_seen.insert(position, &oracle);
                self.is_seen.insert(oracle, &());
            }
            Ok(())
        }

        /// The caller, if it is the registry's admin.
        fn require_admin(&self) -> Result<Principal, Error> {
            let caller = Principal(*self.env().caller().as_ref());
            transition::require_admin(&caller, &self.ask_admin()?)?;
            Ok(caller)
        }

        /// The oracle key that signed the digest; `None` if the signature has not the accepted form or recovers nobody.
        fn recover(&self, digest: &[u8; 32], signature: &[u8; 65]) -> Option<OracleKey> {
            let normal = signature::normalise(signature)?;
            self.env().ecdsa_recover(&normal, digest).ok().map(OracleKey)
        }

        /// Asks the registry; any failure to answer, and any answer that cannot be read, is `RegistryUnavailable`.
        /// The call carries no value and no right to call back into this contract.
        fn ask_oracles(&self) -> Result<OracleSet, Error> {
            build_call::<DefaultEnvironment>()
                .call_v1(self.registry)
                .exec_input(ExecutionInput::new(Selector::new(ORACLES)))
                .returns::<OracleSet>()
                .try_invoke()
                .map_err(|_| Error::RegistryUnavailable)?
                .map_err(|_| Error::RegistryUnavailable)
        }

        fn ask_admin(&self) -> Result<Principal, Error> {
            build_call::<DefaultEnvironment>()
                .call_v1(self.registry)
                .exec_input(ExecutionInput::new(Selector::new(ADMIN)))
                .returns::<Principal>()
                .try_invoke()
                .map_err(|_| Error::RegistryUnavailable)?
                .map_err(|_| Error::RegistryUnavailable)
        }
    }
}
