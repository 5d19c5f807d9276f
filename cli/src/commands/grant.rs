//! `pulsegate grant`: a consent on chain, with the keys of its window wrapped to the grantee.

use std::path::PathBuf;

use pulsegate_rules::consent::Effect;
use pulsegate_rules::{Categories, Category, Principal, Purpose, Purposes};

use crate::actions::granting::{self, GrantPlan, Submission};
use crate::args::{self, Globals};
use crate::failure::Outcome;
use crate::moment;
use crate::output;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  Let a practitioner read the next 30 days of vital signs and ECG for treatment:
    pulsegate grant --to 0xACCOUNT --category vital-signs --category ecg --purpose TREAT --from now --until +30d

  Give one past day to a researcher:
    pulsegate grant --to 0xACCOUNT --category activity --purpose HRESCH --from 2026-03-01 --until 2026-03-02

  Forbid an insurer to read anything, whatever else is granted (a denial wins):
    pulsegate grant --deny --to 0xACCOUNT --category vital-signs --purpose HPAYMT --from 2026-01-01 --until +365d

  Sign with your linked Ethereum wallet (EIP-712) and let another account submit it:
    pulsegate grant … --signed-by-wallet --relayer relayer.keystore.json

  Or sign with any wallet on another machine: print the message (the typed data of eth_signTypedData_v4), sign it there,
  and let anybody submit it. The wrapped keys are stored now; the grant stands when it is relayed:
    pulsegate grant … --print-typed-data --deadline +1d > grant.json
    pulsegate relay --typed-data grant.json --signature 0x… --keystore relayer.keystore.json

The window is of the data, not of the reading: it covers what was measured between --from and --until.
It is widened to whole hours, the smallest time that keys can be given for.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Who may read: an account, an Ethereum address, or a keystore file
    #[arg(long, value_parser = args::principal, value_name = "ACCOUNT")]
    to: Principal,
    /// Which data; repeat for several (vital-signs, ecg, activity, laboratory, medication)
    #[arg(long, value_parser = args::category, required = true, value_name = "CATEGORY")]
    category: Vec<Category>,
    /// For which use; repeat for several (TREAT, ETREAT, HPAYMT, HRESCH, HOPERAT, PUBHLTH, PATRQT)
    #[arg(long, value_parser = args::purpose, required = true, value_name = "PURPOSE")]
    purpose: Vec<Purpose>,
    /// Begin of the data: 2026-03-01, 2026-03-01T08:00:00Z, now, -2h
    #[arg(long, allow_hyphen_values = true, value_name = "MOMENT")]
    from: String,
    /// End of the data: as --from, or +30d
    #[arg(long, allow_hyphen_values = true, value_name = "MOMENT")]
    until: String,
    /// Forbid instead of permit
    #[arg(long)]
    deny: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

/// Who signs and who submits a grant or a revocation.
#[derive(clap::Args, Debug)]
pub(super) struct SigningArgs {
    /// Sign as an Ethereum wallet (EIP-712) with the keystore's own secp256k1 key
    #[arg(long)]
    signed_by_wallet: bool,
    /// Sign with the wallet in this Ethereum keystore file (EIP-712)
    #[cfg(feature = "wallet")]
    #[arg(long, conflicts_with_all = ["signed_by_wallet", "print_typed_data"], value_name = "FILE")]
    wallet: Option<PathBuf>,
    /// File whose first line is the passphrase of --wallet; else the keystore's own passphrase is tried
    #[cfg(feature = "wallet")]
    #[arg(long, requires = "wallet", value_name = "FILE")]
    wallet_passphrase_file: Option<PathBuf>,
    /// Keystore of the account that submits what the wallet signed [default: your own]
    #[arg(long, value_name = "FILE")]
    relayer: Option<PathBuf>,
    /// Print the message as typed data (JSON) for any wallet to sign, and submit nothing; see `pulsegate relay`
    #[arg(long, conflicts_with_all = ["signed_by_wallet", "relayer"])]
    print_typed_data: bool,
    /// How long the wallet's signature stays valid
    #[arg(long, default_value = "+10m", allow_hyphen_values = true, value_name = "MOMENT")]
    deadline: String,
}

