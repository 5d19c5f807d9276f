//! `pulsegate relay`: submits what a wallet signed elsewhere, with the relayer's own account.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::actions::granting;
use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::identity;
use crate::passphrase::Need;
use crate::session::Session;
use crate::typed_data::{Consent, TYPED_DATA_BYTES_MAX, TypedData};

const EXAMPLES: &str = "\
Examples:
  The patient writes the message, the wallet signs it, the relayer submits it; each on a machine of its own:
    pulsegate grant … --print-typed-data --deadline +1d > grant.json
    pulsegate relay --typed-data grant.json --signature 0x… --keystore relayer.keystore.json

  From standard input:
    pulsegate relay --typed-data - --signature 0x… < revoke.json

The relayer's account pays. It cannot change what was signed, and neither needs nor sees a key of the patient.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// File with the typed data that was signed; - is standard input
    #[arg(long, value_name = "FILE")]
    typed_data: PathBuf,
    /// The wallet's signature: 0x and 130 hex digits
    #[arg(long, value_parser = args::signature, value_name = "SIGNATURE")]
    signature: [u8; 65],
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let data = TypedData::parse(&read(&args.typed_data)?)?;
    let session = Session::connect(globals).await?;
    let path = globals.keystore_path()?;
    let relayer = identity::unlock_account(&path, |path| globals.passphrase(Need::Unlock, path))?;
    let relayed = granting::relay(&session, &relayer, &data, args.signature).await?;
    let output = session.output;
    let block = relayed.transaction.block;
    match &data.consent {
        Consent::Grant(_) => output.say(format_args!("grant {} is on chain in block {block}", relayed.grant)),
        Consent::Revoke(_) => output.say(format_args!("grant {} is revoked since block {block}", relayed.grant)),
    }
    output.say(format_args!("  patient      {}", relayed.patient));
    output.say(format_args!("  transaction  {}", relayed.transaction.hash));
    output.result(&relayed);
    Ok(())
}

fn read(path: &Path) -> Outcome<String> {
    let unreadable = |error: std::io::Error| {
        Failure::new("TYPED_DATA_UNREADABLE", format!("cannot read the typed data {}: {error}", path.display()))
            .next("name the file with --typed-data FILE, or - for standard input")
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    let mut text = String::new();
    source.take(TYPED_DATA_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
