//! The durable queue: signed readings that the oracle has not acknowledged yet, in one redb file with one writer.
//!
//! Guarantees: a reading's number, its link to the one before, its signature and the source's place are written in one transaction, which
//! is on disk (fsync) when `append` returns; the file is locked, so a second agent on the same folder is refused. Must not: remove a
//! reading without an acknowledgement or a final refusal. What is queued is plaintext on the device's own disk, in a folder for its owner.

use std::path::Path;

use pulsegate_reading::{DeviceKey, Reading, SignedReading};
use pulsegate_rules::{DeviceId, Principal};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::AgentError;
use crate::measurement::Measurement;

/// Most readings on disk unless configured otherwise: 23 days of one per two seconds.
pub const QUEUE_READINGS_MAX: u64 = 1_000_000;
/// Most refused readings that are kept; the oldest gives way.
pub const REJECTED_MAX: u64 = 10_000;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const PENDING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pending");
const REJECTED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rejected");
const SOURCES: TableDefinition<'_, &str, u64> = TableDefinition::new("sources");

const OWNER: &str = "owner";
const HEAD: &str = "head";

/// Where the chain of a device's readings ends: the number and the hash of the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) hash: [u8; 32],
}

impl Head {
    pub(crate) const NONE: Self = Self { sequence: 0, hash: [0; 32] };

    fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.hash);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sequence, hash) = bytes.split_at_checked(8)?;
        Some(Self { sequence: u64::from_be_bytes(sequence.try_into().ok()?), hash: hash.try_into().ok()? })
    }
}

/// A reading that the oracle refused for good, kept with the reason. It is never sent again by itself.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The number that it had.
    pub sequence: u64,
    /// The oracle's code.
    pub code: String,
    /// The oracle's message.
    pub message: String,
    /// When it was set aside, Unix milliseconds.
    pub rejected_at_ms: u64,
    /// The signed reading.
    #[serde(with = "serde_bytes")]
    pub reading: Vec<u8>,
}

/// What an answered request changes.
#[derive(Default)]
pub(crate) struct Settlement {
    /// Numbers that the oracle has.
    pub(crate) acknowledged: Vec<u64>,
    /// Numbers that it refused for good, with code and message.
    pub(crate) rejected: Vec<(u64, String, String)>,
}

/// The queue.
pub(crate) struct Queue {
    database: Database,
    device: DeviceId,
    patient: Principal,
    audience: [u8; 32],
    limit: u64,
}

impl Queue {
    /// Opens or makes the queue of a device in a folder.
    pub(crate) fn open(
        dir: &Path,
        key: &DeviceKey,
        patient: Principal,
        audience: [u8; 32],
        limit: u64,
    ) -> Result<Self, AgentError> {
        let problem = |error: std::io::Error| AgentError::File { path: dir.to_owned(), problem: error.to_string() };
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(dir).map_err(problem)?;
        let database = Database::create(dir.join("queue.redb"))?;
        // The file's name must outlive a power loss, too.
        #[cfg(unix)]
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(problem)?;
        let transaction = database.begin_write()?;
        {
            transaction.open_table(PENDING)?;
            transaction.open_table(REJECTED)?;
            transaction.open_table(SOURCES)?;
            let mut meta = transaction.open_table(META)?;
            let owner = [&key.device_id().0[..], &patient.0, &audience].concat();
            let known = meta.get(OWNER)?.map(|known| known.value().to_vec());
            match known {
                None => {
                    meta.insert(OWNER, owner.as_slice())?;
                }
                Some(known) if known == owner => {}
                Some(known) => return Err(AgentError::WrongQueue { what: what_differs(&known, &owner) }),
            }
        }
        transaction.commit()?;
        Ok(Self { database, device: key.device_id(), patient, audience, limit })
    }

    /// Numbers, links, signs and stores measurements, and moves a source's place, all or nothing. Returns the last number.
    pub(crate) fn append(
        &self,
        key: &DeviceKey,
        measurements: &[Measurement],
        place: Option<(&str, u64)>,
    ) -> Result<u64, AgentError> {
        let transaction = self.database.begin_write()?;
        let mut head = head_of(&transaction)?;
        {
            let mut pending = transaction.open_table(PENDING)?;
            if pending.len()?.saturating_add(measurements.len() as u64) > self.limit {
                return Err(AgentError::QueueFull { limit: self.limit });
            }
            for measurement in measurements {
                let signed = self.link(head, measurement.clone()).sign(key)?;
                head = Head { sequence: head.sequence + 1, hash: signed.hash() };
                pending.insert(head.sequence, signed.bytes())?;
            }
            transaction.open_table(META)?.insert(HEAD, head.to_bytes().as_slice())?;
            if let Some((source, position)) = place {
                transaction.open_table(SOURCES)?.insert(source, position)?;
            }
        }
        transaction.commit()?;
        Ok(head.sequence)
    }

    fn link(&self, head: Head, measurement: Measurement) -> Reading {
        Reading {
            device: self.device,
            patient: self.patient,
            audience: self.audience,
            sequence: head.sequence + 1,
            previous: head.hash,
            measured_at_ms: measurement.measured_at_ms,
            code: measurement.code,
            value: measurement.value,
        }
    }

