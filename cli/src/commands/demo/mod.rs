//! `pulsegate demo`: the whole story once, on a chain and a block store inside this process.
//!
//! Nothing in it is staged: the agent sends over HTTP, the oracle seals and anchors as `pulsegate up` does, the people's
//! steps are those of the other commands, and every step states what must hold and ends the demo when it does not.

mod clock;
mod consent_story;
mod device_story;
mod models_story;
mod streaming;
mod tale;
mod world;

use std::path::{Path, PathBuf};

use serde_json::json;

use self::streaming::Part;
use self::tale::Tale;
use self::world::World;
use crate::actions::{receipts, verification};
use crate::args::Globals;
use crate::commands::{receipts as receipts_printing, up, verify as verify_printing};
use crate::failure::{Failure, Outcome};
use crate::moment;
use crate::output::{Output, short};

const EXAMPLES: &str = "\
Examples:
  pulsegate demo                                  six hours of vital signs and ECG, then the story; nothing is kept
  pulsegate demo --data-dir demo                  keeps everything in demo/; run it again and it goes on there
  pulsegate demo --hours 12 --speed-up 7200 --seed 7
  pulsegate demo --replay vitals_hourly_set_a_train.csv.gz       a recorded intensive-care patient (PhysioNet 2012, hourly)
  pulsegate demo --replay 101.hea                                a recorded ECG (MIT-BIH, with its .dat file beside it)";

/// Receipts that are printed.
const RECEIPT_ROWS_MAX: usize = 16;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Keep everything in this folder, and go on with what is in it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Seed of the generated patient [default: 1, or that of the folder]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many hours of readings to stream before the story
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=48), value_name = "N")]
    hours: u32,
    /// How many times faster than life the readings are streamed, at most
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    speed_up: u32,
    /// Stream a recording instead of generated readings: PhysioNet 2012 hourly CSV(.gz), or an MIT-BIH .hea
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let output = globals.output();
    // Quiet unless RUST_LOG asks for more: the story is on standard output.
    up::start_logging("error", false);
    // Kept until the end: dropping it removes the folder.
    let temporary = match args.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| {
            Failure::new("FOLDER_UNWRITABLE", format!("cannot make a temporary folder: {error}"))
                .next("name a folder that you may write to with --data-dir")
        })?),
    };
    let folder = match (&args.data_dir, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("one of the two is there"),
    };
    let mut tale = Tale::new(output);
    output.say("Pulsegate demo: a device's readings from the wrist to the chain, and who may read them.");
    tale.chapter("A chain, a block store and an oracle start in this process");
    let mut world = World::open(&folder, args.seed, output).await?;
    introduce(&mut tale, &world, args.data_dir.is_some()).await?;
    device_story::people(&mut tale, &mut world).await?;
    let device = device_story::device(&mut tale, &world, &args).await?;
    let streamed = streaming::stream(&mut tale, &mut world, &device, Part::Main, args.hours, args.speed_up).await?;
    let granted = consent_story::grant_and_open(&mut tale, &world, &streamed).await?;
    consent_story::attempts(&mut tale, &world, &streamed, &granted).await?;
    consent_story::wallet(&mut tale, &world, &streamed).await?;
    consent_story::revoke(&mut tale, &world, &streamed, &granted).await?;
    consent_story::rotate(&mut tale, &mut world).await?;
    let operator = world.operator()?;
    let exchanged = models_story::exchange(&mut tale, &world, &streamed, &operator).await?;
    let later = streaming::stream(&mut tale, &mut world, &device, Part::Later, 1, args.speed_up).await?;
    consent_story::after_rotation(&mut tale, &world, &streamed, &later, &granted).await?;
    if let Some(exchanged) = &exchanged {
        models_story::roll_back(&mut tale, &world, &later, &operator, exchanged).await?;
    }
    show_receipts(&mut tale, &world).await?;
    check_everything(&mut tale, &world, &device).await?;
    drop(device);
    let kept = args.data_dir.is_some();
    let (run, deployment) = (world.state.runs, world.session.contracts.deployment.clone());
    world.close().await?;
    let kept = kept.then_some(folder);
    let held = tale.held;
    let (chapters, elapsed_ms) = tale.end();
    say_summary(output, chapters.len(), held, elapsed_ms, kept.as_deref());
    output.result(&json!({
        "ok": true,
        "run": run,
        "deployment": deployment,
        "elapsed_ms": elapsed_ms,
        "expectations": held,
        "data_dir": kept,
        "chapters": chapters,
    }));
    Ok(())
}

