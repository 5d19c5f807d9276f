//! Random sequences of calls against a plain model: a flat list of grants in which everything is searched anew at every step.

use std::collections::HashMap;

use k256::ecdsa::SigningKey;
use pulsegate_rules::consent::{Grant, KeyDirectory};
use pulsegate_rules::eip712::Validity;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;

use super::wallet::{address, domain, sign, wallet};
use super::*;

const STEPS: usize = 2_000;
/// Calls between changes of the mood: in every other stretch few grants are revoked, so that pairs fill up to their limits.
const STRETCH: usize = 500;
const STANDING_MAX: usize = 32;
const REVOKED_SEEN_MAX: usize = 32;

#[derive(Default, Clone)]
struct Person {
    generation: u32,
    directory: Option<CidBytes>,
    nonce: u64,
    wallet: Option<[u8; 20]>,
}

#[derive(Default)]
struct Model {
    now_ms: u64,
    grants: Vec<Grant>,
    /// In the order of revocation.
    revocations: Vec<GrantId>,
    people: HashMap<Principal, Person>,
    events: usize,
    /// How often a full pair refused.
    full: usize,
}

impl Model {
    fn person(&mut self, who: Principal) -> &mut Person {
        self.people.entry(who).or_default()
    }

    fn between(&self, patient: Principal, grantee: Principal) -> Vec<Grant> {
        let of_pair = |grant: &&Grant| grant.patient == patient && grant.request.grantee == grantee;
        let standing = self.grants.iter().filter(of_pair).filter(|grant| grant.revoked_at_ms.is_none());
        let revoked: Vec<_> =
            self.revocations.iter().map(|id| &self.grants[id.0 as usize - 1]).filter(of_pair).collect();
        let seen = &revoked[revoked.len().saturating_sub(REVOKED_SEEN_MAX)..];
        standing.chain(seen.iter().copied()).cloned().collect()
    }

    fn grant(&mut self, patient: Principal, request: GrantRequest) -> Result<GrantId, Error> {
        let generation = self.person(patient).generation;
        let hours = |second: u64| second / HOUR_S * HOUR_S == second && second <= 60_397_977_600;
        let good_keys = match request.wrapped_keys {
            None => request.effect == Effect::Deny,
            Some(cid) => request.effect == Effect::Permit && cid.0.starts_with(&[1, 0x71, 0x12, 0x20]),
        };
        let standing = |grant: &&Grant| {
            grant.patient == patient && grant.request.grantee == request.grantee && grant.revoked_at_ms.is_none()
        };
        let refusals = [
            (request.grantee == patient, Error::SelfGrant),
            (!(1..=0b1_1111).contains(&request.categories.0), Error::InvalidCategories),
            (!(1..=0b111_1111).contains(&request.purposes.0), Error::InvalidPurposes),
            (
                !hours(request.from_s) || !hours(request.until_s) || request.from_s >= request.until_s,
                Error::InvalidWindow,
            ),
            (!good_keys, Error::InvalidWrappedKeys),
            (request.generation.0 != generation, Error::StaleGeneration),
            (self.grants.iter().filter(standing).count() == STANDING_MAX, Error::TooManyGrants),
        ];
        if let Some((_, error)) = refusals.into_iter().find(|(refused, _)| *refused) {
            self.full += usize::from(error == Error::TooManyGrants);
            return Err(error);
        }
        let id = GrantId(self.grants.len() as u64 + 1);
        self.grants.push(Grant { id, patient, request, granted_at_ms: self.now_ms, revoked_at_ms: None });
        self.events += 1;
        Ok(id)
    }

    fn standing_of(&mut self, patient: Principal, id: GrantId) -> Result<&mut Grant, Error> {
        let index = (id.0 as usize).checked_sub(1).ok_or(Error::NotFound)?;
        let grant = self.grants.get_mut(index).ok_or(Error::NotFound)?;
        match grant {
            grant if grant.patient != patient => Err(Error::NotAuthorised),
            grant if grant.revoked_at_ms.is_some() => Err(Error::AlreadyRevoked),
            grant => Ok(grant),
        }
    }

