//! The HTTP interface: paths, bodies, limits.
//!
//! Guarantees: no body is read beyond its limit or for longer than [`BODY_MS_MAX`], and a request counts only once its body is there, so
//! slow senders keep nobody out; at most `requests_in_flight_max` requests are worked on, others get 503 with Retry-After;
//! a request that takes longer than [`REQUEST_MS_MAX`] ends with 503; every refusal is `{"code","message","next"}`.
//! `/healthz` and `/metrics` are outside the limit, so that a busy service can still be looked at.
//! Every exchange's meter learns when the answer is made up, and whose fresh readings it brought.
//! Must not: decide anything about readings or releases; the stages do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use futures::StreamExt;
use pulsegate_detector::traffic::Flow;
use pulsegate_rules::ids::EPOCH_SECONDS;
use pulsegate_rules::{DeviceId, OracleKey, Principal};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

use crate::context::Context;
use crate::cosign;
use crate::detectors::ModelInUse;
use crate::exchanges::Meter;
use crate::health::{Health, Part};
use crate::problem::Problem;
use crate::release::protocol::REQUEST_BYTES_MAX;
use crate::release::{self, Guard};
use crate::stages::receive::{self, BATCH_BYTES_MAX, READING_BYTES_MAX};
use crate::stages::verify;

/// Longest time that a request may take once its body is there, milliseconds.
pub const REQUEST_MS_MAX: u64 = 30_000;

/// Longest time to send a request's body, milliseconds.
pub const BODY_MS_MAX: u64 = 5_000;

/// How much of an oversized body is read and thrown away before the connection is closed, bytes.
pub const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What becomes of one reading, in answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum ReadingAnswer {
    /// It is durable.
    Accepted {
        /// Its place in the oracle's log.
        position: u64,
    },
    /// It was accepted before.
    Duplicate {
        /// Its place in the oracle's log.
        position: u64,
    },
    /// It was refused; the rest of a batch is not touched by that.
    Rejected {
        /// Why, and what to do.
        #[serde(flatten)]
        problem: Problem,
    },
}

/// What `GET /v1/oracle` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OracleInfo {
    /// Whose chains of batches this instance extends.
    pub oracle: Principal,
    /// The key that signs batches and receipts.
    pub oracle_key: OracleKey,
    /// The chain's genesis hash.
    pub genesis: Principal,
    /// The contracts.
    pub deployment: pulsegate_ledger::Deployment,
    /// What readings and release requests name.
    pub audience: Principal,
    /// Length of an epoch, seconds.
    pub epoch_seconds: u64,
    /// Version of the service.
    pub version: String,
}

/// What `GET /v1/devices/{id}` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceHeadAnswer {
    /// Sequence of the newest accepted reading; 0 before the first.
    pub last_sequence: u64,
    /// Its hash, `0x` hex; zeros before the first.
    pub last_hash: Principal,
}

#[derive(Clone)]
struct App {
    context: Arc<Context>,
    guard: Arc<Guard>,
}

/// All paths, and `extra` beside them under the same listener but outside of the limits.
pub(crate) fn router(context: Arc<Context>, extra: Option<Router>) -> Router {
    let guard = Arc::new(Guard::new(context.config.releases_per_minute_max));
    let app = App { context, guard };
    let limited = |route: MethodRouter<App>| route.layer(middleware::from_fn_with_state(app.clone(), limit));
    // What is layered last is run first: the body is read, then the request is let in.
    let with_body = |route: MethodRouter<App>, bytes_max: usize| {
        let app = app.clone();
        let read = middleware::from_fn(move |request, next| receive_body(app.clone(), bytes_max, request, next));
        limited(route.layer(DefaultBodyLimit::disable())).layer(read)
    };
    let limited = Router::new()
        .route("/v1/readings", with_body(post(reading), READING_BYTES_MAX))
        .route("/v1/readings/batch", with_body(post(batch), BATCH_BYTES_MAX))
        .route("/v1/release", with_body(post(release), REQUEST_BYTES_MAX))
        .route("/v1/cosign", with_body(post(cosign_header), cosign::COSIGN_BYTES_MAX))
        .route("/v1/oracle", limited(get(oracle)))
        .route("/v1/models", limited(get(models)))
        .route("/v1/devices/{id}", limited(get(device)));
    let open = Router::new().route("/healthz", get(health)).route("/metrics", get(metrics));
    let all = limited.merge(open).with_state(app.clone());
    let all = extra.map_or_else(|| all.clone(), |extra| all.clone().merge(extra)).fallback(not_found);
    all.layer(middleware::from_fn_with_state(app, measure))
}

/// The meter of the connection that a request came by; absent when there is none, as for a router without its listener.
#[derive(Clone)]
struct Metered(Option<Arc<Meter>>);

/// Hands the connection's meter to the handlers, and tells it when the answer is made up.
async fn measure(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let meter = peer.and_then(|peer| app.context.exchanges.meter(&peer));
    request.extensions_mut().insert(Metered(meter.clone()));
    let response = next.run(request).await;
    if let Some(meter) = meter {
        // What asks to wait is no fault of the sender.
        if response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS {
            meter.refused();
        }
        meter.answering();
    }
    response
}

