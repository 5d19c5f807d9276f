//! `pulsegate explain`: what every grant says to a reader's wish, and the decision.

use pulsegate_rules::{Category, Principal, Purpose};

use crate::actions::explanation::{self, Question};
use crate::args::{self, Globals};
use crate::failure::Outcome;
use crate::moment;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate explain --patient 0xPATIENT --reader 0xREADER --category ecg --purpose TREAT --at -2h
  pulsegate explain --patient 0xPATIENT --category vital-signs --purpose HPAYMT --json   (the reader is you)

Runs the contract's own rules here on the grants between the two, says what each grant answers, and compares the outcome
with the contract's decision in the same block. Nothing is opened and no receipt is made.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Whose data: an account, an Ethereum address, or a keystore file
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    patient: Principal,
    /// Who would read [default: the account of your keystore]
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    reader: Option<Principal>,
    /// Which data (vital-signs, ecg, activity, laboratory, medication)
    #[arg(long, value_parser = args::category, value_name = "CATEGORY")]
    category: Category,
    /// For which use (TREAT, ETREAT, HPAYMT, HRESCH, HOPERAT, PUBHLTH, PATRQT)
    #[arg(long, value_parser = args::purpose, value_name = "PURPOSE")]
    purpose: Purpose,
    /// When the data was measured
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_name = "MOMENT")]
    at: String,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let reader = match args.reader {
        Some(reader) => reader,
        None => crate::keystore::read_public(&globals.keystore_path()?)?.account,
    };
    let at_s = moment::parse(&args.at, session.now_s())?;
    let question = Question { patient: args.patient, reader, category: args.category, purpose: args.purpose, at_s };
    let explanation = explanation::explain(&session, &question).await?;
    let output = session.output;
    output.say(format_args!(
        "May {reader} read {} of {} measured at {} for {}?",
        args.category,
        args.patient,
        moment::format_s(at_s),
        args.purpose
    ));
    let rows: Vec<Vec<String>> = explanation
        .grants
        .iter()
        .map(|outcome| vec![outcome.grant.to_string(), outcome.effect.clone(), outcome.says.clone()])
        .collect();
    if rows.is_empty() {
        output.say("  there is no grant between the two");
    } else {
        output.table(&["grant", "effect", "what it says"], &rows);
    }
    output.say(format_args!("{} (block {})", explanation.answer, explanation.block));
    output.result(&explanation);
    Ok(())
}