    fn revoke(&mut self, patient: Principal, id: GrantId) -> Result<(), Error> {
        let now_ms = self.now_ms;
        self.standing_of(patient, id)?.revoked_at_ms = Some(now_ms);
        self.revocations.push(id);
        self.events += 1;
        Ok(())
    }

    fn rewrap(&mut self, patient: Principal, id: GrantId, generation: Generation, keys: CidBytes) -> Result<(), Error> {
        let current = self.person(patient).generation;
        let grant = self.standing_of(patient, id)?;
        if grant.request.effect == Effect::Deny {
            return Err(Error::InvalidWrappedKeys);
        }
        if generation.0 != current {
            return Err(Error::StaleGeneration);
        }
        grant.request.wrapped_keys = Some(keys);
        grant.request.generation = generation;
        self.events += 1;
        Ok(())
    }

    /// Deny by default, denial first, then the lowest permit, else the nearest miss.
    fn decide(
        &self,
        patient: Principal,
        grantee: Principal,
        category: Category,
        purpose: Purpose,
        at_s: u64,
    ) -> Decision {
        if patient == grantee {
            return Decision::Permit(None);
        }
        let grants = self.between(patient, grantee);
        let covers = |grant: &&Grant| {
            let request = &grant.request;
            grant.revoked_at_ms.is_none()
                && request.categories.contains(category)
                && request.purposes.contains(purpose)
                && (request.from_s..request.until_s).contains(&at_s)
        };
        let is_permit = |grant: &&Grant| grant.request.effect == Effect::Permit;
        if grants.iter().filter(covers).any(|grant| grant.request.effect == Effect::Deny) {
            return Decision::Deny(DenyReason::DeniedByPatient);
        }
        if let Some(id) = grants.iter().filter(covers).filter(is_permit).map(|grant| grant.id).min() {
            return Decision::Permit(Some(id));
        }
        let permits: Vec<_> = grants.iter().filter(is_permit).collect();
        let standing: Vec<_> = permits.iter().filter(|grant| grant.revoked_at_ms.is_none()).collect();
        let in_category: Vec<_> = standing.iter().filter(|grant| grant.request.categories.contains(category)).collect();
        Decision::Deny(if permits.is_empty() {
            DenyReason::NoGrant
        } else if standing.is_empty() {
            DenyReason::Revoked
        } else if in_category.is_empty() {
            DenyReason::CategoryNotCovered
        } else if !in_category.iter().any(|grant| grant.request.purposes.contains(purpose)) {
            DenyReason::PurposeNotCovered
        } else {
            DenyReason::OutsideWindow
        })
    }
}

struct Run {
    rng: StdRng,
    consent: Consent,
    model: Model,
    wallets: Vec<SigningKey>,
    patients: Vec<Principal>,
    grantees: Vec<Principal>,
}

