//! Group commit: one thread gathers what all requests want to append, commits it in one transaction, then answers all of them.
//!
//! Guarantees: the order and hash link of every device are checked in the same transaction that appends, so two requests of one device
//! cannot both win; nobody is answered before the commit returned. The queue in front is bounded by [`APPEND_QUEUE_MAX`].

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use pulsegate_detector::traffic::Flow;
use pulsegate_rules::{DeviceId, Principal};
use redb::{ReadableDatabase, ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::{
    ACCEPTED, DEVICES, DurableLog, ENTRIES, LogError, META, META_NEXT_POSITION, RECENT_READINGS_MAX, entries, join,
    number, split,
};
use crate::fault;

/// Most requests that wait for the next commit; more are told to come back.
pub(crate) const APPEND_QUEUE_MAX: usize = 1_024;
/// Most readings in one commit (one more request may push it a batch above).
pub(crate) const GROUP_READINGS_MAX: usize = 4_096;

/// A verified reading that wants to be in the log.
pub(crate) struct NewEntry {
    /// Which device.
    pub(crate) device: DeviceId,
    /// Whose.
    pub(crate) patient: Principal,
    /// Number of the reading in the device's chain, from 1.
    pub(crate) sequence: u64,
    /// Hash of the reading before; zero for the first.
    pub(crate) previous: [u8; 32],
    /// Hash of this reading.
    pub(crate) hash: [u8; 32],
    /// The oracle's time, Unix milliseconds.
    pub(crate) received_at_ms: u64,
    /// Whether its patient has quarantined the device.
    pub(crate) quarantined: bool,
    /// Whether it was measured too long ago to be judged live; not kept.
    pub(crate) late: bool,
    /// An earlier exchange of the device, which is judged with this reading.
    pub(crate) flow: Option<Flow>,
    /// The signed reading as it came.
    pub(crate) cose: Zeroizing<Vec<u8>>,
}

/// What became of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendOutcome {
    /// It is in the log, durable.
    Accepted {
        /// Its place in the log, from 1.
        position: u64,
    },
    /// The same bytes were accepted before.
    Duplicate {
        /// Where it was put then.
        position: u64,
    },
    /// Its sequence is used by another reading, or too old to tell.
    Replayed {
        /// The device's newest sequence.
        last: u64,
    },
    /// Readings before it are missing.
    Gap {
        /// The sequence that comes next.
        expected: u64,
    },
    /// It does not name the device's newest reading as the one before.
    BrokenLink,
}

/// The newest accepted reading of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceHead {
    /// Its sequence; 0 before the first.
    pub(crate) sequence: u64,
    /// Its hash; zero before the first.
    pub(crate) hash: [u8; 32],
}

/// One request's readings, in order, and where the answer goes.
pub(crate) struct Append {
    entries: Vec<NewEntry>,
    reply: oneshot::Sender<Result<Vec<AppendOutcome>, LogError>>,
}

/// The bounded way into the log.
#[derive(Clone)]
pub(crate) struct AppendQueue {
    sender: mpsc::Sender<Append>,
}

impl AppendQueue {
    /// Starts the writer thread; it ends when every clone of the queue is dropped. `on_commit` learns the size of each group and how
    /// many readings of each patient it added.
    pub(crate) fn start(
        log: DurableLog,
        on_commit: impl Fn(usize, BTreeMap<Principal, u64>) + Send + 'static,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, mut receiver) = mpsc::channel::<Append>(APPEND_QUEUE_MAX);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(first) = receiver.blocking_recv() {
                let mut group = vec![first];
                let mut readings = group[0].entries.len();
                while readings < GROUP_READINGS_MAX {
                    let Ok(next) = receiver.try_recv() else { break };
                    readings += next.entries.len();
                    group.push(next);
                }
                write_group(&log, group, readings, &on_commit);
            }
        });
        (Self { sender }, writer)
    }

    /// Appends readings of one request and waits until they are durable; `None` when the queue is full or the writer is gone.
    pub(crate) async fn append(&self, entries: Vec<NewEntry>) -> Option<Result<Vec<AppendOutcome>, LogError>> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Append { entries, reply }).ok()?;
        answer.await.ok()
    }
}

