//! `pulsegate whoami`: the public part of a keystore, without its passphrase.

use serde_json::json;

use crate::args::Globals;
use crate::failure::Outcome;
use crate::keystore;

const EXAMPLES: &str = "\
Examples:
  pulsegate whoami
  pulsegate whoami --json --keystore doctor.keystore.json

Give the printed account to a patient, so that the patient can grant to it. The file itself works as well:
  pulsegate grant --to doctor.keystore.json …";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {}

pub(super) fn run(globals: &Globals, _args: &Args) -> Outcome<()> {
    let output = globals.output();
    let path = globals.keystore_path()?;
    let public = keystore::read_public(&path)?;
    let role = public.role.map(|role| serde_json::to_value(role).expect("a role is a plain word"));
    let role = role.as_ref().and_then(serde_json::Value::as_str);
    output.say(format_args!("{} is the keystore of {}", path.display(), public.kind.words()));
    output.say(format_args!("account  {}", public.account));
    if let Some(role) = role {
        output.say(format_args!("role     {role}"));
    }
    output.result(&json!({ "keystore": path, "kind": public.kind, "account": public.account, "role": role }));
    Ok(())
}