impl SigningArgs {
    /// The deadline (Unix seconds) of typed data that is to be printed; `None` when something is to be submitted.
    pub(super) fn printed_until_s(&self, session: &Session) -> Outcome<Option<u64>> {
        self.print_typed_data.then(|| moment::parse(&self.deadline, session.now_s())).transpose()
    }

    /// Opens what the arguments name.
    pub(super) fn submission(
        &self,
        globals: &Globals,
        session: &Session,
        identity: &crate::identity::Identity,
    ) -> Outcome<Submission> {
        let Some(wallet) = self.wallet(globals, identity)? else {
            if self.relayer.is_some() {
                return Err(crate::failure::Failure::new(
                    "RELAYER_WITHOUT_WALLET",
                    "--relayer needs a signature by wallet",
                )
                .next("add --signed-by-wallet, or leave out --relayer"));
            }
            return Ok(Submission::Patient);
        };
        let relayer = match &self.relayer {
            Some(path) => globals.unlock_file(path)?.account().clone(),
            None => identity.account().clone(),
        };
        Ok(Submission::Wallet { wallet, relayer, deadline_s: moment::parse(&self.deadline, session.now_s())? })
    }

    #[cfg(feature = "wallet")]
    fn wallet(
        &self,
        globals: &Globals,
        identity: &crate::identity::Identity,
    ) -> Outcome<Option<crate::wallet::Wallet>> {
        use crate::passphrase::{Need, Passphrase};
        match &self.wallet {
            Some(path) => {
                let file = self.wallet_passphrase_file.as_deref().or(globals.passphrase_file.as_deref());
                let passphrase = Passphrase::obtain(file, Need::Unlock, path)?;
                crate::wallet::Wallet::of_file(path, &passphrase).map(Some)
            }
            None => self.signed_by_wallet.then(|| identity.wallet()).transpose(),
        }
    }

    #[cfg(not(feature = "wallet"))]
    fn wallet(
        &self,
        _globals: &Globals,
        identity: &crate::identity::Identity,
    ) -> Outcome<Option<crate::wallet::Wallet>> {
        self.signed_by_wallet.then(|| identity.wallet()).transpose()
    }
}

pub(super) async fn run(globals: &Globals, args: Args) -> Outcome<()> {
    let session = Session::connect(globals).await?;
    let identity = globals.unlock()?;
    let now_s = session.now_s();
    let (from_s, until_s) =
        moment::whole_epochs(moment::parse(&args.from, now_s)?, moment::parse(&args.until, now_s)?)?;
    let plan = GrantPlan {
        grantee: args.to,
        effect: if args.deny { Effect::Deny } else { Effect::Permit },
        categories: Categories::of(&args.category),
        purposes: Purposes::of(&args.purpose),
        from_s,
        until_s,
    };
    if let Some(deadline_s) = args.signing.printed_until_s(&session)? {
        let data = granting::typed_grant(&session, &identity, &plan, deadline_s).await?;
        output::print_json(&data.to_json());
        return Ok(());
    }
    let submission = args.signing.submission(globals, &session, &identity)?;
    let granted = granting::grant(&session, &identity, &plan, &submission).await?;
    let output = session.output;
    output.say(format_args!("grant {} is on chain in block {}", granted.grant, granted.transaction.block));
    output.say(format_args!("  {} {}", if args.deny { "forbids" } else { "permits" }, plan.grantee));
    output.say(format_args!("  data         {} for {}", plan.categories, plan.purposes));
    output.say(format_args!("  measured     {} until {}", moment::format_s(from_s), moment::format_s(until_s)));
    if let Some(keys) = &granted.wrapped_keys {
        output.say(format_args!("  wrapped keys {keys}"));
    }
    output.say(format_args!("  transaction  {}", granted.transaction.hash));
    output.result(&granted);
    Ok(())
}