/// Lets a bounded number of requests in, for a bounded time, and counts what is refused.
async fn limit(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_permit) = Arc::clone(&app.context.requests).try_acquire_owned() else {
        app.context.metrics.refused("OVERLOADED");
        return Problem::unavailable("OVERLOADED", "The service is busy.", 1).into_response();
    };
    match tokio::time::timeout(Duration::from_millis(REQUEST_MS_MAX), next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            app.context.metrics.refused("TIMED_OUT");
            Problem::unavailable("TIMED_OUT", "The request took too long.", 5).into_response()
        }
    }
}

/// Reads the whole body in its own short time, before the request counts as one that is worked on.
async fn receive_body(app: App, bytes_max: usize, request: Request, next: Next) -> Response {
    let (parts, sent) = request.into_parts();
    let read = tokio::time::timeout(Duration::from_millis(BODY_MS_MAX), body(sent, bytes_max)).await;
    match read.unwrap_or_else(|_elapsed| Err(Problem::body_too_slow(BODY_MS_MAX))) {
        Ok(whole) => next.run(Request::from_parts(parts, Body::from(whole))).await,
        Err(problem) => refused(&app.context, problem),
    }
}

/// Reads a body of at most `bytes_max`. More is thrown away as it comes, up to a limit, so that the sender gets to read the answer
/// instead of a broken connection.
async fn body(sent: Body, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut stream = sent.into_data_stream();
    let (mut body, mut length) = (Vec::new(), 0usize);
    while let Some(chunk) = stream.next().await {
        let cut_off = |_| Problem::bad("BODY_CUT_OFF", "The body ended early.", "Send the request again.");
        let chunk = chunk.map_err(cut_off)?;
        length = length.saturating_add(chunk.len());
        if length <= bytes_max {
            body.extend_from_slice(&chunk);
        } else if length > bytes_max.saturating_add(DISCARDED_BYTES_MAX) {
            break;
        }
    }
    if length > bytes_max { Err(Problem::too_large(bytes_max)) } else { Ok(body) }
}

/// Verifies readings and makes them durable; the answers are in the order of the input.
async fn accept(context: &Arc<Context>, metered: &Metered, bodies: Vec<Vec<u8>>) -> Vec<Result<(u64, bool), Problem>> {
    let waiting = context.log.waiting();
    let entries = waiting.entries.load(Ordering::SeqCst);
    if entries.saturating_add(bodies.len() as u64) > context.config.log_entries_max {
        let problem = Problem::unavailable("LOG_FULL", "Accepted readings wait to be sealed and fill the log.", 10);
        return bodies.iter().map(|_| Err(problem.clone())).collect();
    }
    let (began, count) = (Instant::now(), bodies.len());
    let verified = verify::verify(context, bodies).await;
    context.metrics.stage("verify", began.elapsed(), count);
    let mut answers: Vec<Result<(u64, bool), Problem>> = Vec::with_capacity(verified.len());
    let (mut entries, mut places, mut flows) = (Vec::new(), Vec::new(), Vec::new());
    for (index, outcome) in verified.into_iter().enumerate() {
        match outcome {
            Ok(mut entry) => {
                // A late reading is not judged live, so it carries no flow.
                entry.flow = if entry.late { None } else { context.exchanges.take(&entry.device) };
                flows.push((entry.device, entry.flow));
                entries.push(entry);
                places.push(index);
                // Replaced below by what the log says.
                answers.push(Err(Problem::storage()));
            }
            Err(problem) => answers.push(Err(problem)),
        }
    }
    if entries.is_empty() {
        return answers;
    }
    let began = Instant::now();
    let appended = context.queue.append(entries).await;
    context.metrics.stage("log", began.elapsed(), places.len());
    match appended {
        Some(Ok(outcomes)) => {
            context.health.succeeded(Part::Log, context.now_ms());
            for (index, outcome) in places.iter().zip(outcomes) {
                answers[*index] = verify::outcome(outcome);
            }
        }
        Some(Err(error)) => {
            context.health.failed(Part::Log, error.code(), context.now_ms());
        }
        None => {
            let problem = Problem::unavailable("QUEUE_FULL", "Too many requests wait for the durable log.", 1);
            for index in &places {
                answers[*index] = Err(problem.clone());
            }
        }
    }
    let carried = places.iter().zip(flows).map(|(index, (device, flow))| (&answers[*index], device, flow));
    attribute(context, metered, carried);
    answers
}

/// Tells the meter whose readings the exchange brought: those that the log took as new. A resent or replayed one charges nobody, and a flow
/// whose reading was not taken waits for the next one.
fn attribute<'a>(
    context: &Context,
    metered: &Metered,
    carried: impl Iterator<Item = (&'a Result<(u64, bool), Problem>, DeviceId, Option<Flow>)>,
) {
    let mut fresh = Vec::new();
    for (answer, device, flow) in carried {
        if matches!(answer, Ok((_, false))) {
            fresh.push(device);
        } else if let Some(flow) = flow {
            context.exchanges.give_back(device, flow);
        }
    }
    fresh.sort_unstable();
    fresh.dedup();
    if let Some(meter) = &metered.0 {
        meter.brought(fresh);
    }
}

