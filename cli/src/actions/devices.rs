//! A patient's devices: making one, listing them, and changing whether their readings are taken.
//!
//! Guarantees: registering again what is registered changes nothing, so an interrupted addition is repeated. Must not: keep a
//! device's key; it stays in its file.

use pulsegate_reading::DeviceKey;
use pulsegate_rules::consent::PAGE_MAX;
use pulsegate_rules::registry::{Device, DeviceStatus};
use pulsegate_rules::{Categories, DeviceId, Principal};
use serde::Serialize;

use super::TransactionLine;
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// A device that was added.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    /// Its id.
    pub(crate) device: DeviceId,
    /// What it may send.
    pub(crate) categories: Categories,
    /// The transaction; `None` when it was registered already.
    pub(crate) transaction: Option<TransactionLine>,
}

/// A device and what the chain says of it.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// Its id.
    pub(crate) id: DeviceId,
    /// What the registry says.
    #[serde(flatten)]
    pub(crate) device: Device,
}

/// Registers a device of the patient.
pub(crate) async fn register(
    session: &Session,
    identity: &Identity,
    key: &DeviceKey,
    categories: Categories,
) -> Outcome<Added> {
    let registry = &session.contracts.registry;
    let device = key.device_id();
    if let Some(known) = registry.device(device).await? {
        if known.owner != identity.principal() {
            let message = format!("device {device} is registered by somebody else");
            return Err(
                Failure::new("DEVICE_OF_ANOTHER", message).next("name another key file, so that a new key is made")
            );
        }
        return Ok(Added { device, categories: known.categories, transaction: None });
    }
    let registered = registry.register_device(identity.account(), &key.public_key(), categories).await?;
    Ok(Added { device, categories, transaction: Some(TransactionLine::of(&registered.transaction)) })
}

/// The devices of a patient, in the order in which they were registered.
pub(crate) async fn list(session: &Session, patient: Principal) -> Outcome<Vec<Listed>> {
    let registry = &session.contracts.registry;
    let mut devices = Vec::new();
    loop {
        let offset = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let page = registry.devices_of(patient, offset, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(devices);
        }
        for id in page {
            let device = registry.device(id).await?.ok_or_else(|| {
                Failure::new("REGISTRY_NOT_FOUND", format!("the registry lists device {id} and does not know it"))
                    .next("run the command again")
            })?;
            devices.push(Listed { id, device });
        }
    }
}

/// Changes whether readings of a device are taken.
pub(crate) async fn set_status(
    session: &Session,
    identity: &Identity,
    device: DeviceId,
    status: DeviceStatus,
) -> Outcome<TransactionLine> {
    let changed = session.contracts.registry.set_device_status(identity.account(), device, status).await?;
    Ok(TransactionLine::of(&changed.transaction))
}