fn write_group(
    log: &DurableLog,
    group: Vec<Append>,
    readings: usize,
    on_commit: &impl Fn(usize, BTreeMap<Principal, u64>),
) {
    let lists: Vec<&[NewEntry]> = group.iter().map(|request| request.entries.as_slice()).collect();
    match log.append(&lists) {
        Ok(outcomes) => {
            let mut added = BTreeMap::new();
            for (request, outcomes) in group.iter().zip(&outcomes) {
                for (entry, outcome) in request.entries.iter().zip(outcomes) {
                    if matches!(outcome, AppendOutcome::Accepted { .. }) {
                        *added.entry(entry.patient).or_insert(0) += 1;
                    }
                }
            }
            on_commit(readings, added);
            for (request, outcomes) in group.into_iter().zip(outcomes) {
                // The sender may have hung up; the readings are in the log all the same and a resend is a duplicate.
                let _ = request.reply.send(Ok(outcomes));
            }
        }
        Err(error) => {
            tracing::error!(code = error.code(), readings, "durable log refused a group of readings");
            for request in group {
                let _ = request.reply.send(Err(error.clone()));
            }
        }
    }
}

impl DurableLog {
    /// Appends several requests' readings in one transaction. Outcomes are in the order of the input.
    pub(crate) fn append(&self, requests: &[&[NewEntry]]) -> Result<Vec<Vec<AppendOutcome>>, LogError> {
        let write = self.begin()?;
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut accepted = 0u64;
        let next = {
            let mut meta = write.open_table(META)?;
            let mut rows = Rows {
                entries: write.open_table(ENTRIES)?,
                devices: write.open_table(DEVICES)?,
                accepted: write.open_table(ACCEPTED)?,
            };
            let mut next = number(&meta, META_NEXT_POSITION)?;
            for entries in requests {
                let mut answers = Vec::with_capacity(entries.len());
                for entry in *entries {
                    let outcome = rows.append(self, entry, next)?;
                    if matches!(outcome, AppendOutcome::Accepted { .. }) {
                        next += 1;
                        accepted += 1;
                    }
                    answers.push(outcome);
                }
                outcomes.push(answers);
            }
            meta.insert(META_NEXT_POSITION, &next.to_be_bytes()[..])?;
            next
        };
        if accepted == 0 {
            write.abort()?;
            return Ok(outcomes);
        }
        fault::point(fault::LOG_BEFORE_COMMIT);
        // Counted before the commit, because the pipeline may take them out before this thread goes on.
        self.waiting().entries.fetch_add(accepted, Ordering::SeqCst);
        if let Err(error) = write.commit() {
            self.waiting().entries.fetch_sub(accepted, Ordering::SeqCst);
            return Err(error.into());
        }
        fault::point(fault::LOG_AFTER_COMMIT);
        self.waiting().accepted.store(next - 1, Ordering::SeqCst);
        Ok(outcomes)
    }

    /// The newest accepted reading of a device; zeros when there is none.
    pub(crate) fn device_head(&self, device: &DeviceId) -> Result<DeviceHead, LogError> {
        let read = self.inner.database.begin_read()?;
        let row = read.open_table(DEVICES)?.get(device.0)?.map(|row| split(&row.value()));
        Ok(row.map_or(DeviceHead { sequence: 0, hash: [0; 32] }, |(sequence, hash)| DeviceHead { sequence, hash }))
    }
}

/// The tables that an append touches.
struct Rows<'a> {
    entries: Table<'a, u64, &'static [u8]>,
    devices: Table<'a, [u8; 32], [u8; 40]>,
    accepted: Table<'a, ([u8; 32], u64), [u8; 40]>,
}

