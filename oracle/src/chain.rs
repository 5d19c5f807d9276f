//! What the oracle knows of the chain without asking anew for every reading: devices, for a short and stated time.
//!
//! A device's owner, key and status are believed for [`DEVICE_STALENESS_MS_MAX`] of real time, so a revoked device is refused at the
//! latest that long after its revocation is final. Release decisions are never cached. Must not: keep more than [`DEVICES_CACHED_MAX`]
//! and [`UNKNOWN_CACHED_MAX`], or forget a device for the sake of ids that are not registered: anybody can invent those.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pulsegate_ledger::{Contracts, LedgerError};
use pulsegate_rules::DeviceId;
use pulsegate_rules::registry::Device;

/// How long a device's registration is believed, milliseconds of real time.
pub const DEVICE_STALENESS_MS_MAX: u64 = 1_000;
const STALENESS: Duration = Duration::from_millis(DEVICE_STALENESS_MS_MAX);
/// Most devices remembered; when full, the stale ones are forgotten, then all.
pub const DEVICES_CACHED_MAX: usize = 65_536;

/// Most ids remembered as not registered; when full, the stale ones are forgotten, then all.
pub const UNKNOWN_CACHED_MAX: usize = 4_096;

/// A short memory of devices.
#[derive(Default)]
pub(crate) struct DeviceCache {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<DeviceId, (Instant, Device)>,
    unknown: HashMap<DeviceId, (Instant, ())>,
}

impl DeviceCache {
    /// The device as registered, at most [`DEVICE_STALENESS_MS_MAX`] old; `None` when it is not.
    ///
    /// # Errors
    /// The ledger's, when the chain has to be asked and does not answer.
    pub(crate) async fn device(&self, contracts: &Contracts, id: DeviceId) -> Result<Option<Device>, LedgerError> {
        if let Some(remembered) = self.remembered(&id) {
            return Ok(remembered);
        }
        // The age counts from before the question, so the answer is never older than it looks.
        let asked = Instant::now();
        let device = contracts.registry.device(id).await?;
        self.remember(id, asked, device.clone());
        Ok(device)
    }

    /// What is known without asking: the device, or that it is not registered.
    pub(crate) fn remembered(&self, id: &DeviceId) -> Option<Option<Device>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, device)) = memory.known.get(id)
            && asked.elapsed() < STALENESS
        {
            return Some(Some(device.clone()));
        }
        memory.unknown.get(id).filter(|(asked, ())| asked.elapsed() < STALENESS).map(|_| None)
    }

    fn remember(&self, id: DeviceId, asked: Instant, device: Option<Device>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = device {
            insert(&mut memory.known, DEVICES_CACHED_MAX, id, (asked, device));
        } else {
            memory.known.remove(&id);
            insert(&mut memory.unknown, UNKNOWN_CACHED_MAX, id, (asked, ()));
        }
    }
}

fn insert<T>(map: &mut HashMap<DeviceId, (Instant, T)>, count_max: usize, id: DeviceId, entry: (Instant, T)) {
    if map.len() >= count_max {
        map.retain(|_, (asked, _)| asked.elapsed() < STALENESS);
        if map.len() >= count_max {
            map.clear();
        }
    }
    map.insert(id, entry);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use pulsegate_rules::registry::{Device, DeviceStatus};
    use pulsegate_rules::{Categories, DeviceId, Principal};

    use super::{DEVICES_CACHED_MAX, DeviceCache, UNKNOWN_CACHED_MAX};

    #[test]
    fn invented_ids_do_not_make_the_oracle_forget_a_device() {
        let cache = DeviceCache::default();
        // Asked in the future, so that nothing gets stale while the test runs.
        let asked = Instant::now() + Duration::from_secs(600);
        let known = DeviceId([0xFF; 32]);
        let device = Device {
            owner: Principal([1; 32]),
            public_key: [2; 32],
            categories: Categories::ALL,
            status: DeviceStatus::Active,
            registered_at_ms: 0,
        };
        cache.remember(known, asked, Some(device.clone()));
        for number in 0..=DEVICES_CACHED_MAX as u64 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            cache.remember(DeviceId(id), asked, None);
            assert_eq!(cache.remembered(&DeviceId(id)), Some(None));
        }
        assert_eq!(cache.remembered(&known), Some(Some(device)));
        assert!(cache.memory.lock().unwrap().unknown.len() <= UNKNOWN_CACHED_MAX);
    }
}