impl Run {
    fn new(mut rng: StdRng) -> Self {
        let wallets: Vec<_> = (20..23).map(wallet).collect();
        let patients = vec![PATIENT, Principal([4; 32]), Principal::of_ethereum_address(&address(&wallets[0]))];
        // One of them more often, so that its pairs fill up.
        let grantees = vec![READER, READER, READER, READER, Principal([5; 32]), PATIENT];
        let now_ms = rng.gen_range(0..1 << 40);
        let model = Model { now_ms, ..Model::default() };
        Self { rng, consent: contract_at(now_ms), model, wallets, patients, grantees }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    fn patient(&mut self) -> Principal {
        *self.patients.choose(&mut self.rng).unwrap()
    }

    fn caller(&mut self) -> Principal {
        let caller = self.patient();
        call_as(caller);
        caller
    }

    fn request(&mut self, patient: Principal) -> GrantRequest {
        let from_s = self.rng.gen_range(0..20) * HOUR_S;
        let effect = if self.rng.gen_ratio(1, 4) { Effect::Deny } else { Effect::Permit };
        let mut request = GrantRequest {
            grantee: *self.grantees.choose(&mut self.rng).unwrap(),
            effect,
            categories: Categories(self.rng.gen_range(1..=0b1_1111)),
            purposes: Purposes(self.rng.gen_range(1..=0b111_1111)),
            from_s,
            until_s: from_s + self.rng.gen_range(1..6) * HOUR_S,
            wrapped_keys: (effect == Effect::Permit).then(|| cid(self.rng.gen())),
            generation: Generation(self.model.person(patient).generation),
        };
        match self.rng.gen_range(0..40) {
            0 => request.categories = Categories(self.one(&[0, 1 << 5, u16::MAX])),
            1 => request.purposes = Purposes(self.one(&[0, 1 << 7, u16::MAX])),
            2 => request.from_s += 1,
            3 => request.until_s = self.one(&[request.from_s, u64::MAX, u64::MAX / HOUR_S * HOUR_S]),
            4 => request.wrapped_keys = self.one(&[None, Some(cid(1)), Some(CidBytes([1; 36]))]),
            5 => request.generation.0 ^= 1,
            _ => {}
        }
        request
    }

    fn grant_id(&mut self) -> GrantId {
        GrantId(self.rng.gen_range(0..self.model.grants.len() as u64 + 2))
    }

    /// A standing grant of the patient, if there is one: random numbers alone would rarely hit.
    fn standing(&mut self, patient: Principal) -> GrantId {
        let own = |grant: &&Grant| grant.patient == patient && grant.revoked_at_ms.is_none();
        let ids: Vec<_> = self.model.grants.iter().filter(own).map(|grant| grant.id).collect();
        ids.choose(&mut self.rng).copied().unwrap_or(GrantId(1))
    }

    fn step(&mut self, revoke_percent: u32) {
        self.model.now_ms += self.rng.gen_range(0..5_000);
        set_time(self.model.now_ms);
        match self.rng.gen_range(0..100) {
            0..10 => self.signed(),
            10..14 => {
                let caller = self.caller();
                let wallet = self.one(&[0, 1, 2]);
                let linked = self.rng.gen_ratio(3, 4).then(|| address(&self.wallets[wallet]));
                assert_eq!(self.consent.set_wallet(linked), Ok(()));
                let person = self.model.person(caller);
                (person.wallet, person.nonce) = (linked, person.nonce + 1);
                self.model.events += 1;
            }
            14..17 => {
                let caller = self.caller();
                let person = self.model.person(caller);
                let generation = Generation(person.generation + u32::from(self.rng.gen_ratio(3, 4)));
                let good = generation.0 == person.generation + 1;
                let expected = if good { Ok(()) } else { Err(Error::StaleGeneration) };
                assert_eq!(self.consent.rotate(generation, cid(3)), expected);
                if good {
                    (person.generation, person.directory) = (generation.0, Some(cid(3)));
                    self.model.events += 2;
                }
            }
            17..20 => {
                let caller = self.caller();
                assert_eq!(self.consent.publish_directory(cid(4)), Ok(()));
                self.model.person(caller).directory = Some(cid(4));
                self.model.events += 1;
            }
            20..25 => {
                let caller = self.caller();
                let id = self.standing(caller);
                let generation = Generation(self.model.person(caller).generation ^ u32::from(self.rng.gen_ratio(1, 5)));
                let expected = self.model.rewrap(caller, id, generation, cid(5));
                assert_eq!(self.consent.rewrap(id, generation, cid(5)), expected);
            }
            25..30 => {
                let (caller, id) = (self.caller(), self.grant_id());
                assert_eq!(self.consent.revoke(id), self.model.revoke(caller, id));
            }
            roll if roll < 30 + revoke_percent => {
                let caller = self.caller();
                let id = self.standing(caller);
                assert_eq!(self.consent.revoke(id), self.model.revoke(caller, id));
            }
            _ => {
                let caller = self.caller();
                let request = self.request(caller);
                assert_eq!(self.consent.grant(request.clone()), self.model.grant(caller, request));
            }
        }
    }

    /// A message of a random wallet, at times with a wrong nonce or an old deadline.
    fn signed(&mut self) {
        call_as(STRANGER);
        let patient = self.patient();
        let person = self.model.person(patient).clone();
        let now_s = self.model.now_ms / 1_000;
        let nonce = person.nonce + u64::from(self.rng.gen_ratio(1, 6));
        let deadline_s = if self.rng.gen_ratio(1, 6) { now_s.saturating_sub(1) } else { now_s };
        let validity = Validity { nonce, deadline_s };
        let chosen = self.one(&[0, 1, 2]);
        let signer = &self.wallets[chosen];
        let may_sign =
            Principal::of_ethereum_address(&address(signer)) == patient || person.wallet == Some(address(signer));
        let refusal = [
            (deadline_s < now_s, Error::Expired),
            (nonce != person.nonce, Error::InvalidNonce),
            (!may_sign, Error::InvalidSignature),
        ];
        let refusal = refusal.into_iter().find(|(refused, _)| *refused).map(|(_, error)| error);
        let succeeded = if self.rng.gen() {
            let request = self.request(patient);
            let signature = sign(&self.wallets[chosen], &domain().grant_digest(&patient, &request, &validity));
            let result = self.consent.grant_signed(patient, request.clone(), nonce, deadline_s, signature);
            assert_eq!(result, refusal.map_or_else(|| self.model.grant(patient, request), Err));
            result.is_ok()
        } else {
            let id = self.standing(patient);
            let signature = sign(&self.wallets[chosen], &domain().revoke_digest(&patient, id, &validity));
            let result = self.consent.revoke_signed(patient, id, nonce, deadline_s, signature);
            assert_eq!(result, refusal.map_or_else(|| self.model.revoke(patient, id), Err));
            result.is_ok()
        };
        self.model.person(patient).nonce += u64::from(succeeded);
    }

    fn check(&mut self) {
        let patient = self.patient();
        let grantee = *self.grantees.choose(&mut self.rng).unwrap();
        assert_eq!(self.consent.grants_between(patient, grantee), self.model.between(patient, grantee));
        let (category, purpose) = (self.one(Category::ALL), self.one(Purpose::ALL));
        let moments: Vec<u64> = (0..4).map(|_| self.rng.gen_range(0..26 * HOUR_S)).collect();
        let expected: Vec<_> =
            moments.iter().map(|at_s| self.model.decide(patient, grantee, category, purpose, *at_s)).collect();
        assert_eq!(self.consent.decide(grantee, patient, category, purpose, moments[0]), expected[0]);
        assert_eq!(self.consent.decide_each(grantee, patient, category, purpose, moments), Ok(expected));
        let person = self.model.person(patient).clone();
        assert_eq!(self.consent.nonce(patient), person.nonce);
        assert_eq!(self.consent.wallet(patient), person.wallet);
        assert_eq!(self.consent.generation(patient), Generation(person.generation));
        let directory = person.directory.map(|cid| KeyDirectory { generation: Generation(person.generation), cid });
        assert_eq!(self.consent.directory(patient), directory);
        let (offset, limit) = (self.rng.gen_range(0..50), self.rng.gen_range(0..50));
        let page = |belongs: &dyn Fn(&Grant) -> bool| -> Vec<Grant> {
            let all = self.model.grants.iter().filter(|grant| belongs(grant));
            all.skip(offset).take(limit.min(32)).cloned().collect()
        };
        let (offset_u32, limit_u32) = (offset as u32, limit as u32);
        let of_patient = page(&|grant| grant.patient == patient);
        assert_eq!(self.consent.grants_of_patient(patient, offset_u32, limit_u32), of_patient);
        let to_grantee = page(&|grant| grant.request.grantee == grantee);
        assert_eq!(self.consent.grants_to(grantee, offset_u32, limit_u32), to_grantee);
        let id = self.grant_id();
        let expected = id.0.checked_sub(1).and_then(|index| self.model.grants.get(index as usize)).cloned();
        assert_eq!(self.consent.grant_of(id), expected);
    }
}

#[ink::test]
fn contract_does_what_a_plain_model_does_for_random_calls() {
    let mut run = Run::new(seed::seeded("consent against its model"));
    for step in 0..STEPS {
        run.step(if (step / STRETCH) % 2 == 0 { 5 } else { 45 });
        run.check();
    }
    assert_eq!(events_count(), run.model.events);
    let seen = |grant: &Grant| run.model.between(grant.patient, grant.request.grantee).len();
    assert!(run.model.grants.iter().any(|grant| seen(grant) > REVOKED_SEEN_MAX), "the calls fill the revoked ones");
    assert!(run.model.full > 0, "the calls fill the standing ones");
}
