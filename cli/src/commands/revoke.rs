//! `pulsegate revoke`: takes a grant back and prints the revocation receipt: which hours had been released before.

use pulsegate_rules::GrantId;

use super::grant::SigningArgs;
use crate::actions::{granting, receipts};
use crate::args::Globals;
use crate::failure::Outcome;
use crate::moment;
use crate::output;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate revoke 3
  pulsegate revoke 3 --signed-by-wallet --relayer relayer.keystore.json
  pulsegate revoke 3 --print-typed-data --deadline +1d > revoke.json    for a wallet on another machine; `pulsegate relay` submits it

From the next block on the oracle releases nothing under this grant. What was released before stays known to the reader;
the revocation receipt lists it. Run `pulsegate rotate` afterwards, so that the keys which the reader kept open nothing new.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The grant's number, as `pulsegate grants` lists it
    #[arg(value_name = "GRANT")]
    grant: u64,
    #[command(flatten)]
    signing: SigningArgs,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    if let Some(deadline_s) = args.signing.printed_until_s(&session)? {
        let data = granting::typed_revocation(&session, &identity, GrantId(args.grant), deadline_s).await?;
        output::print_json(&data.to_json());
        return Ok(());
    }
    let submission = args.signing.submission(globals, &session, &identity)?;
    let transaction = granting::revoke(&session, &identity, GrantId(args.grant), &submission).await?;
    let receipt = receipts::of_revocation(&session, &identity, GrantId(args.grant), transaction).await?;
    let output = session.output;
    output.say(format_args!("grant {} is revoked since block {}", args.grant, receipt.transaction.block));
    output.say(format_args!("  transaction  {}", receipt.transaction.hash));
    if receipt.released.is_empty() {
        output.say("  nothing had been released under it (as far as receipts are anchored)");
    } else {
        output.say(format_args!("  released before, so known to {}:", receipt.grantee));
        let rows: Vec<Vec<String>> = receipt
            .released
            .iter()
            .map(|part| {
                vec![
                    part.category.to_string(),
                    part.generation.to_string(),
                    moment::format_s(part.from_s),
                    moment::format_s(part.until_s),
                ]
            })
            .collect();
        output.table(&["data", "generation", "from", "until"], &rows);
    }
    output.say("next: `pulsegate rotate`, so that the keys which the reader kept open nothing new");
    output.result(&receipt);
    Ok(())
}