fn count(context: &Context, answers: &[Result<(u64, bool), Problem>]) {
    for answer in answers {
        context.metrics.reading(match answer {
            Ok((_, false)) => "accepted",
            Ok((_, true)) => "duplicate",
            Err(problem) => problem.code,
        });
    }
}

fn reading_answer(answer: Result<(u64, bool), Problem>) -> ReadingAnswer {
    match answer {
        Ok((position, false)) => ReadingAnswer::Accepted { position },
        Ok((position, true)) => ReadingAnswer::Duplicate { position },
        Err(problem) => ReadingAnswer::Rejected { problem },
    }
}

async fn reading(
    State(App { context, .. }): State<App>,
    Extension(metered): Extension<Metered>,
    body: Bytes,
) -> Response {
    let mut answers = accept(&context, &metered, vec![body.into()]).await;
    count(&context, &answers);
    match answers.pop() {
        Some(Ok(place)) => (StatusCode::ACCEPTED, Json(reading_answer(Ok(place)))).into_response(),
        Some(Err(problem)) => problem.into_response(),
        None => Problem::storage().into_response(),
    }
}

async fn batch(
    State(App { context, .. }): State<App>,
    Extension(metered): Extension<Metered>,
    body: Bytes,
) -> Response {
    let bodies = match receive::batch(&body) {
        Ok(bodies) => bodies,
        Err(problem) => return refused(&context, problem),
    };
    let answers = accept(&context, &metered, bodies).await;
    count(&context, &answers);
    // The answer as a whole is a success, so what is refused inside is counted here.
    if let Some(meter) = &metered.0
        && answers.iter().any(|answer| answer.as_ref().is_err_and(|problem| problem.retry_after_s.is_none()))
    {
        meter.refused();
    }
    // When nothing was taken and waiting helps all of it, the sender must see Retry-After.
    if let Some(Err(problem)) = answers.first()
        && answers.iter().all(|answer| answer.as_ref().is_err_and(|other| other.retry_after_s.is_some()))
    {
        return problem.clone().into_response();
    }
    let answers: Vec<ReadingAnswer> = answers.into_iter().map(reading_answer).collect();
    Json(answers).into_response()
}

async fn release(State(App { context, guard }): State<App>, body: Bytes) -> Response {
    match release::release(&context, &guard, &body).await {
        Ok(answer) => bytes_response("application/cbor", answer.encode()),
        Err(problem) => {
            context.metrics.release(problem.code);
            problem.into_response()
        }
    }
}

async fn cosign_header(State(App { context, .. }): State<App>, body: Bytes) -> Response {
    match cosign::sign(&context, &body).await {
        Ok(signature) => bytes_response("application/octet-stream", signature.to_vec()),
        Err(problem) => refused(&context, problem),
    }
}

async fn oracle(State(App { context, .. }): State<App>) -> Json<OracleInfo> {
    Json(OracleInfo {
        oracle: context.keys.principal(),
        oracle_key: context.keys.oracle_key(),
        genesis: Principal(context.contracts.deployment.genesis),
        deployment: context.contracts.deployment.clone(),
        audience: Principal(context.audience),
        epoch_seconds: EPOCH_SECONDS,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

async fn models(State(App { context, .. }): State<App>) -> Json<Vec<ModelInUse>> {
    Json(context.models.active())
}

async fn device(State(App { context, .. }): State<App>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<DeviceId>() else {
        let problem = Problem::bad("MALFORMED_DEVICE_ID", "A device id is 32 bytes in hex.", "Check the id.");
        return refused(&context, problem);
    };
    match context.log.run(move |log| log.device_head(&id)).await {
        Ok(head) => {
            Json(DeviceHeadAnswer { last_sequence: head.sequence, last_hash: Principal(head.hash) }).into_response()
        }
        Err(_) => refused(&context, Problem::storage()),
    }
}

async fn health(State(App { context, .. }): State<App>) -> Json<Health> {
    let parked = context.parked.load(Ordering::SeqCst);
    let block = context.finalised_block.load(Ordering::Relaxed);
    Json(context.health.report(context.log.waiting(), parked, block))
}

async fn metrics(State(App { context, .. }): State<App>) -> Response {
    bytes_response("text/plain; version=0.0.4", context.metrics.render(&context.log, &context.exchanges).into_bytes())
}

async fn not_found() -> Problem {
    Problem::bad("NOT_FOUND", "There is nothing under this path.", "See the README for the paths.")
        .with_status(StatusCode::NOT_FOUND)
}

fn refused(context: &Context, problem: Problem) -> Response {
    context.metrics.refused(problem.code);
    problem.into_response()
}

fn bytes_response(kind: &'static str, bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], Body::from(bytes)).into_response()
}
