//! What the patient gets to know: every release and every refusal, from the anchored receipts.
//!
//! Guarantees: each receipt is opened with the patient's key, is the one that the anchored batch names, and says which key signed
//! it; missing numbers show. Must not: show a receipt of somebody else.

use std::collections::BTreeMap;

use pulsegate_ipfs::manifest::{Leaf, ReceiptLeaf};
use pulsegate_oracle::release::protocol::{Receipt, SignedReceipt};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::{Category, Epoch, Generation, GrantId, OracleKey, Principal, Purpose};
use serde::Serialize;

use super::TransactionLine;
use super::batches::{self, Fault};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::session::Session;

/// One receipt, opened and checked.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptLine {
    /// The oracle's time of the answer, Unix milliseconds.
    pub(crate) answered_at_ms: u64,
    /// Who asked.
    pub(crate) reader: Principal,
    /// For which data.
    pub(crate) category: Category,
    /// What for.
    pub(crate) purpose: Purpose,
    /// Of which generation.
    pub(crate) generation: Generation,
    /// Which hours were released.
    pub(crate) released: Vec<Epoch>,
    /// Which were refused, with the reason's code.
    pub(crate) refused: Vec<(Epoch, &'static str)>,
    /// The grant that permitted.
    pub(crate) grant: Option<GrantId>,
    /// The finalised block whose state decided.
    pub(crate) block: u64,
    /// The oracle.
    pub(crate) oracle: Principal,
    /// The key that signed it.
    pub(crate) signer: OracleKey,
    /// Whether the registry's present oracle set has that key; an oracle may have left since.
    pub(crate) in_present_set: bool,
    /// The batch that holds it.
    pub(crate) batch: u64,
    /// Its block.
    pub(crate) cid: String,
}

/// All receipts of a patient.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptList {
    /// In the order of the oracle's answers.
    pub(crate) receipts: Vec<ReceiptLine>,
    /// What is missing or does not fit.
    pub(crate) faults: Vec<Fault>,
}

/// What had been released under a grant when it was revoked.
#[derive(Debug, Serialize)]
pub(crate) struct RevocationReceipt {
    /// The grant.
    pub(crate) grant: GrantId,
    /// Who read by it.
    pub(crate) grantee: Principal,
    /// The revocation's transaction.
    pub(crate) transaction: TransactionLine,
    /// What the reader knows already, as far as receipts are anchored.
    pub(crate) released: Vec<ReleasedPart>,
}

/// A run of released hours.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReleasedPart {
    /// Of which data.
    pub(crate) category: Category,
    /// Of which generation.
    pub(crate) generation: Generation,
    /// First second, Unix seconds.
    pub(crate) from_s: u64,
    /// First second no longer released, Unix seconds.
    pub(crate) until_s: u64,
}

/// Lists a patient's anchored receipts.
pub(crate) async fn list(session: &Session, identity: &Identity) -> Outcome<ReceiptList> {
    let patient = identity.principal();
    let oracles = session.contracts.registry.oracles().await?.members;
    let bar = session.output.progress(0, "reading receipts");
    let chains = batches::read_all(session, BatchKind::Receipts, &bar).await?;
    let mut list = ReceiptList { receipts: Vec::new(), faults: Vec::new() };
    for chain in chains {
        list.faults.extend(chain.faults);
        let mut expected = 1;
        for batch in &chain.batches {
            for leaf in &batch.manifest.leaves {
                let Leaf::Receipt(leaf) = leaf else { continue };
                if leaf.patient != patient {
                    continue;
                }
                if leaf.sequence != expected {
                    let message = format!(
                        "receipts {expected} to {} of {} are missing",
                        leaf.sequence.saturating_sub(1),
                        chain.oracle
                    );
                    list.faults.push(Fault::new("RECEIPT_GAP", message));
                }
                expected = leaf.sequence.saturating_add(1);
                match open(session, identity, leaf).await {
                    Ok((receipt, signer)) => {
                        let in_set = oracles.contains(&signer);
                        list.receipts.push(line(receipt, leaf, batch.header.sequence, (signer, in_set)));
                    }
                    Err(failure) => {
                        let message = format!("receipt {} of {}: {}", leaf.sequence, chain.oracle, failure.message);
                        list.faults.push(Fault::new(&failure.code, message));
                    }
                }
            }
        }
    }
    bar.finish_and_clear();
    list.receipts.sort_by_key(|receipt| receipt.answered_at_ms);
    Ok(list)
}

