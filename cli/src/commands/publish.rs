//! `pulsegate publish`: the public keys of more coming hours, in the generation that is in force.

use crate::actions::rotation;
use crate::args::Globals;
use crate::failure::Outcome;
use crate::moment;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate publish
  pulsegate publish --days 90

The oracle seals each reading to the public key of its hour. When the published hours run out, readings wait unsealed at
the oracle; publish more before that. `pulsegate rotate` publishes as well.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// For how many coming days
    #[arg(long, default_value_t = rotation::DAYS_AHEAD, value_parser = clap::value_parser!(u32).range(1..=i64::from(rotation::DAYS_AHEAD_MAX)))]
    days: u32,
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let published = rotation::publish(&session, &identity, args.days).await?;
    let output = session.output;
    output.say(format_args!(
        "keys of generation {} are published from {} until {}",
        published.generation,
        moment::format_s(published.from_s),
        moment::format_s(published.until_s)
    ));
    output.say(format_args!("  key directory  {}", published.directory));
    output.say(format_args!("  transaction    {}", published.transaction.hash));
    output.result(&published);
    Ok(())
}
