//! Consent by a wallet's EIP-712 message: who may sign, how often, until when, in which form.

use k256::ecdsa::{Signature, SigningKey};
use pulsegate_rules::eip712::{Domain, Validity};

use super::*;

/// The key of a test wallet.
pub(super) fn wallet(mark: u8) -> SigningKey {
    SigningKey::from_slice(&[mark; 32]).unwrap()
}

/// The wallet's Ethereum address: the last 20 bytes of the Keccak-256 of the uncompressed public key.
pub(super) fn address(wallet: &SigningKey) -> [u8; 20] {
    let point = wallet.verifying_key().to_encoded_point(false);
    let mut digest = [0; 32];
    ink::env::hash_bytes::<ink::env::hash::Keccak256>(&point.as_bytes()[1..], &mut digest);
    digest[12..].try_into().unwrap()
}

/// `r ‖ s ‖ v` with `v` of 27 or 28.
pub(super) fn sign(wallet: &SigningKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, recovery) = wallet.sign_prehash_recoverable(digest).unwrap();
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = 27 + recovery.to_byte();
    bytes
}

pub(super) fn domain() -> Domain {
    let account = ink::env::test::callee::<DefaultEnvironment>();
    Domain { chain_id: CHAIN_ID, contract: Principal(*account.as_ref()) }
}

fn signed_grant(wallet: &SigningKey, patient: &Principal, nonce: u64, deadline_s: u64) -> [u8; 65] {
    sign(wallet, &domain().grant_digest(patient, &permit(), &Validity { nonce, deadline_s }))
}

#[ink::test]
fn wallet_grants_and_revokes_for_its_own_address_and_anybody_relays() {
    let mut consent = contract_at(1_000_000);
    let wallet = wallet(9);
    let patient = Principal::of_ethereum_address(&address(&wallet));
    call_as(STRANGER);
    let signature = signed_grant(&wallet, &patient, 0, 1_000);
    let id = consent.grant_signed(patient, permit(), 0, 1_000, signature).unwrap();
    assert_eq!(consent.grant_of(id).unwrap().patient, patient);
    assert_eq!(consent.nonce(patient), 1);
    let digest = domain().revoke_digest(&patient, id, &Validity { nonce: 1, deadline_s: 1_000 });
    assert_eq!(consent.revoke_signed(patient, id, 1, 1_000, sign(&wallet, &digest)), Ok(()));
    assert_eq!(consent.nonce(patient), 2);
    assert!(consent.grant_of(id).unwrap().revoked_at_ms.is_some());
}

#[ink::test]
fn linked_wallet_signs_until_it_is_unlinked_and_old_messages_never_come_back() {
    let mut consent = contract_at(1_000_000);
    let wallet = wallet(9);
    let early = signed_grant(&wallet, &PATIENT, 0, 2_000);
    assert_eq!(consent.grant_signed(PATIENT, permit(), 0, 2_000, early), Err(Error::InvalidSignature));
    consent.set_wallet(Some(address(&wallet))).unwrap();
    assert_eq!(consent.wallet(PATIENT), Some(address(&wallet)));
    assert_eq!(consent.grant_signed(PATIENT, permit(), 0, 2_000, early), Err(Error::InvalidNonce));
    let good = signed_grant(&wallet, &PATIENT, 1, 2_000);
    assert!(consent.grant_signed(PATIENT, permit(), 1, 2_000, good).is_ok());
    assert_eq!(consent.grant_signed(PATIENT, permit(), 1, 2_000, good), Err(Error::InvalidNonce));
    let pending = signed_grant(&wallet, &PATIENT, 2, 2_000);
    consent.set_wallet(None).unwrap();
    consent.set_wallet(Some(address(&wallet))).unwrap();
    assert_eq!(consent.grant_signed(PATIENT, permit(), 2, 2_000, pending), Err(Error::InvalidNonce));
}

#[ink::test]
fn message_counts_until_the_end_of_its_deadline_second() {
    let mut consent = contract_at(1_000_999);
    let wallet = wallet(9);
    let patient = Principal::of_ethereum_address(&address(&wallet));
    let late = signed_grant(&wallet, &patient, 0, 999);
    assert_eq!(consent.grant_signed(patient, permit(), 0, 999, late), Err(Error::Expired));
    let good = signed_grant(&wallet, &patient, 0, 1_000);
    assert!(consent.grant_signed(patient, permit(), 0, 1_000, good).is_ok());
}

#[ink::test]
fn signature_of_another_wallet_domain_or_content_is_refused() {
    let mut consent = contract_at(0);
    let wallet = wallet(9);
    let patient = Principal::of_ethereum_address(&address(&wallet));
    let validity = Validity { nonce: 0, deadline_s: 9 };
    let other_chain = Domain { chain_id: CHAIN_ID + 1, ..domain() };
    let other_contract = Domain { contract: Principal([0x77; 32]), ..domain() };
    let wider = GrantRequest { until_s: 13 * HOUR_S, ..permit() };
    let digests = [
        other_chain.grant_digest(&patient, &permit(), &validity),
        other_contract.grant_digest(&patient, &permit(), &validity),
        domain().grant_digest(&patient, &wider, &validity),
        domain().grant_digest(&PATIENT, &permit(), &validity),
        domain().grant_digest(&patient, &permit(), &Validity { deadline_s: 10, ..validity }),
        domain().revoke_digest(&patient, GrantId(0), &validity),
    ];
    for digest in digests {
        let result = consent.grant_signed(patient, permit(), 0, 9, sign(&wallet, &digest));
        assert_eq!(result, Err(Error::InvalidSignature));
    }
    let other = signed_grant(&super::wallet::wallet(10), &patient, 0, 9);
    assert_eq!(consent.grant_signed(patient, permit(), 0, 9, other), Err(Error::InvalidSignature));
    assert_eq!(consent.nonce(patient), 0);
    assert_eq!(events_count(), 0);
}

#[ink::test]
fn all_four_forms_of_v_are_taken_and_no_other() {
    let wallet = wallet(9);
    let patient = Principal::of_ethereum_address(&address(&wallet));
    let mut consent = contract_at(0);
    let good = signed_grant(&wallet, &patient, 0, 9);
    for v in (2..27).chain(29..=255) {
        let mut bad = good;
        bad[64] = v;
        assert_eq!(consent.grant_signed(patient, permit(), 0, 9, bad), Err(Error::InvalidSignature), "v = {v}");
    }
    let mut small = good;
    small[64] -= 27;
    assert!(consent.grant_signed(patient, permit(), 0, 9, small).is_ok());
}

#[ink::test]
fn high_s_twin_of_a_good_signature_is_refused() {
    let mut consent = contract_at(0);
    let wallet = wallet(9);
    let patient = Principal::of_ethereum_address(&address(&wallet));
    let good = signed_grant(&wallet, &patient, 0, 9);
    let (r, s) = Signature::from_slice(&good[..64]).unwrap().split_scalars();
    let twin = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let mut high = [0; 65];
    high[..64].copy_from_slice(&twin.to_bytes());
    high[64] = 55 - good[64];
    assert_eq!(consent.grant_signed(patient, permit(), 0, 9, high), Err(Error::InvalidSignature));
    assert!(consent.grant_signed(patient, permit(), 0, 9, good).is_ok());
}