/// The revocation receipt of a grant that was just revoked.
pub(crate) async fn of_revocation(
    session: &Session,
    identity: &Identity,
    grant: GrantId,
    transaction: TransactionLine,
) -> Outcome<RevocationReceipt> {
    let on_chain = session.contracts.consent.grant_of(grant).await?;
    let grantee = on_chain.map(|on_chain| on_chain.request.grantee).ok_or_else(|| {
        Failure::new("CONSENT_NOT_FOUND", format!("grant {grant} is not on chain"))
            .next("list yours with `pulsegate grants`")
    })?;
    let list = list(session, identity).await?;
    let mut hours: BTreeMap<(Category, Generation), Vec<Epoch>> = BTreeMap::new();
    for receipt in list.receipts.iter().filter(|receipt| receipt.grant == Some(grant)) {
        hours.entry((receipt.category, receipt.generation)).or_default().extend(&receipt.released);
    }
    let released = hours
        .into_iter()
        .flat_map(|((category, generation), epochs)| {
            runs(epochs).into_iter().map(move |run| ReleasedPart {
                category,
                generation,
                from_s: run.start.start_s(),
                until_s: run.end.start_s(),
            })
        })
        .collect();
    Ok(RevocationReceipt { grant, grantee, transaction, released })
}

/// Epochs as runs without a gap, in order.
pub(crate) fn runs(mut epochs: Vec<Epoch>) -> Vec<std::ops::Range<Epoch>> {
    epochs.sort_unstable();
    epochs.dedup();
    let mut runs: Vec<std::ops::Range<Epoch>> = Vec::new();
    for epoch in epochs {
        let next = Epoch(epoch.0.saturating_add(1));
        match runs.last_mut() {
            Some(run) if run.end == epoch => run.end = next,
            _ => runs.push(epoch..next),
        }
    }
    runs
}

/// Opens a receipt and checks that it is the one that the anchored manifest names; returns it with the key that signed it.
async fn open(session: &Session, identity: &Identity, leaf: &ReceiptLeaf) -> Outcome<(Receipt, OracleKey)> {
    let block = session.blocks.get(&leaf.receipt).await?;
    let signed = SignedReceipt::open(&block, &identity.principal(), identity.decryption())?;
    if signed.digest() != leaf.digest {
        return Err(Failure::new("RECEIPT_MISMATCH", "it is not the receipt that its manifest names"));
    }
    let signer = signed.signer().ok_or_else(|| Failure::new("RECEIPT_FOREIGN", "its signature is of no key"))?;
    Ok((signed.unverified()?, signer))
}

fn line(receipt: Receipt, leaf: &ReceiptLeaf, batch: u64, (signer, in_present_set): (OracleKey, bool)) -> ReceiptLine {
    ReceiptLine {
        answered_at_ms: receipt.answered_at_ms,
        reader: receipt.reader,
        category: receipt.category,
        purpose: receipt.purpose,
        generation: receipt.generation,
        released: receipt.released,
        refused: receipt.refused.into_iter().map(|(epoch, reason)| (epoch, reason.code())).collect(),
        grant: receipt.grant,
        block: receipt.block.number,
        oracle: receipt.oracle,
        signer,
        in_present_set,
        batch,
        cid: leaf.receipt.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_become_runs() {
        let epochs = [5, 3, 4, 9, 3].map(Epoch).to_vec();
        assert_eq!(runs(epochs), [Epoch(3)..Epoch(6), Epoch(9)..Epoch(10)]);
        assert!(runs(Vec::new()).is_empty());
    }
}
