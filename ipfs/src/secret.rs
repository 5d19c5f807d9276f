//! Newtypes for 32 secret bytes: zeroised on drop, without `Debug`, compared in constant time, made from OS randomness.

macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes the bytes over. The caller zeroises its own copy.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The secret itself, for encrypted storage and key derivation only. Never log it.
            #[must_use]
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl PartialEq for $name {
            /// Compares in constant time.
            fn eq(&self, other: &Self) -> bool {
                aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
            }
        }

        impl Eq for $name {}
    };
}
pub(crate) use secret_bytes;

/// 32 bytes of OS randomness.
pub(crate) fn random_bytes() -> [u8; 32] {
    use rand::RngCore;
    let mut bytes = [0; 32];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    bytes
}
