//! `pulsegate grants`: what a patient granted, or what was granted to a reader.

use pulsegate_rules::Principal;
use pulsegate_rules::consent::{Effect, Grant};
use serde_json::{Value, json};

use crate::actions::granting;
use crate::args::{self, Globals};
use crate::failure::{Failure, Outcome};
use crate::keystore;
use crate::moment;
use crate::output::short;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate grants                       what you granted and what was granted to you
  pulsegate grants --patient 0xACCOUNT   what this patient granted
  pulsegate grants --to 0xACCOUNT        what was granted to this reader
  pulsegate grants --standing --json

Grants are public on chain (accounts, categories, windows; never a name or a value), so no passphrase is needed.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// List what this patient granted
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    patient: Option<Principal>,
    /// List what was granted to this reader
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT", conflicts_with = "patient")]
    to: Option<Principal>,
    /// Leave out what was revoked
    #[arg(long)]
    standing: bool,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let (patient, reader) = match (args.patient, args.to) {
        (None, None) => {
            let me =
                globals.keystore_path().and_then(|path| keystore::read_public(&path)).map_err(|failure| Failure {
                    next: Some("name an account with --patient or --to, or your keystore with --keystore".to_owned()),
                    ..failure
                })?;
            (Some(me.account), Some(me.account))
        }
        named => named,
    };
    let mut grants = Vec::new();
    if let Some(patient) = patient {
        grants.extend(granting::grants_of(&session, patient).await?);
    }
    if let Some(reader) = reader {
        grants.extend(granting::grants_to(&session, reader).await?);
    }
    grants.retain(|grant| !args.standing || grant.revoked_at_ms.is_none());
    let output = session.output;
    if grants.is_empty() {
        output.say("no grants");
    } else {
        let headings = [
            "grant",
            "patient",
            "reader",
            "effect",
            "data",
            "purposes",
            "measured from",
            "until",
            "generation",
            "state",
        ];
        output.table(&headings, &grants.iter().map(row).collect::<Vec<_>>());
    }
    let documents = grants.iter().map(document).collect::<Outcome<Vec<_>>>()?;
    output.result(&json!({ "grants": documents }));
    Ok(())
}

/// A grant as JSON, with the CID of its wrapped keys as text, as `pulsegate grant` and block stores write it.
fn document(grant: &Grant) -> Outcome<Value> {
    let mut document = json!(grant);
    document["request"]["wrapped_keys"] =
        json!(grant.request.wrapped_keys.as_ref().map(granting::cid_text).transpose()?);
    Ok(document)
}

fn row(grant: &Grant) -> Vec<String> {
    let request = &grant.request;
    vec![
        grant.id.to_string(),
        short(&grant.patient.to_string()),
        short(&request.grantee.to_string()),
        match request.effect {
            Effect::Permit => "permits".to_owned(),
            Effect::Deny => "forbids".to_owned(),
        },
        request.categories.to_string(),
        request.purposes.to_string(),
        moment::format_s(request.from_s),
        moment::format_s(request.until_s),
        request.generation.to_string(),
        grant
            .revoked_at_ms
            .map_or_else(|| "stands".to_owned(), |at_ms| format!("revoked {}", moment::format_ms(at_ms))),
    ]
}
