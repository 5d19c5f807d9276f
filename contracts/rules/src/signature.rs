//! The one form in which a recoverable secp256k1 signature is taken: 65 bytes `r ‖ s ‖ v`, low `s`, `v` of 0, 1, 27 or 28.
//!
//! For every signature `(r, s, v)` there is a twin `(r, n − s, 1 − v)` that recovers the same signer. Only the one with `s ≤ n/2`
//! is taken (EIP-2), so that a signature cannot be turned into another valid one by somebody who does not hold the key.

/// Half the order of secp256k1, rounded down, big-endian (SEC 2, section 2.4.1).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The signature with `v` as 0 or 1, ready for recovery; `None` if `v` is none of 0, 1, 27, 28, if `r` or `s` is zero, or if `s` is high.
///
/// That `r` is below the order, and on the curve, is left to the recovery, which refuses others.
#[must_use]
pub fn normalise(signature: &[u8; 65]) -> Option<[u8; 65]> {
    let (r, rest) = signature.split_at(32);
    let (s, v) = rest.split_at(32);
    let recovery_id = match v {
        [0 | 27] => 0,
        [1 | 28] => 1,
        _ => return None,
    };
    let zero = [0u8; 32];
    if r == zero || s == zero || s > HALF_ORDER.as_slice() {
        return None;
    }
    let mut normal = *signature;
    normal[64] = recovery_id;
    Some(normal)
}