async fn introduce(tale: &mut Tale, world: &World, kept: bool) -> Outcome<()> {
    let deployment = &world.session.contracts.deployment;
    let identity = world.session.ledger.identity().await?;
    let head = world.session.ledger.finalised().await?;
    if kept {
        tale.say(format_args!(
            "data folder  {} (run {}; the keystores' passphrase lies in it: for demos only)",
            world.folder.display(),
            world.state.runs
        ));
    } else {
        tale.say("data folder  a temporary one, removed at the end; keep yours with --data-dir DIR");
    }
    tale.say(format_args!(
        "demo's time  {} (began {})",
        moment::format_ms(world.clock.now_ms()),
        moment::format_ms(world.state.origin_ms)
    ));
    tale.say(format_args!(
        "chain        {}, genesis 0x{}, block {}",
        identity.name,
        short(&hex::encode(identity.genesis)),
        head.number
    ));
    tale.say(format_args!("registry     {}", deployment.registry));
    tale.say(format_args!("consent      {}", deployment.consent));
    tale.say(format_args!("records      {}", deployment.records));
    tale.say(format_args!("oracle       {}", world.oracle_url));
    tale.fact("began_at_ms", world.clock.now_ms());
    Ok(())
}

async fn show_receipts(tale: &mut Tale, world: &World) -> Outcome<()> {
    tale.chapter("The patient sees who opened, or tried to open, the data");
    world.settle().await?;
    let list = receipts::list(&world.session, &world.people.patient).await?;
    let of_this_run: Vec<_> =
        list.receipts.iter().filter(|receipt| receipt.answered_at_ms >= world.began_at_ms).collect();
    let rows: Vec<_> =
        of_this_run.iter().take(RECEIPT_ROWS_MAX).map(|receipt| receipts_printing::row(receipt)).collect();
    tale.output.table(&receipts_printing::HEADINGS, &rows);
    tale.say(format_args!(
        "{} receipts of this run, {} in all, each signed by the oracle and anchored",
        of_this_run.len(),
        list.receipts.len()
    ));
    tale.fact("receipts", list.receipts.len());
    tale.expect(list.faults.is_empty(), format!("no receipt is missing or wrong ({:?})", list.faults.first()))?;
    let (found, requests) = (of_this_run.len() as u64, tale.requests);
    tale.expect(found == requests, format!("{requests} answers of the oracle left {found} receipts, one each"))
}

async fn check_everything(tale: &mut Tale, world: &World, device: &device_story::DemoDevice) -> Outcome<()> {
    tale.chapter("Everything is checked against the chain");
    let mut report = verification::verify(&world.session).await?;
    verification::verify_content(&world.session, &world.people.patient, &mut report).await?;
    verify_printing::say(tale.output, "   ", &report);
    tale.fact("report", &report);
    tale.expect(report.faults.is_empty(), format!("no fault is found ({:?})", report.faults.first()))?;
    let acknowledged = device.acknowledged()?;
    tale.expect(
        report.records == acknowledged,
        format!("{} acknowledged readings, {} anchored", acknowledged, report.records),
    )?;
    tale.expect(
        report.opened == report.records,
        format!("{} anchored readings, {} opened by the patient", report.records, report.opened),
    )?;
    if let Some(record) = device_story::newest_record(&world.session).await? {
        let inclusion = verification::prove(&world.session, &record).await?;
        tale.say(format_args!("one record proved: {}", inclusion.record));
        tale.say(format_args!(
            "  leaf {} of {} in batch {}, {} hashes up to the root 0x{}",
            inclusion.index,
            inclusion.count,
            inclusion.batch,
            inclusion.path.len(),
            short(&inclusion.root)
        ));
        tale.fact("inclusion", &inclusion);
    }
    Ok(())
}

fn say_summary(output: Output, chapters: usize, held: u32, elapsed_ms: u64, kept: Option<&Path>) {
    output.say(format_args!(
        "\nDone in {}.{:03} s: {chapters} chapters, {held} expectations, all held.",
        elapsed_ms / 1_000,
        elapsed_ms % 1_000
    ));
    if let Some(folder) = kept {
        output.say(format_args!(
            "Everything is in {}; run the demo with the same --data-dir and it goes on there.",
            folder.display()
        ));
    }
}
