//! `pulsegate wallet`: which Ethereum wallet may grant and revoke in a patient's name.

use serde_json::json;

use crate::actions::TransactionLine;
use crate::args::Globals;
use crate::failure::{Failure, Outcome};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  pulsegate wallet link                            link the keystore's own secp256k1 key
  pulsegate wallet link --address 0xf39Fd6e5…      link the wallet that you already use
  pulsegate wallet show
  pulsegate wallet unlink

A linked wallet signs typed messages (EIP-712); whoever submits them pays, and cannot change them.
With a wallet on another machine: `pulsegate grant … --print-typed-data` (or `revoke`) writes the message as JSON for
eth_signTypedData_v4, and `pulsegate relay` submits it with the signature.";

/// The subcommands of `wallet`.
#[derive(clap::Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Let a wallet grant and revoke for you
    Link {
        /// The wallet's address [default: that of the keystore's own secp256k1 key]
        #[arg(long, value_name = "ADDRESS")]
        address: Option<String>,
    },
    /// Take that back
    Unlink,
    /// Print the linked wallet and the keystore's own address
    Show,
}

pub(super) async fn run(globals: &Globals, command: Command) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let consent = &session.contracts.consent;
    let output = session.output;
    let address = match command {
        Command::Link { address } => Some(match address {
            Some(text) => parse_address(&text)?,
            None => identity.wallet()?.address(),
        }),
        Command::Unlink => None,
        Command::Show => {
            let linked = consent.wallet(identity.principal()).await?.map(hex_address);
            let own = hex_address(identity.wallet()?.address());
            output.say(format_args!("linked wallet          {}", linked.as_deref().unwrap_or("none")));
            output.say(format_args!("the keystore's own key {own}"));
            output.result(&json!({ "linked": linked, "own": own }));
            return Ok(());
        }
    };
    let transaction = TransactionLine::of(&consent.set_wallet(identity.account(), address).await?.transaction);
    let linked = address.map(hex_address);
    match &linked {
        Some(address) => output
            .say(format_args!("the wallet {address} may grant and revoke for you since block {}", transaction.block)),
        None => output.say(format_args!("no wallet may grant or revoke for you since block {}", transaction.block)),
    }
    output.result(&json!({ "linked": linked, "transaction": transaction }));
    Ok(())
}

fn parse_address(text: &str) -> Outcome<[u8; 20]> {
    let bytes =
        text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok()).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        Failure::new("INVALID_ADDRESS", format!("\"{text}\" is not an Ethereum address"))
            .next("give 0x and 40 hex digits")
    })
}

fn hex_address(address: [u8; 20]) -> String {
    format!("0x{}", hex::encode(address))
}
