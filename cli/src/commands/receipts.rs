//! `pulsegate receipts`: who opened, or tried to open, a patient's data.

use pulsegate_rules::{Epoch, Principal};

use crate::actions::receipts::{self, ReceiptLine};
use crate::args::{self, Globals};
use crate::failure::{EXIT_NOT_VERIFIED, Failure, Outcome};
use crate::moment;
use crate::output::short;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate receipts
  pulsegate receipts --reader 0xACCOUNT --json

Every release and every refusal leaves a receipt, signed by the oracle, sealed to you and anchored on chain. A receipt shows
up here once its batch is anchored, seconds after the answer. A missing number is reported and gives exit code 4.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only those of this reader
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    reader: Option<Principal>,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let mut list = receipts::list(&session, &identity).await?;
    list.receipts.retain(|receipt| args.reader.is_none_or(|reader| receipt.reader == reader));
    let output = session.output;
    if list.receipts.is_empty() {
        output.say("no receipts");
    } else {
        output.table(&HEADINGS, &list.receipts.iter().map(row).collect::<Vec<_>>());
    }
    output.result(&list);
    match list.faults.first() {
        None => Ok(()),
        Some(fault) => {
            let message = format!("{} faults in the receipts; the first: {}", list.faults.len(), fault.message);
            Err(Failure::new("RECEIPTS_NOT_COMPLETE", message)
                .next("run `pulsegate verify`, and ask the oracle's operator")
                .exit(EXIT_NOT_VERIFIED))
        }
    }
}

/// The headings that belong to [`row`].
pub(super) const HEADINGS: [&str; 8] =
    ["when", "reader", "data", "purpose", "released", "refused", "by grant", "block"];

/// A receipt as a row of a table.
pub(super) fn row(receipt: &ReceiptLine) -> Vec<String> {
    vec![
        moment::format_ms(receipt.answered_at_ms),
        short(&receipt.reader.to_string()),
        receipt.category.to_string(),
        receipt.purpose.to_string(),
        hours(&receipt.released),
        refused(&receipt.refused),
        receipt.grant.map_or_else(|| "-".to_owned(), |grant| grant.to_string()),
        receipt.block.to_string(),
    ]
}

fn hours(epochs: &[Epoch]) -> String {
    match epochs.len() {
        0 => "-".to_owned(),
        1 => "1 hour".to_owned(),
        count => format!("{count} hours"),
    }
}

fn refused(epochs: &[(Epoch, &'static str)]) -> String {
    let mut reasons: Vec<&str> = epochs.iter().map(|(_, reason)| *reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    match epochs.len() {
        0 => "-".to_owned(),
        1 => format!("1 hour: {}", reasons.join(", ")),
        count => format!("{count} hours: {}", reasons.join(", ")),
    }
}
