//! Follows the chain's word about models: whenever a block is final, asks which model of each kind is active, and seats it.
//!
//! Guarantees: a model that was activated or rolled back judges at the latest [`MODELS_POLL_MS`] plus the time to load it after its block is
//! final; readings go on meanwhile, judged by the table as it is; a model that cannot be loaded empties its seat, is reported by its code
//! until it can, and is tried again every [`RETRY_MS`]. A chain that does not answer changes nothing.
//! Must not: load a file that the chain does not name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pulsegate_detector::runtime::{LEARNED, kind_name};
use pulsegate_rules::ModelId;
use pulsegate_rules::registry::DetectorKind;
use serde::Serialize;
use tokio::sync::watch;

use super::models::Models;
use super::panel::{Change, Seat};
use super::panics;
use crate::context::Context;
use crate::health::Part;

/// How often the chain is asked for a new final block, milliseconds of real time.
pub const MODELS_POLL_MS: u64 = 1_000;
/// Longest wait for the active models when the service starts, milliseconds of real time; after it readings are judged by the rules until
/// the models are there.
pub(crate) const START_MS_MAX: u64 = 10_000;
/// How often a model that could not be loaded is tried again, milliseconds of real time.
const RETRY_MS: u64 = 10_000;

/// How an active model stands with this oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum ModelState {
    /// It judges.
    InUse,
    /// It cannot be used; the rules judge without it.
    Unavailable {
        /// Why, as a stable code.
        code: &'static str,
    },
}

/// An active model, as `GET /v1/models` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInUse {
    /// What it judges.
    pub detector: DetectorKind,
    /// Its id.
    pub model: ModelId,
    /// How it stands.
    #[serde(flatten)]
    pub state: ModelState,
}

/// What is known of the active models, and what the table has not learnt yet.
pub(crate) struct Watch {
    models: Models,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    active: BTreeMap<DetectorKind, ModelInUse>,
    changes: Vec<Change>,
    asked_at_block: Option<u64>,
    tried: Option<Instant>,
}

impl Watch {
    /// Nothing known yet.
    pub(crate) fn new(models: Models) -> Self {
        Self { models, board: Mutex::default() }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The active models and how they stand.
    pub(crate) fn active(&self) -> Vec<ModelInUse> {
        self.board().active.values().copied().collect()
    }

    /// What changed since this was asked last; the caller seats it.
    pub(crate) fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.board().changes)
    }

    /// Whether a model that could not be loaded is to be tried again.
    fn tries_again(&self) -> bool {
        self.board().tried.is_some_and(|tried| tried.elapsed() >= Duration::from_millis(RETRY_MS))
    }

    /// Whether a model has its seat, or has to do without for a while.
    fn is_settled(&self, kind: DetectorKind, model: ModelId, again: bool) -> bool {
        let known = self.board().active.get(&kind).copied();
        known.is_some_and(|known| known.model == model && (known.state == ModelState::InUse || !again))
    }

    /// Loads a model and lets the table know of it.
    async fn seat(&self, context: &Context, kind: DetectorKind, model: ModelId) {
        let models = self.models.clone();
        // A panic while loading ends this task alone; the model counts as unusable then.
        let loaded = tokio::task::spawn_blocking(move || panics::contained(|| models.load(kind, model))).await;
        let outcome = loaded.map_or(Err("MODEL_LOADING_FAILED"), |loaded| loaded.map_err(|error| error.code()));
        let (detector, state, code) = match outcome {
            Ok(detector) => (Some(detector), ModelState::InUse, "IN_USE"),
            Err(code) => (None, ModelState::Unavailable { code }, code),
        };
        let now = ModelInUse { detector: kind, model, state };
        let before = self.board().active.insert(kind, now);
        if before == Some(now) {
            return;
        }
        context.metrics.model_changed(kind_name(kind), code);
        match state {
            ModelState::InUse => tracing::info!(detector = kind_name(kind), "a model is in use"),
            ModelState::Unavailable { code } => {
                tracing::warn!(detector = kind_name(kind), code, "the active model cannot be used");
            }
        }
        self.board().changes.push(Change::Seat(Seat { kind, model, detector }));
    }

    fn leave(&self, context: &Context, kind: DetectorKind) {
        let mut board = self.board();
        if board.active.remove(&kind).is_some() {
            board.changes.push(Change::Leave(kind));
            context.metrics.model_changed(kind_name(kind), "NONE_ACTIVE");
        }
    }

    /// Asks the chain for every kind, and follows.
    pub(crate) async fn refresh(&self, context: &Context) {
        let again = self.tries_again();
        let block = match context.ledger.finalised().await {
            Ok(block) if again || self.board().asked_at_block != Some(block.number) => block.number,
            Ok(_) => return self.report(context),
            Err(error) => return context.health.failed(Part::Models, error.code(), context.now_ms()),
        };
        for kind in LEARNED {
            let active = match context.contracts.registry.active_model(kind).await {
                Ok(active) => active.map(|active| active.current),
                Err(error) => return context.health.failed(Part::Models, error.code(), context.now_ms()),
            };
            match active {
                None => self.leave(context, kind),
                Some(model) if self.is_settled(kind, model, again) => {}
                Some(model) => self.seat(context, kind, model).await,
            }
        }
        self.report(context);
        let is_unavailable = self.unavailable().is_some();
        let mut board = self.board();
        board.asked_at_block = Some(block);
        board.tried = match board.tried {
            _ if !is_unavailable => None,
            Some(tried) if !again => Some(tried),
            _ => Some(Instant::now()),
        };
    }

    /// Why an active model cannot be used, if one cannot.
    fn unavailable(&self) -> Option<&'static str> {
        self.board().active.values().find_map(|model| match model.state {
            ModelState::Unavailable { code } => Some(code),
            ModelState::InUse => None,
        })
    }

    fn report(&self, context: &Context) {
        match self.unavailable() {
            Some(code) => context.health.failed(Part::Models, code, context.now_ms()),
            None => context.health.succeeded(Part::Models, context.now_ms()),
        }
    }
}

/// Follows the chain until `stop` is set.
pub(crate) async fn watch_loop(context: Arc<Context>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(MODELS_POLL_MS)) => {}
            _ = stop.changed() => return,
        }
        // A chain that keeps silent must not keep the service from stopping.
        tokio::select! {
            () = context.models.refresh(&context) => {}
            _ = stop.changed() => return,
        }
    }
}
