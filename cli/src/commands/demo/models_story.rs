//! The chapters about detector models: which one judges is decided on chain, a file that the chain does not name is never loaded, readings
//! go on meanwhile, and a roll-back brings the model before back.

use std::time::{Duration, Instant};

use pulsegate_detector::runtime::kind_name;
use pulsegate_detector::{Assessment, News2, NotAssessed, PhysiologyDetector as _, Verdict};
use pulsegate_ledger::Signer;
use pulsegate_oracle::detectors::ModelState;
use pulsegate_rules::registry::DetectorKind;
use pulsegate_rules::{Category, ModelId, Purpose};
use rand::RngCore;
use rand::rngs::OsRng;

use super::consent_story::{read, wish};
use super::streaming::Streamed;
use super::tale::Tale;
use super::world::World;
use crate::actions::models::{self, Candidate};
use crate::failure::{Failure, Outcome};
use crate::output::short;

/// Longest wait of real time until the oracle has followed the chain's word.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(60);

/// A kind whose model was exchanged.
pub(super) struct Exchanged {
    kind: DetectorKind,
    committed: ModelId,
    foreign: ModelId,
}

/// What was sealed with the vital signs of a window, oldest first.
async fn verdicts(tale: &mut Tale, world: &World, streamed: &Streamed) -> Outcome<Vec<Verdict>> {
    let wish = wish(world, Category::VitalSigns, Purpose::Treatment, streamed.from_s, streamed.until_s);
    let mut opened = read(tale, world, &world.people.patient, &wish).await?.readings;
    opened.sort_by_key(|opened| opened.reading.measured_at_ms);
    Ok(opened.into_iter().map(|opened| opened.payload.verdict).collect())
}

/// Waits until the oracle has taken up a model, or found that it cannot.
async fn followed(world: &World, kind: DetectorKind, model: ModelId) -> Outcome<ModelState> {
    let until = Instant::now() + FOLLOWED_WITHIN;
    loop {
        let found = world.oracle.models().into_iter().find(|at| (at.detector, at.model) == (kind, model));
        if let Some(found) = found {
            return Ok(found.state);
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                "DEMO_MODEL_NOT_FOLLOWED",
                "the oracle did not follow the chain's word about a model",
            )
            .next("run with RUST_LOG=info to see what it waits for"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Shows who judged, and has the registry name a model whose file nobody has.
pub(super) async fn exchange(
    tale: &mut Tale,
    world: &World,
    streamed: &Streamed,
    operator: &Signer,
) -> Outcome<Option<Exchanged>> {
    tale.chapter("The chain says which detector models judge");
    let contracts = &world.session.contracts;
    let standings = models::list(contracts).await?;
    for standing in &standings {
        let kind = kind_name(standing.detector);
        match (standing.active, &standing.name) {
            (Some(id), name) => {
                let name = name.as_deref().unwrap_or("another file");
                tale.say(format_args!("{kind}: {name}, SHA-256 {}", short(&id.to_string())));
            }
            (None, _) => tale.say(format_args!("{kind}: no learned model is active")),
        }
    }
    tale.fact("models", &standings);
    let verdicts = verdicts(tale, world, streamed).await?;
    let failed = Assessment::NotAssessed(NotAssessed::Failed);
    let has_failed = verdicts.iter().any(|verdict| verdict.physiology.iter().any(|judged| judged.assessment == failed));
    tale.expect(!has_failed, "no detector of vital signs failed")?;
    let mut judged: Vec<_> = verdicts.iter().flat_map(Verdict::models).collect();
    judged.sort_unstable();
    judged.dedup();
    for (kind, model) in &judged {
        let name = if *model == News2::default().model() { "NEWS2" } else { kind_name(*kind) };
        tale.say(format_args!("vital signs were judged by {name}, {}", short(&model.to_string())));
    }
    tale.expect(judged.len() >= 2, "the request-rate rule and NEWS2 judge, whatever else does")?;
    // Traffic comes with readings of every kind, so that its model's absence shows.
    let candidates = Candidate::committed()?;
    let traffic =
        |candidate: &&Candidate| matches!(candidate.kind, DetectorKind::Traffic | DetectorKind::TrafficUnsupervised);
    let Some(candidate) = candidates.iter().find(traffic) else {
        tale.say("no learned traffic model comes with this program, so none is exchanged");
        return Ok(None);
    };
    let (kind, committed) = (candidate.kind, candidate.id);
    let named = |verdict: &Verdict| verdict.traffic.iter().any(|at| (at.detector, at.model) == (kind, committed));
    tale.expect(verdicts.iter().any(named), "the verdicts name the committed model")?;
    let mut foreign = ModelId([0; 32]);
    OsRng.fill_bytes(&mut foreign.0);
    let unknown = Candidate { name: "a file that nobody has".to_owned(), id: foreign, ..candidate.clone() };
    models::approve(contracts, operator, &unknown, true).await?;
    tale.say(format_args!(
        "the operator activates {}, a file that this oracle does not have",
        short(&foreign.to_string())
    ));
    let state = followed(world, kind, foreign).await?;
    tale.fact("unknown_model", state);
    let refused = ModelState::Unavailable { code: "MODEL_NOT_AT_HAND" };
    tale.expect(state == refused, "the oracle loads no other file in its place")?;
    tale.say("the oracle has files with other hashes and refuses them: MODEL_NOT_AT_HAND");
    Ok(Some(Exchanged { kind, committed, foreign }))
}

/// Shows that readings went on without the model, and returns to the one before.
pub(super) async fn roll_back(
    tale: &mut Tale,
    world: &World,
    streamed: &Streamed,
    operator: &Signer,
    exchanged: &Exchanged,
) -> Outcome<()> {
    tale.chapter("Readings went on without that model, and the operator returns to the one before");
    let Exchanged { kind, committed, foreign } = *exchanged;
    let verdicts = verdicts(tale, world, streamed).await?;
    let newest = verdicts.last();
    let said = newest.and_then(|verdict| verdict.traffic.iter().find(|judged| judged.detector == kind));
    tale.fact("verdict", newest);
    let unavailable = Assessment::NotAssessed(NotAssessed::Unavailable);
    tale.expect(
        said.is_some_and(|judged| judged.model == foreign && judged.assessment == unavailable),
        "a reading of that time is stored, and says which model did not assess it and why",
    )?;
    tale.expect(newest.is_some_and(|verdict| verdict.news2().is_some()), "NEWS2 judged it all the same")?;
    tale.say(format_args!("{} of {} did not assess it: unavailable", kind_name(kind), short(&foreign.to_string())));
    let rolled = world.session.contracts.registry.roll_back_model(operator, kind).await?;
    let state = followed(world, kind, committed).await?;
    tale.say(format_args!(
        "rolled back in block {}: {} is in use again",
        rolled.transaction.block.number,
        short(&committed.to_string())
    ));
    tale.expect(state == ModelState::InUse, "the model before is in use again")
}