    /// The oldest readings, at most `count` and `bytes_max` bytes together, but at least one.
    pub(crate) fn oldest(&self, count: usize, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, AgentError> {
        let pending = self.database.begin_read()?.open_table(PENDING)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in pending.iter()?.take(count) {
            let (sequence, reading) = entry?;
            bytes += reading.value().len();
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((sequence.value(), reading.value().to_vec()));
        }
        Ok(found)
    }

    /// Removes what was acknowledged and sets aside what was refused, in one transaction.
    pub(crate) fn settle(&self, settlement: &Settlement, now_ms: u64) -> Result<(), AgentError> {
        let transaction = self.database.begin_write()?;
        {
            let mut pending = transaction.open_table(PENDING)?;
            let mut rejected = transaction.open_table(REJECTED)?;
            for sequence in &settlement.acknowledged {
                pending.remove(sequence)?;
            }
            for (sequence, code, message) in &settlement.rejected {
                let Some(reading) = pending.remove(sequence)?.map(|reading| reading.value().to_vec()) else { continue };
                let (code, message) = (code.clone(), message.clone());
                let entry = Rejected { sequence: *sequence, code, message, rejected_at_ms: now_ms, reading };
                let next = rejected.last()?.map_or(0, |(last, _)| last.value() + 1);
                rejected.insert(next, encode(&entry).as_slice())?;
                if rejected.len()? > REJECTED_MAX {
                    rejected.pop_first()?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Continues the chain at the oracle's head: readings that the oracle turns out to have are removed, the others are numbered, linked
    /// and signed anew. Returns how many of the queue the oracle had.
    ///
    /// The oracle's head has a hash, and each reading holds the hash of the one before, so when the head is found in the queue, the oracle
    /// has everything up to it.
    pub(crate) fn continue_from(&self, key: &DeviceKey, oracle: Head) -> Result<u64, AgentError> {
        let transaction = self.database.begin_write()?;
        let mut known = 0;
        {
            let mut pending = transaction.open_table(PENDING)?;
            let mut readings = Vec::new();
            let mut after = None;
            for entry in pending.iter()? {
                let (_, bytes) = entry?;
                if Sha256::digest(bytes.value()).as_slice() == oracle.hash {
                    after = Some(readings.len() + 1);
                }
                let corrupt = |_| AgentError::QueueCorrupt { reason: "a reading does not decode" };
                readings.push(SignedReading::decode(bytes.value()).map_err(corrupt)?);
            }
            pending.retain(|_, _| false)?;
            known += after.unwrap_or(0) as u64;
            let mut head = oracle;
            for signed in readings.into_iter().skip(after.unwrap_or(0)) {
                let before = signed.unverified().clone();
                let reading = Reading { sequence: head.sequence + 1, previous: head.hash, ..before };
                let signed = reading.sign(key)?;
                head = Head { sequence: head.sequence + 1, hash: signed.hash() };
                pending.insert(head.sequence, signed.bytes())?;
            }
            transaction.open_table(META)?.insert(HEAD, head.to_bytes().as_slice())?;
        }
        transaction.commit()?;
        Ok(known)
    }

    /// How many readings wait.
    pub(crate) fn len(&self) -> Result<u64, AgentError> {
        Ok(self.database.begin_read()?.open_table(PENDING)?.len()?)
    }

    /// The chain's end: the last reading that was signed.
    pub(crate) fn head(&self) -> Result<Head, AgentError> {
        let meta = self.database.begin_read()?.open_table(META)?;
        decode_head(meta.get(HEAD)?.map(|head| head.value().to_vec()))
    }

    /// How many measurements of a source are in the queue or beyond it.
    pub(crate) fn place(&self, source: &str) -> Result<u64, AgentError> {
        let places = self.database.begin_read()?.open_table(SOURCES)?;
        Ok(places.get(source)?.map_or(0, |place| place.value()))
    }

    /// What was set aside, oldest first.
    pub(crate) fn rejected(&self) -> Result<Vec<Rejected>, AgentError> {
        let rejected = self.database.begin_read()?.open_table(REJECTED)?;
        rejected.iter()?.map(|entry| decode(entry?.1.value())).collect()
    }
}

fn what_differs(known: &[u8], owner: &[u8]) -> &'static str {
    match known.iter().zip(owner).position(|(a, b)| a != b) {
        Some(0..32) => "device",
        Some(32..64) => "patient",
        _ => "deployment",
    }
}

fn head_of(transaction: &WriteTransaction) -> Result<Head, AgentError> {
    let meta = transaction.open_table(META)?;
    let head = meta.get(HEAD)?.map(|head| head.value().to_vec());
    decode_head(head)
}

fn decode_head(bytes: Option<Vec<u8>>) -> Result<Head, AgentError> {
    match bytes {
        None => Ok(Head::NONE),
        Some(bytes) => {
            Head::from_bytes(&bytes).ok_or(AgentError::QueueCorrupt { reason: "the head has a wrong length" })
        }
    }
}

fn encode(entry: &Rejected) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(entry, &mut bytes).expect("texts, numbers and bytes always encode, and a vector takes them");
    bytes
}

fn decode(bytes: &[u8]) -> Result<Rejected, AgentError> {
    ciborium::from_reader(bytes).map_err(|_| AgentError::QueueCorrupt { reason: "a refused reading does not decode" })
}