impl Rows<'_> {
    fn append(&mut self, log: &DurableLog, entry: &NewEntry, position: u64) -> Result<AppendOutcome, LogError> {
        let device = entry.device.0;
        let (last, last_hash) = self.devices.get(device)?.map_or((0, [0; 32]), |row| split(&row.value()));
        if entry.sequence <= last {
            let known = self.accepted.get((device, entry.sequence))?.map(|row| split(&row.value()));
            return Ok(match known {
                Some((position, hash)) if hash == entry.hash => AppendOutcome::Duplicate { position },
                _ => AppendOutcome::Replayed { last },
            });
        }
        if entry.sequence != last + 1 {
            return Ok(AppendOutcome::Gap { expected: last + 1 });
        }
        if entry.previous != last_hash {
            return Ok(AppendOutcome::BrokenLink);
        }
        let plaintext = entries::encode(entry.received_at_ms, entry.quarantined, entry.flow.as_ref(), &entry.cose);
        let sealed = log.inner.entry_key.seal("entries", &position.to_be_bytes(), &plaintext);
        self.entries.insert(position, sealed.as_slice())?;
        self.devices.insert(device, join(entry.sequence, &entry.hash))?;
        self.accepted.insert((device, entry.sequence), join(position, &entry.hash))?;
        if let Some(old) = entry.sequence.checked_sub(RECENT_READINGS_MAX) {
            self.accepted.remove((device, old))?;
        }
        Ok(AppendOutcome::Accepted { position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::OracleKeys;

    fn entry(device: u8, sequence: u64, previous: u8, hash: u8) -> NewEntry {
        NewEntry {
            device: DeviceId([device; 32]),
            patient: Principal([1; 32]),
            sequence,
            previous: [previous; 32],
            hash: [hash; 32],
            received_at_ms: 1,
            quarantined: false,
            late: false,
            flow: None,
            cose: Zeroizing::new(vec![hash]),
        }
    }

    fn log() -> (tempfile::TempDir, DurableLog) {
        let dir = tempfile::tempdir().unwrap();
        let log = DurableLog::open(dir.path(), &OracleKeys::from_seed(&[1; 32]), &[2; 32]).unwrap();
        (dir, log)
    }

    #[test]
    fn requests_of_one_group_see_each_other_in_order() {
        let (_dir, log) = log();
        let first = [entry(1, 1, 0, 11), entry(1, 2, 11, 12)];
        let second = [entry(1, 2, 11, 99), entry(1, 1, 0, 11), entry(2, 1, 0, 21)];
        let third = [entry(1, 3, 99, 13), entry(1, 4, 12, 14), entry(1, 3, 12, 13)];
        let outcomes = log.append(&[&first[..], &second[..], &third[..]]).unwrap();
        use AppendOutcome::{Accepted, BrokenLink, Duplicate, Gap, Replayed};
        assert_eq!(outcomes[0], [Accepted { position: 1 }, Accepted { position: 2 }]);
        assert_eq!(outcomes[1], [Replayed { last: 2 }, Duplicate { position: 1 }, Accepted { position: 3 }]);
        assert_eq!(outcomes[2], [BrokenLink, Gap { expected: 3 }, Accepted { position: 4 }]);
        let head = log.device_head(&DeviceId([1; 32])).unwrap();
        assert_eq!(head, DeviceHead { sequence: 3, hash: [13; 32] });
        let entries = log.entries_after(0, 10).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.cose[0]).collect::<Vec<_>>(), [11, 12, 21, 13]);
    }

    #[test]
    fn a_resend_is_recognised_among_the_newest_readings_only() {
        let (_dir, log) = log();
        let count = u8::try_from(RECENT_READINGS_MAX / 8).unwrap();
        let hash = |sequence: u64| u8::try_from(sequence % u64::from(count)).unwrap();
        let entries: Vec<NewEntry> = (1..=RECENT_READINGS_MAX + 1)
            .map(|sequence| entry(1, sequence, if sequence == 1 { 0 } else { hash(sequence - 1) }, hash(sequence)))
            .collect();
        log.append(&[&entries[..]]).unwrap();
        let outcomes = log.append(&[&entries[..2]]).unwrap();
        let last = RECENT_READINGS_MAX + 1;
        assert_eq!(outcomes[0], [AppendOutcome::Replayed { last }, AppendOutcome::Duplicate { position: 2 }]);
    }
}
