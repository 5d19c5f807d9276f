//! `pulsegate enrol`: makes a keystore and registers its owner.

use std::path::PathBuf;

use clap::ValueEnum;
use pulsegate_ledger::Signer;
use pulsegate_rules::registry::Role;

use crate::actions::{enrolment, rotation};
use crate::args::Globals;
use crate::failure::{Failure, Outcome};
use crate::identity::{Identity, RsaFiles};
use crate::keystore;
use crate::moment;
use crate::output::short;
use crate::passphrase::Need;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate enrol --role patient --keystore anna.keystore.json
  pulsegate enrol --role practitioner --passphrase-file pass.txt --json
  pulsegate enrol --role insurer --rsa wrap.pem --rsa-signing sign.pem
                                                              RSA keys of your own (3072 bits or more)
  pulsegate enrol --role patient --sponsor dev:alice          a node's development account pays the first transactions

Makes the keystore (all keys from one random seed, encrypted with your passphrase), registers your account and public keys
with the contracts, and for a patient publishes the public keys of the coming hours. Keep a copy of the keystore file:
whoever loses it, or its passphrase, loses the data. Interrupted? Run it again: it goes on where it stopped.";

/// What a participant says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// Has devices, grants and revokes
    Patient,
    /// Treats
    Practitioner,
    /// Pays
    Insurer,
    /// Studies
    Researcher,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Patient => Self::Patient,
            RoleArg::Practitioner => Self::Practitioner,
            RoleArg::Insurer => Self::Insurer,
            RoleArg::Researcher => Self::Researcher,
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What you are; self-declared, consent alone decides access
    #[arg(long, value_enum)]
    role: RoleArg,
    /// Others wrap to this RSA key (PKCS#8, PEM or DER, 3072 bits or more) instead of an X25519 key
    #[arg(long, value_name = "KEYFILE")]
    rsa: Option<PathBuf>,
    /// Sign with this RSA key instead of an Ed25519 key; another one than --rsa
    #[arg(long, value_name = "KEYFILE")]
    rsa_signing: Option<PathBuf>,
    /// Who endows the new account so that it can pay: dev:NAME (a development chain) or a keystore file
    #[arg(long, value_name = "SPONSOR")]
    sponsor: Option<String>,
    /// Patients: for how many coming days to publish keys
    #[arg(long, default_value_t = rotation::DAYS_AHEAD, value_parser = clap::value_parser!(u32).range(1..=i64::from(rotation::DAYS_AHEAD_MAX)))]
    days: u32,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let path = globals.keystore_path()?;
    let role = Role::from(args.role);
    // Before anything is written: a sponsor who is not there leaves no keystore behind.
    let sponsor = args.sponsor.as_deref().map(|sponsor| open_sponsor(globals, sponsor)).transpose()?;
    let mut identity = if path.exists() {
        continued(globals, &path, role)?
    } else {
        let passphrase = globals.passphrase(Need::Create, &path)?;
        {
            let rsa = RsaFiles { decryption: args.rsa.as_deref(), signing: args.rsa_signing.as_deref() };
            Identity::create(&path, role, rsa, passphrase)?
        }
    };
    if let Some(sponsor) = &sponsor {
        session.ledger.endow(sponsor, &identity.principal(), enrolment::ENDOWMENT).await?;
    }
    let enrolled = enrolment::enrol(&session, &mut identity, role, args.days).await?;
    let output = session.output;
    output.say(format_args!(
        "you are enrolled as {}",
        args.role.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    ));
    output.say(format_args!("  account   {}", enrolled.account));
    output.say(format_args!("  keystore  {}", path.display()));
    output.say(format_args!("  keys      {} and {}", enrolled.encryption, enrolled.signing));
    if let Some(published) = &enrolled.published {
        output.say(format_args!(
            "  hours     {} until {} (directory {})",
            moment::format_s(published.from_s),
            moment::format_s(published.until_s),
            short(&published.directory)
        ));
        output.say("next: pulsegate device add --category vital-signs --key-file device.key");
    }
    output.result(&enrolled);
    Ok(())
}

/// Goes on with an enrolment that was interrupted.
fn continued(globals: &Globals, path: &std::path::Path, role: Role) -> Outcome<Identity> {
    let public = keystore::read_public(path)?;
    if public.role != Some(role) {
        let message =
            format!("there is a keystore at {} already, of {} with another role", path.display(), public.kind.words());
        return Err(Failure::new("KEYSTORE_EXISTS", message)
            .next("name another file with --keystore; a keystore is never overwritten"));
    }
    globals.unlock_file(path)
}

/// The account of `dev:NAME` or of a keystore file.
pub(super) fn open_sponsor(globals: &Globals, text: &str) -> Outcome<Signer> {
    let Some(name) = text.strip_prefix("dev:") else {
        return crate::identity::unlock_account(text.as_ref(), |path| globals.passphrase(Need::Unlock, path));
    };
    let mut letters = name.chars();
    let name = letters
        .next()
        .map(|first| first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect::<String>());
    let known = ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie"];
    match name {
        Some(name) if known.contains(&name.as_str()) => Ok(Signer::dev(&name)),
        _ => Err(Failure::new("UNKNOWN_DEV_ACCOUNT", format!("\"{text}\" is no development account"))
            .next("give dev:alice, dev:bob, dev:charlie, dev:dave, dev:eve, dev:ferdie, or a keystore file")),
    }
}
