//! Release: who gets the oracle's lock, who is refused and why, and the receipt that every answer leaves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{HOUR_MS, START_MS, World, epoch_at, oracle_keys};
use pulsegate_ipfs::manifest::Leaf;
use pulsegate_ipfs::store::BlockStore;
use pulsegate_oracle::release::protocol::{
    REQUEST_SKEW_MS_MAX, RefusalReason, ReleaseAnswer, ReleaseRequest, SignedReceipt, request_digest,
};
use pulsegate_rules::consent::{DenyReason, Effect};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::registry::Role;
use pulsegate_rules::{Category, Epoch, Generation, Purpose};

/// A world in which one reading of this hour is anchored.
async fn world() -> (World, Epoch) {
    let mut world = World::new().await;
    world.heart_rate(61.0).await;
    world.settle().await;
    (world, epoch_at(START_MS))
}

fn reasons(answer: &ReleaseAnswer) -> Vec<&'static str> {
    answer.refused.iter().map(|(_, reason)| reason.code()).collect()
}

/// Sends a request that must be refused as a whole and returns the reason.
async fn refusal(world: &World, request: &ReleaseRequest) -> &'static str {
    let (body, answer) = world.release(request).await;
    assert!(answer.shares.is_none());
    assert_eq!(answer.refused.len(), request.epochs.len());
    let receipt = answer.receipt.verify(&oracle_keys().oracle_key()).unwrap();
    assert_eq!((receipt.released.len(), receipt.refused.len()), (0, request.epochs.len()));
    assert_eq!(receipt.request_digest, request_digest(&body));
    reasons(&answer)[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_nearest_reason() {
    let (mut world, epoch) = world().await;
    let request = world.request(&[epoch]);
    assert_eq!(refusal(&world, &request).await, "NO_GRANT");
    let grant = world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    let outside = world.request(&[Epoch(epoch.0 + 1)]);
    assert_eq!(refusal(&world, &outside).await, "OUTSIDE_WINDOW");
    let purpose = ReleaseRequest { purpose: Purpose::Payment, ..world.request(&[epoch]) };
    assert_eq!(refusal(&world, &purpose).await, "PURPOSE_NOT_COVERED");
    let category = ReleaseRequest { category: Category::Ecg, ..world.request(&[epoch]) };
    assert_eq!(refusal(&world, &category).await, "CATEGORY_NOT_COVERED");
    let generation = ReleaseRequest { generation: Generation(9), ..world.request(&[epoch]) };
    assert_eq!(refusal(&world, &generation).await, "NO_RECORDS");
    let denial = world.grant(Effect::Deny, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    let denied = world.request(&[epoch]);
    assert_eq!(refusal(&world, &denied).await, "DENIED_BY_PATIENT");
    let consent = &world.parts.contracts.consent;
    consent.revoke(&world.patient.signer, denial).await.unwrap();
    consent.revoke(&world.patient.signer, grant).await.unwrap();
    let revoked = world.request(&[epoch]);
    assert_eq!(refusal(&world, &revoked).await, "REVOKED");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_consent_denies_access_at_the_next_request() {
    let (mut world, epoch) = world().await;
    let grant = world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    let before = world.request(&[epoch]);
    let (_, answer) = world.release(&before).await;
    assert!(answer.shares.is_some());
    let revoked = world.parts.contracts.consent.revoke(&world.patient.signer, grant).await.unwrap();
    let after = world.request(&[epoch]);
    let (_, answer) = world.release(&after).await;
    assert!(answer.shares.is_none());
    assert_eq!(answer.refused, [(epoch, RefusalReason::Consent(DenyReason::Revoked))]);
    assert!(answer.block.number >= revoked.transaction.block.number);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_permitted_epochs_are_released_and_only_their_reader_opens_them() {
    let (mut world, epoch) = world().await;
    world.pass(HOUR_MS);
    world.heart_rate(62.0).await;
    world.settle().await;
    world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    let next = Epoch(epoch.0 + 1);
    let request = world.request(&[epoch, next]);
    let (body, answer) = world.release(&request).await;
    assert_eq!(answer.refused, [(next, RefusalReason::Consent(DenyReason::OutsideWindow))]);
    let shares = answer.open_shares(&world.reader.decryption, &body).unwrap();
    assert_eq!(shares.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [epoch]);
    let stranger = common::Person::new(3);
    assert_eq!(answer.open_shares(&stranger.decryption, &body).err().unwrap().code(), "RELEASE_WRONG_KEY");
    assert_eq!(answer.open_shares(&world.reader.decryption, b"other").err().unwrap().code(), "RELEASE_WRONG_KEY");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patients_read_their_own_data_without_a_grant() {
    let (mut world, epoch) = world().await;
    let request = ReleaseRequest { reader: world.patient.principal(), ..world.request(&[epoch]) };
    let body = request.sign(&world.patient.signing()).unwrap();
    let answer = world.post_release(&body).await.unwrap();
    assert_eq!(answer.open_shares(&world.patient.decryption, &body).unwrap().len(), 1);
    assert_eq!(answer.grant, None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_and_repeated_requests_are_refused_with_a_receipt() {
    let (mut world, epoch) = world().await;
    world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    world.pass(10 * REQUEST_SKEW_MS_MAX);
    let now = world.now();
    for requested_at_ms in [now - REQUEST_SKEW_MS_MAX - 1, now + REQUEST_SKEW_MS_MAX + 1, START_MS - 1] {
        let request = ReleaseRequest { requested_at_ms, ..world.request(&[epoch]) };
        assert_eq!(refusal(&world, &request).await, "STALE_REQUEST");
    }
    let request = world.request(&[epoch]);
    let (_, answer) = world.release(&request).await;
    assert!(answer.shares.is_some());
    assert_eq!(refusal(&world, &request).await, "NONCE_REUSED");
    // A request from before a restart is refused too, although the memory of nonces is gone.
    world.pass(1_000);
    world.stop().await;
    world.start().await;
    assert_eq!(refusal(&world, &request).await, "STALE_REQUEST");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_without_an_encryption_key_is_refused_with_a_receipt() {
    let (mut world, epoch) = world().await;
    let reader = common::Person::new(5);
    let registry = &world.parts.contracts.registry;
    registry.register_participant(&reader.signer, Role::Insurer).await.unwrap();
    let key = reader.signing().public_key().unwrap();
    registry.set_key(&reader.signer, pulsegate_rules::registry::KeyUse::Signing, &key).await.unwrap();
    let request = ReleaseRequest { reader: reader.principal(), ..world.request(&[epoch]) };
    let answer = world.post_release(&request.sign(&reader.signing()).unwrap()).await.unwrap();
    assert_eq!(reasons(&answer), ["NO_ENCRYPTION_KEY"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_nobody_known_are_errors_without_a_receipt() {
    let (mut world, epoch) = world().await;
    let request = world.request(&[epoch]);
    let by_another = request.sign(&common::Person::new(3).signing()).unwrap();
    let elsewhere = ReleaseRequest { audience: [0; 32], ..request.clone() }.sign(&world.reader.signing()).unwrap();
    let unknown = ReleaseRequest { patient: common::Person::new(8).principal(), ..request.clone() };
    let unknown = unknown.sign(&world.reader.signing()).unwrap();
    let good = request.sign(&world.reader.signing()).unwrap();
    let mut tampered = good.clone();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let cases: [(&[u8], u16, &str); 6] = [
        (b"not cbor", 400, "RELEASE_MALFORMED"),
        (&good[..good.len() - 1], 400, "RELEASE_MALFORMED"),
        (&by_another, 401, "READER_NOT_AUTHENTICATED"),
        (&tampered, 401, "READER_NOT_AUTHENTICATED"),
        (&elsewhere, 422, "WRONG_AUDIENCE"),
        (&unknown, 404, "UNKNOWN_PATIENT"),
    ];
    for (body, status, code) in cases {
        let (found, answer) = world.post_release(body).await.unwrap_err();
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)));
        assert!(answer["next"].as_str().is_some_and(|next| !next.is_empty()));
    }
    let progress = world.settle().await;
    assert_eq!(progress.receipts_anchored, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_asks_too_often_is_told_to_wait() {
    let mut world = World::with(|config| config.releases_per_minute_max = 1).await;
    let request = world.request(&[epoch_at(START_MS)]);
    world.release(&request).await;
    let body = world.request(&[epoch_at(START_MS)]).sign(&world.reader.signing()).unwrap();
    let answer = world.http.post(world.url("/v1/release")).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_leaves_a_numbered_receipt_that_only_the_patient_opens() {
    let (mut world, epoch) = world().await;
    world.grant(Effect::Permit, Category::VitalSigns, Purpose::Treatment, epoch, 1).await;
    let mut given = Vec::new();
    for epochs in [&[epoch][..], &[Epoch(epoch.0 + 1)], &[epoch, Epoch(epoch.0 + 1)]] {
        let request = world.request(epochs);
        given.push(world.release(&request).await.1.receipt);
    }
    let progress = world.settle().await;
    assert_eq!(progress.receipts_anchored, 3);
    let patient = world.patient.principal();
    for (number, leaf) in (1..).zip(world.leaves(BatchKind::Receipts).await) {
        let Leaf::Receipt(leaf) = leaf else { panic!("a receipts batch holds receipts") };
        assert_eq!((leaf.patient, leaf.sequence), (patient, number));
        let block = world.parts.blocks.get(&leaf.receipt).await.unwrap();
        let receipt = SignedReceipt::open(&block, &patient, &world.patient.decryption).unwrap();
        assert_eq!(receipt, given[usize::try_from(number).unwrap() - 1]);
        assert_eq!(receipt.digest(), leaf.digest);
        assert_eq!(receipt.signer(), Some(oracle_keys().oracle_key()));
        assert!(SignedReceipt::open(&block, &patient, &world.reader.decryption).is_err());
        let mut forged = receipt.clone();
        forged.receipt[10] ^= 1;
        assert!(forged.verify(&oracle_keys().oracle_key()).is_err());
    }
    world.stop().await;
}
