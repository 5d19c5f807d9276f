//! The chapter in which the device's agent streams readings to the oracle, over HTTP, at the demo's speed.
//!
//! The clock is pushed ahead step by step with the stream, never beyond it, so readings arrive as fresh as in life; the
//! speed-up is the most that is tried, a slow machine falls behind it and says so.

use std::path::Path;
use std::time::{Duration, Instant};

use pulsegate_device_agent::Measurement;
use pulsegate_device_agent::sources::{
    Deterioration, Generator, GeneratorConfig, MitBihSource, PhysionetSource, Source,
};
use pulsegate_ipfs::block;
use pulsegate_rules::Category;
use pulsegate_rules::records::BatchKind;

use super::device_story::DemoDevice;
use super::tale::Tale;
use super::world::World;
use crate::failure::{Failure, Outcome};
use crate::moment;
use crate::output::count;

const HOUR_S: u64 = 3_600;
const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
/// Time between two rounds of measurements of the generated patient, milliseconds.
const ROUND_MS: u64 = 30_000;
/// Shortest step of the stream, milliseconds of the demo's time.
const STEP_MS_MIN: u64 = MINUTE_MS;
/// Longest step, well below the age at which a reading counts as late.
const STEP_MS_MAX: u64 = 10 * MINUTE_MS;
/// Real time of a step, milliseconds.
const STEP_REAL_MS: u64 = 50;
/// How many measurements are taken from a source at once.
const READ_MAX: usize = 1_024;
/// Most measurements of one stream.
const MEASUREMENTS_MAX: usize = 100_000;

/// Whether the stream begins with a whole hour, and whether the patient gets worse in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The hours before the story: from a whole hour on, with an episode of illness, or the recording.
    Main,
    /// The hour after the rotation: at once, uneventful.
    Later,
}

/// What was streamed.
pub(super) struct Streamed {
    /// First second, Unix seconds.
    pub(super) from_s: u64,
    /// First second no longer streamed, Unix seconds.
    pub(super) until_s: u64,
    /// Category and time (Unix milliseconds) of every reading.
    readings: Vec<(Category, u64)>,
}

impl Streamed {
    /// Number of readings of a category from a moment (Unix seconds) on.
    pub(super) fn count(&self, category: Category, from_s: u64) -> u64 {
        self.readings.iter().filter(|(of, at_ms)| *of == category && *at_ms >= from_s * 1_000).count() as u64
    }
}

/// Streams hours of readings and waits until all of them are anchored.
pub(super) async fn stream(
    tale: &mut Tale,
    world: &mut World,
    device: &DemoDevice,
    part: Part,
    hours: u32,
    speed_up: u32,
) -> Outcome<Streamed> {
    tale.chapter(match part {
        Part::Main => "The device streams readings; the oracle screens, seals, stores and anchors them",
        Part::Later => "The device streams another hour, sealed to the new keys",
    });
    let now_ms = world.clock.now_ms();
    let align_ms = if part == Part::Main { HOUR_MS } else { MINUTE_MS };
    let from_ms = now_ms.div_ceil(align_ms) * align_ms;
    let until_ms = from_ms + u64::from(hours) * HOUR_MS;
    let measurements = measurements(tale, device, part, from_ms, until_ms)?;
    let readings = measurements.iter().map(|taken| (taken.code.category(), taken.measured_at_ms)).collect();
    tale.say(format_args!(
        "{} hours from {} on, {} measurements, at most {} times faster than life, to {}",
        hours,
        moment::format_ms(from_ms),
        count(measurements.len() as u64),
        count(speed_up.into()),
        world.oracle_url
    ));
    world.note_time(until_ms)?;
    let begun = Instant::now();
    let rejected = send(tale, world, device, measurements, (from_ms, until_ms), speed_up).await?;
    tale.expect(rejected == 0, format!("the oracle accepts every reading ({rejected} rejected)"))?;
    world.settle().await?;
    let streamed = Streamed { from_s: from_ms / 1_000, until_s: until_ms / 1_000, readings };
    tell(tale, world, &streamed, begun.elapsed()).await?;
    Ok(streamed)
}

async fn send(
    tale: &Tale,
    world: &World,
    device: &DemoDevice,
    measurements: Vec<Measurement>,
    (from_ms, until_ms): (u64, u64),
    speed_up: u32,
) -> Outcome<u64> {
    let step_ms = (u64::from(speed_up) * STEP_REAL_MS).clamp(STEP_MS_MIN, STEP_MS_MAX);
    let bar = tale.output.progress(measurements.len() as u64, "streaming");
    let begun = Instant::now();
    let mut rest = measurements.as_slice();
    let mut rejected = 0;
    let mut step_end_ms = from_ms;
    while step_end_ms < until_ms {
        step_end_ms = (step_end_ms + step_ms).min(until_ms);
        // The last moment still belongs to the last hour.
        world.clock.advance_to(step_end_ms - 1);
        let (due, later) = rest.split_at(rest.partition_point(|taken| taken.measured_at_ms < step_end_ms));
        rest = later;
        if !due.is_empty() {
            device.agent.enqueue_all(due)?;
            rejected += device.agent.drain().await?.rejected;
            bar.inc(due.len() as u64);
        }
        let due_at = Duration::from_millis((step_end_ms - from_ms) / u64::from(speed_up));
        tokio::time::sleep(due_at.saturating_sub(begun.elapsed())).await;
    }
    bar.finish_and_clear();
    Ok(rejected)
}

