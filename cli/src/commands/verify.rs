//! `pulsegate verify`: everything that is anchored, against the chain.

use crate::actions::verification::{self, Report};
use crate::args::Globals;
use crate::failure::{EXIT_NOT_VERIFIED, Failure, Outcome};
use crate::moment;
use crate::output::{Output, count, short};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate verify                       needs no key: batches, blocks, order and gaps of every device
  pulsegate verify --decrypt             patients: opens all your readings too and checks the devices' signatures
  pulsegate verify --record bafyrei…     proves that one record is in an anchored batch, and prints the Merkle path

Exit code 0 says that everything fits; 4 that something does not, and what.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Open your own readings as well (leaves receipts, as every opening does)
    #[arg(long)]
    decrypt: bool,
    /// Prove that this record is anchored, and nothing else
    #[arg(long, value_name = "CID", conflicts_with = "decrypt")]
    record: Option<String>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    if let Some(record) = &args.record {
        return prove(&session, record).await;
    }
    let mut report = verification::verify(&session).await?;
    if args.decrypt {
        verification::verify_content(&session, &globals.unlock()?, &mut report).await?;
    }
    say(session.output, "", &report);
    session.output.result(&report);
    outcome(&report)
}

/// Prints a report for people, every line after `indent`.
pub(super) fn say(output: Output, indent: &str, report: &Report) {
    for chain in &report.chains {
        output.say(format_args!(
            "{indent}{:?}: {} batches with {} leaves of oracle {}",
            chain.kind,
            count(chain.batches),
            count(chain.leaves),
            short(&chain.oracle.to_string())
        ));
    }
    output.say(format_args!("{indent}{} blocks fetched and hashed again", count(report.blocks)));
    for device in &report.devices {
        let pending = match device.pending {
            Some(0) => String::new(),
            Some(pending) => format!(", {} acknowledged and not anchored yet", count(pending)),
            None => ", the oracle does not say how many more it acknowledged".to_owned(),
        };
        output.say(format_args!(
            "{indent}device {}: readings 1 to {}, {} anchored{pending}",
            short(&device.device.to_string()),
            count(device.last_sequence),
            count(device.anchored)
        ));
    }
    if report.opened > 0 {
        output.say(format_args!("{indent}{} readings opened, signatures and hash links checked", count(report.opened)));
    }
    if report.chains.is_empty() && report.faults.is_empty() {
        output.say(format_args!("{indent}nothing is anchored yet"));
    } else if report.faults.is_empty() {
        output.say(format_args!("{indent}everything fits: included, in order, without a gap"));
    }
    for fault in &report.faults {
        output.say(format_args!("{indent}FAULT {}: {}", fault.code, fault.message));
    }
}

/// The failure of a report with faults.
pub(super) fn outcome(report: &Report) -> Outcome<()> {
    let Some(first) = report.faults.first() else { return Ok(()) };
    let message = format!("{} faults; the first: {}", report.faults.len(), first.message);
    Err(Failure::new("NOT_VERIFIED", message)
        .next("do not rely on what is named; ask the oracle's operator")
        .exit(EXIT_NOT_VERIFIED))
}

async fn prove(session: &Session, record: &str) -> Outcome<()> {
    let cid = pulsegate_ipfs::block::cid_from_text(record)?;
    let inclusion = verification::prove(session, &cid).await?;
    let output = session.output;
    output.say(format_args!(
        "{} is leaf {} of {} in batch {} of oracle {}",
        inclusion.record, inclusion.index, inclusion.count, inclusion.batch, inclusion.oracle
    ));
    output.say(format_args!("  anchored     {}", moment::format_ms(inclusion.anchored_at_ms)));
    output.say(format_args!("  Merkle root  {}", inclusion.root));
    for (height, hash) in inclusion.path.iter().enumerate() {
        output.say(format_args!("  beside {height:2}    {hash}"));
    }
    output.result(&inclusion);
    Ok(())
}
