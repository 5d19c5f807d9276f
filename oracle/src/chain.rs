//! What the oracle knows of the chain without asking anew for every reading: devices, for a short and stated time.
//!
//! A device's owner, key and status are believed for [`DEVICE_STALENESS_MS_MAX`] of real time, so a revoked device is refused at the
//! latest that long after its revocation is final. Release decisions are never cached. Must not: keep more than [`DEVICES_CACHED_MAX`].

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pulsegate_ledger::{Contracts, LedgerError};
use pulsegate_rules::DeviceId;
use pulsegate_rules::registry::Device;

/// How long a device's registration is believed, milliseconds of real time.
pub const DEVICE_STALENESS_MS_MAX: u64 = 1_000;
/// Most devices remembered; when full, the stale ones are forgotten, then all.
pub const DEVICES_CACHED_MAX: usize = 65_536;

/// A short memory of devices.
#[derive(Default)]
pub(crate) struct DeviceCache {
    known: Mutex<HashMap<DeviceId, (Instant, Option<Device>)>>,
}

impl DeviceCache {
    /// The device as registered, at most [`DEVICE_STALENESS_MS_MAX`] old; `None` when it is not.
    ///
    /// # Errors
    /// The ledger's, when the chain has to be asked and does not answer.
    pub(crate) async fn device(&self, contracts: &Contracts, id: DeviceId) -> Result<Option<Device>, LedgerError> {
        let staleness = Duration::from_millis(DEVICE_STALENESS_MS_MAX);
        {
            let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some((asked, device)) = known.get(&id)
                && asked.elapsed() < staleness
            {
                return Ok(device.clone());
            }
        }
        // The age counts from before the question, so the answer is never older than it looks.
        let asked = Instant::now();
        let device = contracts.registry.device(id).await?;
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= DEVICES_CACHED_MAX {
            known.retain(|_, (asked, _)| asked.elapsed() < staleness);
            if known.len() >= DEVICES_CACHED_MAX {
                known.clear();
            }
        }
        known.insert(id, (asked, device.clone()));
        Ok(device)
    }
}