async fn tell(tale: &mut Tale, world: &World, streamed: &Streamed, elapsed: Duration) -> Outcome<()> {
    let total = streamed.readings.len() as u64;
    let seconds = elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts of a demo are far below 2^53")]
    let (per_second, faster) = (total as f64 / seconds, ((streamed.until_s - streamed.from_s) as f64) / seconds);
    tale.say(format_args!(
        "{} readings signed, sent, judged, sealed and anchored in {seconds:.1} s: {per_second:.0} a second, {faster:.0} times life",
        count(total)
    ));
    let progress = world.oracle.progress()?;
    tale.say(format_args!(
        "of all runs: {} accepted, {} records anchored, {} critical verdicts anchored at once",
        count(progress.accepted),
        count(progress.records_anchored),
        count(progress.critical_anchored)
    ));
    let records = &world.session.contracts.records;
    for oracle in records.oracles_seen(0, pulsegate_rules::consent::PAGE_MAX).await? {
        let head = records.head(oracle, BatchKind::Records).await?;
        if let Some(newest) = records.batch(oracle, BatchKind::Records, head.sequence).await? {
            tale.say(format_args!("newest batch {}: {} records", head.sequence, newest.header.count));
            tale.say(format_args!("  manifest     {}", block::cid_from_bytes(&newest.header.manifest)?));
            tale.say(format_args!("  Merkle root  0x{}", hex::encode(newest.header.merkle_root)));
        }
    }
    tale.fact("readings", total);
    tale.fact("ecg_readings", streamed.count(Category::Ecg, 0));
    tale.fact("readings_per_second", per_second.round());
    Ok(())
}

/// What the device measures in these hours, oldest first.
fn measurements(
    tale: &Tale,
    device: &DemoDevice,
    part: Part,
    from_ms: u64,
    until_ms: u64,
) -> Outcome<Vec<Measurement>> {
    let mut generated = GeneratorConfig::new(device.seed, from_ms);
    generated.every_ms = ROUND_MS;
    if part == Part::Main {
        // The patient falls ill in the last third.
        generated.deterioration =
            Some(Deterioration { after_ms: (until_ms - from_ms) * 2 / 3, over_ms: (until_ms - from_ms) / 6 });
    }
    let generated = take(&mut Generator::new(generated), until_ms)?;
    let Some(path) = device.replay.as_deref().filter(|_| part == Part::Main) else {
        tale.say(format_args!("a generated patient, seed {}", device.seed));
        return Ok(generated);
    };
    // The recording takes the place of its own category; the generator goes on with the other one.
    let (recorded, category) = recording(tale, path, from_ms, until_ms)?;
    let mut all: Vec<Measurement> = generated.into_iter().filter(|taken| taken.code.category() != category).collect();
    all.extend(recorded);
    all.sort_by_key(|taken| taken.measured_at_ms);
    Ok(all)
}

fn recording(tale: &Tale, path: &Path, from_ms: u64, until_ms: u64) -> Outcome<(Vec<Measurement>, Category)> {
    let is_ecg = path.extension().is_some_and(|extension| extension == "hea");
    let (recorded, what, category, skipped) = if is_ecg {
        // A record lasts half an hour: it begins with the second hour, where the grants of the story begin.
        let mut source = MitBihSource::open(path, from_ms + HOUR_S * 1_000)?;
        let recorded = take(&mut source, until_ms)?;
        (recorded, "a recorded ECG (MIT-BIH)".to_owned(), Category::Ecg, source.skipped().total())
    } else {
        let mut source = PhysionetSource::open(path, None, from_ms)?;
        let what = format!("a recorded intensive-care patient (PhysioNet 2012, record {})", source.record());
        let recorded = take(&mut source, until_ms)?;
        (recorded, what, Category::VitalSigns, source.skipped().total())
    };
    tale.say(format_args!(
        "{what}: {} measurements, {} implausible values left out; the rest is generated",
        count(recorded.len() as u64),
        count(skipped)
    ));
    if recorded.is_empty() {
        let message = format!("{} holds no measurement of the first hours", path.display());
        return Err(Failure::new("REPLAY_EMPTY", message).next("name another recording, or stream more hours"));
    }
    Ok((recorded, category))
}

/// The measurements of a source before a moment.
fn take(source: &mut dyn Source, until_ms: u64) -> Outcome<Vec<Measurement>> {
    let mut taken = Vec::new();
    while taken.len() < MEASUREMENTS_MAX {
        let more = source.read(READ_MAX)?;
        let reached = more.last().is_none_or(|last| last.measured_at_ms >= until_ms);
        taken.extend(more.into_iter().filter(|measurement| measurement.measured_at_ms < until_ms));
        if reached {
            break;
        }
    }
    taken.truncate(MEASUREMENTS_MAX);
    // A source may give the parts of one round in any order.
    taken.sort_by_key(|measurement| measurement.measured_at_ms);
    Ok(taken)
}
