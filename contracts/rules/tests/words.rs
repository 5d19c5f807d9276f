//! The words as they travel: codes of errors, sets, ids, windows, and the form of signatures.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use parity_scale_codec::{Decode, Encode};
use pulsegate_rules::consent::transition::is_window;
use pulsegate_rules::ids::{EPOCHS_MAX, EPOCH_SECONDS};
use pulsegate_rules::signature::normalise;
use pulsegate_rules::{
    consent, records, registry, Categories, Category, CidBytes, DeviceId, Epoch, Principal, Purpose,
};

/// Codes must differ, and the variant's number on chain must be its place in the list.
fn assert_listed<E: Encode + Decode + PartialEq + std::fmt::Debug + Copy>(
    all: &[E],
    code: impl Fn(&E) -> &'static str,
) {
    let mut codes: Vec<_> = all.iter().map(&code).collect();
    for (position, error) in all.iter().enumerate() {
        assert_eq!(error.encode(), vec![position as u8], "{error:?}");
        assert_eq!(E::decode(&mut &[position as u8][..]).unwrap(), *error);
    }
    assert!(E::decode(&mut &[all.len() as u8][..]).is_err(), "a variant is missing in ALL");
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all.len());
}

#[test]
fn every_error_has_its_own_code_and_its_number_on_chain() {
    assert_listed(registry::Error::ALL, registry::Error::code);
    assert_listed(consent::Error::ALL, consent::Error::code);
    assert_listed(records::Error::ALL, records::Error::code);
    assert_eq!(consent::Error::InvalidNonce.code(), "CONSENT_INVALID_NONCE");
    assert!(consent::Error::Expired.to_string().contains("sign again"));
}

#[test]
fn code_lists_are_found_by_the_standards_own_text() {
    assert!(Category::ALL.iter().all(|category| Category::from_code(category.code()) == Some(*category)));
    assert!(Purpose::ALL.iter().all(|purpose| Purpose::from_code(purpose.code()) == Some(*purpose)));
    assert_eq!(Category::from_code("nonsense"), None);
    assert!(!Categories(0).is_valid());
    assert!(!Categories(1 << 5).is_valid());
    assert!(Categories::ALL.is_valid());
    assert_eq!(Categories::of(&[Category::Ecg, Category::VitalSigns]).to_string(), "vital-signs, ecg");
}

#[test]
fn ids_are_read_from_hex_of_their_exact_length() {
    let principal: Principal = "0x0101010101010101010101010101010101010101010101010101010101010101".parse().unwrap();
    assert_eq!(principal, Principal([1; 32]));
    assert_eq!(principal.to_string().parse(), Ok(principal));
    for text in ["", "0x", "0x01", "0xzz01010101010101010101010101010101010101010101010101010101010101"] {
        assert!(text.parse::<Principal>().is_err(), "{text:?}");
    }
    // SHA-256 of 32 zero bytes.
    let id = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
    assert_eq!(DeviceId::of_public_key(&[0; 32]), id.parse().unwrap());
    let mapped = Principal::of_ethereum_address(&[7; 20]);
    assert_eq!((&mapped.0[..20], &mapped.0[20..]), (&[7; 20][..], &[0xEE; 12][..]));
}

#[test]
fn cid_is_version_one_over_sha_256() {
    let good = |codec| {
        let mut bytes = [9; 36];
        bytes[..4].copy_from_slice(&[1, codec, 0x12, 0x20]);
        CidBytes(bytes)
    };
    assert!(good(0x71).is_well_formed() && good(0x55).is_well_formed());
    assert!(!good(0x80).is_well_formed());
    for position in [0, 2, 3] {
        let mut bad = good(0x71);
        bad.0[position] ^= 1;
        assert!(!bad.is_well_formed());
    }
}

#[test]
fn window_is_whole_epochs_within_the_key_tree() {
    let end_s = EPOCHS_MAX * EPOCH_SECONDS;
    assert!(is_window(0, EPOCH_SECONDS) && is_window(0, end_s) && is_window(end_s - EPOCH_SECONDS, end_s));
    for (from_s, until_s) in [(0, 0), (EPOCH_SECONDS, 0), (1, EPOCH_SECONDS), (0, 1), (0, end_s + EPOCH_SECONDS)] {
        assert!(!is_window(from_s, until_s), "{from_s} to {until_s}");
    }
    assert_eq!(Epoch::at(end_s - 1).map(|epoch| u64::from(epoch.0)), Some(EPOCHS_MAX - 1));
}

#[test]
fn signature_is_taken_in_one_form_only() {
    let half_order = [
        0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57,
        0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
    ];
    let signature = |r: u8, s: [u8; 32], v: u8| {
        let mut bytes = [r; 65];
        bytes[32..64].copy_from_slice(&s);
        bytes[64] = v;
        bytes
    };
    let mut above = half_order;
    above[31] += 1;
    for (v, id) in [(0, 0), (1, 1), (27, 0), (28, 1)] {
        assert_eq!(normalise(&signature(1, half_order, v)), Some(signature(1, half_order, id)));
    }
    for bad in [signature(1, above, 0), signature(1, [0xff; 32], 0), signature(1, [0; 32], 0), signature(0, [1; 32], 0)]
    {
        assert_eq!(normalise(&bad), None);
    }
    for v in (2..27).chain(29..=255) {
        assert_eq!(normalise(&signature(1, half_order, v)), None);
    }
}

#[cfg(feature = "std")]
#[test]
fn words_read_as_hex_and_standard_codes_in_json() {
    let json =
        serde_json::to_string(&(Principal([1; 32]), Category::VitalSigns, registry::DeviceStatus::Active)).unwrap();
    let expected = r#"["0x0101010101010101010101010101010101010101010101010101010101010101","vital-signs","active"]"#;
    assert_eq!(json, expected);
}
