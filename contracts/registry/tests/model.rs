//! Random sequences of calls by random callers against a plain model of maps and lists.

use std::collections::HashMap;

use rand::seq::SliceRandom;
use rand::Rng;

use super::*;

const STEPS: usize = 1_500;
const KINDS: [DetectorKind; 2] = [DetectorKind::EcgBeats, DetectorKind::Traffic];

#[derive(Default)]
struct Model {
    admin: Option<Principal>,
    proposed: Option<Principal>,
    roles: HashMap<Principal, Role>,
    keys: HashMap<(Principal, KeyUse), PublicKey>,
    /// Owner, status; in the order of registration.
    devices: Vec<(DeviceId, Principal, DeviceStatus)>,
    oracle_versions: Vec<(u8, Vec<OracleKey>)>,
    models: HashMap<ModelId, DetectorKind>,
    /// The models that were in use, the newest last; a roll-back cuts the history to the one returned to.
    uses: HashMap<DetectorKind, Vec<ModelId>>,
    events: usize,
}

impl Model {
    fn admin_only(&self, caller: Principal) -> Result<(), Error> {
        if self.admin == Some(caller) {
            Ok(())
        } else {
            Err(Error::NotAuthorised)
        }
    }

    fn register_device(&mut self, caller: Principal, key: [u8; 32]) -> Result<DeviceId, Error> {
        let id = DeviceId::of_public_key(&key);
        if self.roles.get(&caller) != Some(&Role::Patient) {
            return Err(Error::NotAuthorised);
        }
        if self.devices.iter().any(|(known, ..)| *known == id) {
            return Err(Error::AlreadyExists);
        }
        if self.devices.iter().filter(|(_, owner, _)| *owner == caller).count() == 64 {
            return Err(Error::TooManyDevices);
        }
        self.devices.push((id, caller, DeviceStatus::Active));
        Ok(id)
    }

    fn set_status(&mut self, caller: Principal, id: DeviceId, status: DeviceStatus) -> Result<(), Error> {
        let entry = self.devices.iter_mut().find(|(known, ..)| *known == id).ok_or(Error::NotFound)?;
        match entry {
            (_, owner, _) if *owner != caller => Err(Error::NotAuthorised),
            (_, _, DeviceStatus::Revoked) => Err(Error::DeviceRevoked),
            (_, _, present) => {
                *present = status;
                Ok(())
            }
        }
    }

    fn set_oracles(&mut self, caller: Principal, threshold: u8, members: Vec<OracleKey>) -> Result<u32, Error> {
        self.admin_only(caller)?;
        let mut distinct = members.clone();
        distinct.sort();
        distinct.dedup();
        let count = members.len();
        if !(1..=16).contains(&count) || distinct.len() < count || threshold == 0 || usize::from(threshold) > count {
            return Err(Error::InvalidOracleSet);
        }
        self.oracle_versions.push((threshold, members));
        Ok(self.oracle_versions.len() as u32)
    }

    fn approve(&mut self, caller: Principal, id: ModelId, kind: DetectorKind) -> Result<(), Error> {
        self.admin_only(caller)?;
        if self.models.contains_key(&id) {
            return Err(Error::AlreadyExists);
        }
        self.models.insert(id, kind);
        Ok(())
    }

    fn activate(&mut self, caller: Principal, id: ModelId) -> Result<(), Error> {
        self.admin_only(caller)?;
        let kind = self.models.get(&id).ok_or(Error::NotFound)?;
        let uses = self.uses.entry(*kind).or_default();
        if uses.last() == Some(&id) {
            return Err(Error::AlreadyExists);
        }
        uses.push(id);
        Ok(())
    }

    fn roll_back(&mut self, caller: Principal, kind: DetectorKind) -> Result<(), Error> {
        self.admin_only(caller)?;
        let uses = self.uses.entry(kind).or_default();
        let [.., before, _] = uses.as_slice() else { return Err(Error::NothingToRollBack) };
        *uses = vec![*before];
        Ok(())
    }

    fn active(&self, kind: DetectorKind) -> Option<ActiveModel> {
        match self.uses.get(&kind)?.as_slice() {
            [] => None,
            [current] => Some(ActiveModel { current: *current, previous: None }),
            [.., previous, current] => Some(ActiveModel { current: *current, previous: Some(*previous) }),
        }
    }
}

