//! `pulsegate rotate`: a new generation of keys, wrapped again for everybody whose grant stands.

use crate::actions::rotation;
use crate::args::Globals;
use crate::failure::Outcome;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate rotate
  pulsegate rotate --days 90

Makes a new generation secret, publishes the public keys of the coming hours, moves the contract to the new generation and
wraps the keys of every standing grant again: old and new generation, each within the grant's own window. Grants that you
revoked are left out, so the keys given under them open nothing that is sealed from now on.
Interrupted? Run it again: every standing grant has its keys afterwards.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// For how many coming days to publish keys
    #[arg(long, default_value_t = rotation::DAYS_AHEAD, value_parser = clap::value_parser!(u32).range(1..=i64::from(rotation::DAYS_AHEAD_MAX)))]
    days: u32,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let mut identity = globals.unlock()?;
    let rotated = rotation::rotate(&session, &mut identity, args.days).await?;
    let output = session.output;
    output.say(format_args!("generation {} is in force since block {}", rotated.generation, rotated.transaction.block));
    output.say(format_args!("  key directory  {}", rotated.directory));
    output.say(format_args!("  transaction    {}", rotated.transaction.hash));
    output.say(format_args!("  wrapped again  {} standing grants", rotated.rewrapped.len()));
    let row =
        |part: &rotation::Rewrapped| vec![part.grant.to_string(), part.grantee.to_string(), part.wrapped_keys.clone()];
    if !rotated.rewrapped.is_empty() {
        output.table(&["grant", "reader", "wrapped keys"], &rotated.rewrapped.iter().map(row).collect::<Vec<_>>());
    }
    output.result(&rotated);
    Ok(())
}
