//! SHA-256 and Keccak-256 over parts, the only two hashes of the rules.
//!
//! Off chain they are compiled in. Inside a contract (feature `ink`, no `std`) they call the chain's own functions, which compute
//! the same digests for a fraction of the weight and the code. Nothing else of the rules differs between the two.

/// SHA-256 (FIPS 180-4) of the parts one after the other.
#[cfg(not(all(feature = "ink", not(feature = "std"))))]
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    parts.iter().fold(sha2::Sha256::new(), |hasher, part| hasher.chain_update(part)).finalize().into()
}

/// Keccak-256 (the padding before FIPS 202, as Ethereum uses it) of the parts one after the other.
#[cfg(not(all(feature = "ink", not(feature = "std"))))]
pub(crate) fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    use sha3::Digest;
    parts.iter().fold(sha3::Keccak256::new(), |hasher, part| hasher.chain_update(part)).finalize().into()
}

/// SHA-256 (FIPS 180-4) of the parts one after the other, by the chain.
#[cfg(all(feature = "ink", not(feature = "std")))]
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = [0; 32];
    ink::env::hash_bytes::<ink::env::hash::Sha2x256>(&parts.concat(), &mut digest);
    digest
}

/// Keccak-256 (the padding before FIPS 202, as Ethereum uses it) of the parts one after the other, by the chain.
#[cfg(all(feature = "ink", not(feature = "std")))]
pub(crate) fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = [0; 32];
    ink::env::hash_bytes::<ink::env::hash::Keccak256>(&parts.concat(), &mut digest);
    digest
}
