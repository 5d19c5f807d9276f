//! `pulsegate open`: reads what somebody granted, or one's own data.

use std::path::PathBuf;

use clap::ValueEnum;
use pulsegate_rules::{Category, Principal, Purpose};
use serde_json::{Value as Json, json};

use crate::actions::opening::{self, OpenedReading, Opening, Wish};
use crate::actions::receipts::runs;
use crate::args::{self, Globals};
use crate::failure::{EXIT_NOT_VERIFIED, EXIT_REFUSED, Failure, Outcome};
use crate::moment;
use crate::output::{Output, count, print_raw};
use crate::presentation;
use crate::session::Session;
use crate::{keystore, output};

const EXAMPLES: &str = "\
Examples:
  A practitioner reads the last six hours of vital signs:
    pulsegate open --patient 0xPATIENT --category vital-signs --purpose TREAT --from -6h --until now
  An ECG of yesterday as a FHIR R4 Bundle:
    pulsegate open --patient 0xPATIENT --category ecg --purpose TREAT --from 2026-03-01 --until 2026-03-02 --format fhir --out ecg.json
  A patient reads the own data:
    pulsegate open --category vital-signs --from -24h --until now --format csv

Fetches the records from the block store, asks the oracle for its lock (which checks the patient's consent on chain and
leaves a receipt), opens both locks here, and checks the device's signature and hash link of every reading.
Exit code 3 says that consent refused everything; 4 that something did not check.";

/// How opened readings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document with readings, verdicts and where each is anchored
    Json,
    /// One row per number
    Csv,
    /// A FHIR R4 Bundle of Observations
    Fhir,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Whose data: an account, an Ethereum address, or a keystore file [default: your own]
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    patient: Option<Principal>,
    /// Which data (vital-signs, ecg, activity, laboratory, medication)
    #[arg(long, value_parser = args::category, value_name = "CATEGORY")]
    category: Category,
    /// For which use (TREAT, ETREAT, HPAYMT, HRESCH, HOPERAT, PUBHLTH, PATRQT)
    #[arg(long, value_parser = args::purpose, default_value = "PATRQT", value_name = "PURPOSE")]
    purpose: Purpose,
    /// Begin of measurement: 2026-03-01, 2026-03-01T08:00:00Z, now, -6h
    #[arg(long, default_value = "-24h", allow_hyphen_values = true, value_name = "MOMENT")]
    from: String,
    /// End of measurement: as --from
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_name = "MOMENT")]
    until: String,
    /// How to print the readings
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to this file (private, mode 0600) instead of printing; not for tables
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let now_s = session.now_s();
    let (from_s, until_s) = (moment::parse(&args.from, now_s)?, moment::parse(&args.until, now_s)?);
    moment::whole_epochs(from_s, until_s)?;
    let patient = args.patient.unwrap_or_else(|| identity.principal());
    let wish = Wish { patient, category: args.category, purpose: args.purpose, from_s, until_s };
    let opening = opening::open(&session, &identity, &wish).await?;
    let format = if globals.json && args.format == Format::Table { Format::Json } else { args.format };
    let text = match format {
        Format::Table => {
            table(session.output, opening.readings.iter());
            None
        }
        Format::Json => Some(format!("{:#}\n", document(&opening))),
        Format::Csv => Some(presentation::csv(&opening.readings)),
        Format::Fhir => Some(format!("{:#}\n", presentation::bundle(&opening.readings))),
    };
    match (text, &args.out) {
        (Some(text), Some(path)) => {
            keystore::write_atomically(path, text.as_bytes()).map_err(|error| {
                Failure::new("FILE_UNWRITABLE", format!("cannot write {}: {error}", path.display()))
                    .next("name another file with --out")
            })?;
            session.output.say(format_args!(
                "{} readings are in {}",
                count(opening.readings.len() as u64),
                path.display()
            ));
        }
        (Some(text), None) => print_raw(&text),
        (None, _) => say_rest(session.output, &opening),
    }
    outcome(&opening)
}

/// Prints opened readings for people.
pub(super) fn table<'a>(output: Output, readings: impl Iterator<Item = &'a OpenedReading>) {
    let rows: Vec<Vec<String>> = readings.map(row).collect();
    if !rows.is_empty() {
        output.table(&["measured", "what", "value", "assessment", "device's number", "record"], &rows);
    }
}

fn row(opened: &OpenedReading) -> Vec<String> {
    vec![
        moment::format_ms(opened.reading.measured_at_ms),
        presentation::name(&opened.reading).to_owned(),
        presentation::value(&opened.reading),
        presentation::assessment(&opened.payload),
        opened.found.leaf.sequence.to_string(),
        output::short(&opened.found.leaf.record.to_string()),
    ]
}

fn say_rest(output: Output, opening: &Opening) {
    match (opening.on_chain, opening.readings.len()) {
        (0, _) => output.say(
            "nothing of this kind is anchored in these hours; a reading is anchored seconds after it was acknowledged",
        ),
        (on_chain, 0) => {
            output.say(format_args!("none of {} readings on chain in these hours opened", count(on_chain)))
        }
        (on_chain, opened) => output.say(format_args!(
            "{} of {} readings on chain in these hours opened; every signature, number and hash link checked",
            count(opened as u64),
            count(on_chain)
        )),
    }
    for (reason, hours) in opening.refusals() {
        let epochs =
            opening.refused.iter().filter(|refused| refused.reason == reason).map(|refused| refused.epoch).collect();
        let runs: Vec<String> = runs(epochs)
            .into_iter()
            .map(|run| {
                format!("{} until {}", moment::format_s(run.start.start_s()), moment::format_s(run.end.start_s()))
            })
            .collect();
        output.say(format_args!("{hours} hours refused, {reason}: {}", runs.join("; ")));
    }
    if opening.without_keys > 0 {
        output.say(format_args!(
            "{} records were released, but no key that you were given opens them",
            count(opening.without_keys)
        ));
    }
    for fault in &opening.faults {
        output.say(format_args!("FAULT {}: {}", fault.code, fault.message));
    }
}

fn document(opening: &Opening) -> Json {
    json!({
        "readings": opening.readings.iter().map(presentation::json).collect::<Vec<_>>(),
        "on_chain": opening.on_chain,
        "refused": opening.refused,
        "without_keys": opening.without_keys,
        "grants": opening.grants,
        "faults": opening.faults,
    })
}

fn outcome(opening: &Opening) -> Outcome<()> {
    if let Some(fault) = opening.faults.first() {
        let message = format!("{} things did not check; the first: {}", opening.faults.len(), fault.message);
        return Err(Failure::new("NOT_VERIFIED", message)
            .next("run `pulsegate verify`, and ask the oracle's operator")
            .exit(EXIT_NOT_VERIFIED));
    }
    let Some((reason, hours)) = opening.refusals().first().copied() else { return Ok(()) };
    if !opening.readings.is_empty() {
        return Ok(());
    }
    let message = format!("the oracle refused all {hours} hours: {reason}");
    Err(Failure::new(reason, message)
        .next("run `pulsegate explain` to see what each grant says, and ask the patient")
        .exit(EXIT_REFUSED))
}
