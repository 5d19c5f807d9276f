//! Registering a participant: account, role, public keys, and for a patient the first key directory.
//!
//! Guarantees: may be repeated after an interruption; what is on chain already is left as it is. Must not: change the role
//! of an account that is registered.

use pulsegate_rules::registry::{KeyAlgorithm, KeyUse, PublicKey, Role};
use pulsegate_rules::{Generation, Principal};
use serde::Serialize;

use super::TransactionLine;
use super::rotation::{self, Published};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// What a sponsor gives a new account, in the chain's smallest unit: a thousand units of the development chain, enough for
/// some thousand transactions and their storage deposits.
pub(crate) const ENDOWMENT: u128 = 1_000_000_000_000_000;

/// What an enrolment did.
#[derive(Debug, Serialize)]
pub(crate) struct Enrolled {
    /// The account.
    pub(crate) account: Principal,
    /// Its role.
    pub(crate) role: Role,
    /// The algorithm of its encryption key.
    pub(crate) encryption: String,
    /// The algorithm of its signing key.
    pub(crate) signing: String,
    /// A patient's first published hours.
    pub(crate) published: Option<Published>,
    /// The transactions that were needed.
    pub(crate) transactions: Vec<TransactionLine>,
}

/// Registers an identity, or what of it is not registered yet.
pub(crate) async fn enrol(session: &Session, identity: &mut Identity, role: Role, days: u32) -> Outcome<Enrolled> {
    let registry = &session.contracts.registry;
    let account = identity.principal();
    let mut transactions = Vec::new();
    match registry.participant(account).await? {
        Some(participant) if participant.role != role => {
            let message = format!("{account} is registered already, with another role");
            return Err(Failure::new("ROLE_DIFFERS", message).next("enrol with that role, or make another keystore"));
        }
        Some(_) => {}
        None => {
            let registered = registry.register_participant(identity.account(), role).await?;
            transactions.push(TransactionLine::of(&registered.transaction));
        }
    }
    let (encryption, signing) = (identity.encryption_key()?, identity.signing_key()?);
    for (key_use, key) in [(KeyUse::Encryption, &encryption), (KeyUse::Signing, &signing)] {
        if registry.key(account, key_use).await?.as_ref() != Some(key) {
            let set = registry.set_key(identity.account(), key_use, key).await?;
            transactions.push(TransactionLine::of(&set.transaction));
        }
    }
    let mut published = None;
    if role == Role::Patient {
        identity.ensure_generation(Generation(0))?;
        let first = rotation::publish(session, identity, days).await?;
        transactions.push(first.transaction.clone());
        published = Some(first);
    }
    let (encryption, signing) = (algorithm(&encryption), algorithm(&signing));
    Ok(Enrolled { account, role, encryption, signing, published, transactions })
}

fn algorithm(key: &PublicKey) -> String {
    match key.algorithm {
        KeyAlgorithm::X25519Hpke => "X25519 (HPKE)",
        KeyAlgorithm::RsaOaepSha256 => "RSA-OAEP",
        KeyAlgorithm::Ed25519 => "Ed25519",
        KeyAlgorithm::RsaPssSha256 => "RSA-PSS",
    }
    .to_owned()
}
