//! The two loops behind the acknowledgement: entries become sealed records, and sealed leaves become anchored batches.
//!
//! Guarantees: each loop takes a bounded group at a time, tries it until it succeeds with growing pauses, and says in health what fails;
//! a failing block store or chain stops neither receiving nor sealing until the named limits are reached.
//! Must not: swallow an error, or hold a plaintext across a pause.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pulsegate_reading::SignedReading;
use pulsegate_rules::records::BatchKind;
use tokio::sync::watch;

use crate::context::Context;
use crate::detectors::Panel;
use crate::health::Part;
use crate::log::OpenBatch;
use crate::metrics::{Metrics, kind_name};
use crate::stages::anchor::Anchor;
use crate::stages::assess::Assess;
use crate::stages::screen::{Received, Screen};
use crate::stages::seal::{JudgedReading, Seal};
use crate::stages::store::Store;
use crate::stages::{Backoff, Item, Stage, StageError};

/// Most readings that are in plaintext in memory at once.
pub(crate) const GROUP_READINGS_MAX: usize = 256;
/// How often parked readings are looked at when nothing else happens, milliseconds of real time.
const PARKED_CHECK_MS: u64 = 500;

/// Judges and seals accepted readings until `stop` is set.
pub(crate) async fn seal_loop(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    let panel = Arc::new(Mutex::new(Panel::new(context.metrics.clone())));
    let mut line = Line {
        screen: Screen::new(Arc::clone(&panel)),
        assess: Assess::new(Arc::clone(&panel)),
        panel,
        seal: Seal::new(Arc::clone(&context)),
        context: Arc::clone(&context),
        cursor: 0,
    };
    let mut backoff = Backoff::new();
    while !*stop.borrow() {
        let pause = match line.step().await {
            Ok(true) => {
                context.health.succeeded(Part::Seal, context.now_ms());
                backoff.reset();
                continue;
            }
            Ok(false) => Duration::from_millis(PARKED_CHECK_MS),
            Err(error) => {
                context.health.failed(Part::Seal, error.code, context.now_ms());
                context.metrics.retry("seal", error.code);
                backoff.next()
            }
        };
        tokio::select! {
            () = context.entries_changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

/// The stages between the log's plaintext and its sealed records.
struct Line {
    context: Arc<Context>,
    /// The detectors of both stages.
    panel: Arc<Mutex<Panel>>,
    screen: Screen,
    assess: Assess,
    seal: Seal,
    /// Every entry up to here is sealed or parked.
    cursor: u64,
}

impl Line {
    /// Works on one group; says whether there may be more at once.
    async fn step(&mut self) -> Result<bool, StageError> {
        let context = Arc::clone(&self.context);
        if context.log.waiting().records.load(Ordering::SeqCst) >= context.config.log_entries_max {
            return Ok(false);
        }
        let unparked = self.seal.unpark(GROUP_READINGS_MAX).await?;
        // What could not be sealed again must not keep new readings from their turn.
        if !unparked.is_empty() && self.sealed(unparked).await? > 0 {
            return Ok(true);
        }
        let cursor = self.cursor;
        let entries = context.log.run(move |log| log.entries_after(cursor, GROUP_READINGS_MAX)).await?;
        let Some(last) = entries.last().map(|entry| entry.position) else { return Ok(false) };
        let mut received = Vec::with_capacity(entries.len());
        for entry in entries {
            let signed = SignedReading::decode(&entry.cose).map_err(|error| StageError { code: error.code() })?;
            let value = Received {
                signed,
                received_at_ms: entry.received_at_ms,
                quarantined: entry.quarantined,
                flow: entry.flow,
            };
            received.push(Item { position: entry.position, value });
        }
        // Between two groups, so that all of a group is judged by the same models.
        self.panel.lock().unwrap_or_else(PoisonError::into_inner).change(context.models.changes());
        let readings = received.len();
        let metrics = &context.metrics;
        let screened = timed(metrics, "screen", readings, self.screen.run(received)).await?;
        let judged = timed(metrics, "assess", readings, self.assess.run(screened)).await?;
        // From here the group is sealed or parked, also when sealing fails, so the detectors see every reading once.
        self.cursor = last;
        self.sealed(judged).await?;
        Ok(true)
    }

    /// Seals what can be sealed and measures how long that took; says how many were.
    async fn sealed(&mut self, judged: Vec<Item<JudgedReading>>) -> Result<u64, StageError> {
        let began = Instant::now();
        let sealed = self.seal.run(judged).await?;
        self.context.metrics.stage("seal", began.elapsed(), usize::try_from(sealed).unwrap_or(usize::MAX));
        Ok(sealed)
    }
}

/// Runs a stage and measures how long it took.
async fn timed<T>(
    metrics: &Metrics,
    stage: &'static str,
    readings: usize,
    run: impl Future<Output = Result<T, StageError>>,
) -> Result<T, StageError> {
    let began = Instant::now();
    let outcome = run.await;
    metrics.stage(stage, began.elapsed(), readings);
    outcome
}

/// Composes, stores and anchors batches of one kind until `stop` is set.
pub(crate) async fn batch_loop(context: Arc<Context>, kind: BatchKind, mut stop: watch::Receiver<bool>) {
    let part = match kind {
        BatchKind::Records => Part::AnchorRecords,
        BatchKind::Receipts => Part::AnchorReceipts,
        BatchKind::Critical => Part::AnchorCritical,
    };
    let mut batcher = Batcher::new(Arc::clone(&context), kind);
    let mut backoff = Backoff::new();
    while !*stop.borrow() {
        let pause = match batcher.step().await {
            Ok(None) => {
                context.health.succeeded(part, context.now_ms());
                backoff.reset();
                continue;
            }
            Ok(Some(pause)) => pause,
            Err(error) => {
                context.health.failed(part, error.code, context.now_ms());
                context.metrics.retry(kind_name(kind), error.code);
                let pause = backoff.next();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = stop.changed() => {}
                }
                continue;
            }
        };
        tokio::select! {
            () = context.leaves_changed(kind).notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

/// Batches of one kind.
struct Batcher {
    context: Arc<Context>,
    kind: BatchKind,
    store: Store,
    anchor: Anchor,
    /// The batch in flight; the log has it too.
    open: Option<OpenBatch>,
    /// Whether the log was asked for a batch that a crash left in flight.
    recovered: bool,
    /// Since when the oldest waiting leaf waits, at the earliest.
    oldest: Option<Instant>,
}

/// How long to wait when nothing waits; a notification ends it earlier.
const IDLE: Duration = Duration::from_secs(60);

impl Batcher {
    fn new(context: Arc<Context>, kind: BatchKind) -> Self {
        let (store, anchor) = (Store::new(Arc::clone(&context)), Anchor::new(Arc::clone(&context)));
        Self { context, kind, store, anchor, open: None, recovered: false, oldest: None }
    }

    /// Brings one batch on chain and answers `None`, or says how long to wait.
    async fn step(&mut self) -> Result<Option<Duration>, StageError> {
        let kind = self.kind;
        if !self.recovered {
            self.open = self.context.log.run(move |log| log.open_batch(kind)).await?;
            self.recovered = true;
        }
        if self.open.is_none() {
            if let Some(pause) = self.pause() {
                return Ok(Some(pause));
            }
            let limit = self.leaves_max();
            let mut leaves = self.context.log.run(move |log| log.leaves(kind, limit)).await?;
            // Leaves are counted a moment before they are committed; their commit notifies this loop again.
            if leaves.is_empty() {
                return Ok(Some(IDLE));
            }
            // A header names one set of models, so a batch ends where another set began to judge.
            let same = leaves.iter().take_while(|(_, leaf)| leaf.model == leaves[0].1.model).count();
            let is_cut = same < leaves.len();
            leaves.truncate(same);
            if !is_cut
                && leaves.len() < limit
                && let Some(pause) = self.until_old()
            {
                return Ok(Some(pause));
            }
            // Leaves that come from now on are younger than this; those that were cut off are due at once or soon.
            self.oldest = Some(Instant::now());
            self.open = Some(self.anchor.compose(kind, leaves).await?);
        }
        let Some(batch) = self.open.clone() else { return Ok(Some(IDLE)) };
        let (metrics, leaves) = (&self.context.metrics, batch.positions.len());
        let stored = timed(metrics, "store", leaves, self.store.run(batch)).await?;
        self.context.health.succeeded(Part::Blocks, self.context.now_ms());
        self.open = Some(stored.clone());
        timed(metrics, "anchor", leaves, self.anchor.run(stored)).await?;
        self.open = None;
        Ok(None)
    }

    fn leaves_max(&self) -> usize {
        if self.kind == BatchKind::Critical { 1 } else { self.context.config.batch_count_max as usize }
    }

    /// How long the next batch may still grow; `None` when it is due.
    fn pause(&mut self) -> Option<Duration> {
        let waiting = self.context.log.waiting().leaves(self.kind).load(Ordering::SeqCst);
        if waiting == 0 {
            self.oldest = None;
            return Some(IDLE);
        }
        if waiting >= self.leaves_max() as u64 { None } else { self.until_old() }
    }

    /// How long until the oldest waiting leaf may wait no longer; `None` when that is now.
    fn until_old(&mut self) -> Option<Duration> {
        let since = *self.oldest.get_or_insert_with(Instant::now);
        let age_max = Duration::from_millis(match self.kind {
            BatchKind::Records => self.context.config.batch_age_ms,
            BatchKind::Receipts => self.context.config.receipt_age_ms,
            BatchKind::Critical => 0,
        });
        let flushing = self.context.flushing.load(Ordering::SeqCst);
        if flushing || since.elapsed() >= age_max { None } else { Some(age_max.saturating_sub(since.elapsed())) }
    }
}
