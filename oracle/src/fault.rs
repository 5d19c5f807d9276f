//! Named points at which a test can kill the process as a power loss would, to show that nothing acknowledged is lost.
//!
//! Without the feature `fault-injection` every call is an empty function. With it, `PULSEGATE_CRASH_AT=<point>` aborts the process the
//! first time that it comes past the point: no destructor runs, no buffer is flushed. `PULSEGATE_CRASH_AT=<point>#3` dies at the third.

/// Every point, in the order in which a reading passes them.
pub const POINTS: &[&str] = &[
    LOG_BEFORE_COMMIT,
    LOG_AFTER_COMMIT,
    SEAL_BEFORE_COMMIT,
    SEAL_AFTER_COMMIT,
    BATCH_COMPOSED,
    STORE_AFTER_PUT,
    ANCHOR_SIGNED,
    ANCHOR_AFTER_SUBMIT,
    ANCHOR_RECORDED,
    RELEASE_BEFORE_RECEIPT,
    RELEASE_AFTER_RECEIPT,
];

/// Readings are in the transaction, which is not committed; nobody was told.
pub const LOG_BEFORE_COMMIT: &str = "log.before-commit";
/// Readings are durable; the devices were not told yet.
pub const LOG_AFTER_COMMIT: &str = "log.after-commit";
/// Records are sealed in memory only.
pub const SEAL_BEFORE_COMMIT: &str = "seal.before-commit";
/// Records are durable, their plaintext is gone.
pub const SEAL_AFTER_COMMIT: &str = "seal.after-commit";
/// The batch's composition is durable; the block store has not seen it.
pub const BATCH_COMPOSED: &str = "batch.composed";
/// The block store has the batch; it is not signed.
pub const STORE_AFTER_PUT: &str = "store.after-put";
/// Header and signatures are durable; the chain has not seen them.
pub const ANCHOR_SIGNED: &str = "anchor.signed";
/// The chain has the batch; the oracle did not note it.
pub const ANCHOR_AFTER_SUBMIT: &str = "anchor.after-submit";
/// The batch is done.
pub const ANCHOR_RECORDED: &str = "anchor.recorded";
/// The decision is taken; its receipt is not durable and nothing was answered.
pub const RELEASE_BEFORE_RECEIPT: &str = "release.before-receipt";
/// The receipt is durable; nothing was answered.
pub const RELEASE_AFTER_RECEIPT: &str = "release.after-receipt";

/// Aborts the process here when a test asked for it.
#[cfg(feature = "fault-injection")]
pub(crate) fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("PULSEGATE_CRASH_AT").ok()?;
        let (point, nth) =
            text.split_once('#').map_or((text.as_str(), 1), |(point, nth)| (point, nth.parse().unwrap_or(1)));
        Some((point.to_owned(), nth))
    });
    if let Some((wanted_point, nth)) = wanted
        && wanted_point == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

/// Does nothing in a build without fault injection.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub(crate) const fn point(_name: &'static str) {}