fn step(rng: &mut impl Rng, registry: &mut Registry, model: &mut Model, people: &[Principal]) {
    let caller = *people.choose(rng).unwrap();
    call_as(caller);
    let mark: u8 = rng.gen_range(1..=90);
    let kind = *KINDS.choose(rng).unwrap();
    let id = ModelId([mark % 6 + 1; 32]);
    let succeeded = match rng.gen_range(0..12) {
        0 => {
            let role = *[Role::Patient, Role::Researcher].choose(rng).unwrap();
            let expected = if model.roles.contains_key(&caller) { Err(Error::AlreadyExists) } else { Ok(()) };
            assert_eq!(registry.register_participant(role), expected);
            model.roles.entry(caller).or_insert(role);
            expected.is_ok()
        }
        1 => {
            let key = PublicKey { algorithm: KeyAlgorithm::Ed25519, bytes: vec![mark; rng.gen_range(31..=32)] };
            let expected = match (model.roles.contains_key(&caller), key.bytes.len()) {
                (false, _) => Err(Error::NotAuthorised),
                (true, 32) => Ok(()),
                (true, _) => Err(Error::InvalidKey),
            };
            assert_eq!(registry.set_key(KeyUse::Signing, key.clone()), expected);
            if expected.is_ok() {
                model.keys.insert((caller, KeyUse::Signing), key);
            }
            expected.is_ok()
        }
        2..=4 => {
            let expected = model.register_device(caller, [mark; 32]);
            assert_eq!(registry.register_device([mark; 32], ecg()), expected);
            expected.is_ok()
        }
        5..=6 => {
            let device = DeviceId::of_public_key(&[mark; 32]);
            let status = match rng.gen_range(0..9) {
                0 => DeviceStatus::Revoked,
                1..=4 => DeviceStatus::Quarantined,
                _ => DeviceStatus::Active,
            };
            let expected = model.set_status(caller, device, status);
            assert_eq!(registry.set_device_status(device, status), expected);
            expected.is_ok()
        }
        7 => {
            let members: Vec<_> = (0..rng.gen_range(0..=17)).map(|_| oracle(rng.gen_range(0..100))).collect();
            let threshold = rng.gen_range(0..=4);
            let expected = model.set_oracles(caller, threshold, members.clone());
            assert_eq!(registry.set_oracles(threshold, members), expected);
            expected.is_ok()
        }
        8 => {
            let expected = model.approve(caller, id, kind);
            assert_eq!(registry.approve_model(id, kind, [1; 32], [2; 32]), expected);
            expected.is_ok()
        }
        9 => {
            let expected = model.activate(caller, id);
            assert_eq!(registry.activate_model(id), expected);
            expected.is_ok()
        }
        10 => {
            let expected = model.roll_back(caller, kind);
            assert_eq!(registry.roll_back_model(kind), expected);
            expected.is_ok()
        }
        _ => hand_over(rng, registry, model, caller, people),
    };
    model.events += usize::from(succeeded);
}

fn hand_over(
    rng: &mut impl Rng,
    registry: &mut Registry,
    model: &mut Model,
    caller: Principal,
    people: &[Principal],
) -> bool {
    if rng.gen() {
        let successor = *people.choose(rng).unwrap();
        let expected = model.admin_only(caller);
        assert_eq!(registry.propose_admin(account(successor)), expected);
        if expected.is_ok() {
            model.proposed = Some(successor);
        }
        return expected.is_ok();
    }
    let expected = if model.proposed == Some(caller) { Ok(()) } else { Err(Error::NotProposed) };
    assert_eq!(registry.accept_admin(), expected);
    if expected.is_ok() {
        (model.admin, model.proposed) = (Some(caller), None);
    }
    expected.is_ok()
}

fn check(registry: &Registry, model: &Model, people: &[Principal]) {
    assert_eq!(Some(registry.admin()), model.admin.map(account));
    assert_eq!(registry.proposed_admin(), model.proposed.map(account));
    for person in people {
        assert_eq!(registry.participant(*person).map(|participant| participant.role), model.roles.get(person).copied());
        assert_eq!(registry.key(*person, KeyUse::Signing), model.keys.get(&(*person, KeyUse::Signing)).cloned());
        let owned: Vec<_> = model.devices.iter().filter(|(_, owner, _)| owner == person).map(|(id, ..)| *id).collect();
        let listed = [registry.devices_of(*person, 0, 32), registry.devices_of(*person, 32, 32)].concat();
        assert_eq!(listed, owned);
    }
    for (id, owner, status) in &model.devices {
        let device = registry.device(*id).unwrap();
        assert_eq!((device.owner, device.status), (*owner, *status));
    }
    let (threshold, members) = model.oracle_versions.last().cloned().unwrap_or_default();
    let version = model.oracle_versions.len() as u32;
    assert_eq!(registry.oracles(), OracleSet { version, threshold, members });
    for kind in KINDS {
        assert_eq!(registry.active_model(kind), model.active(kind));
    }
}

#[ink::test]
fn contract_does_what_a_plain_model_does_for_random_calls() {
    let mut rng = seed::seeded("registry against its model");
    let mut registry = contract();
    let people = [ADMIN, PATIENT, STRANGER, Principal([4; 32])];
    let mut model = Model { admin: Some(ADMIN), ..Model::default() };
    for step_number in 0..STEPS {
        step(&mut rng, &mut registry, &mut model, &people);
        if step_number % 10 == 0 {
            check(&registry, &model, &people);
        }
    }
    check(&registry, &model, &people);
    assert_eq!(events_count(), model.events);
}
