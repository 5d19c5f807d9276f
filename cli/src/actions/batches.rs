//! Reading the anchored batches: every oracle's chain of headers from the contract, and their manifests from the store.
//!
//! Guarantees: a manifest that is returned is the one that the chain names, leaf for leaf; whatever is missing or does not fit
//! is listed as a [`Fault`], never left out silently. Must not: need a key, or trust the store or the oracle.

use futures::stream::{self, StreamExt};
use indicatif::ProgressBar;
use pulsegate_ipfs::block;
use pulsegate_ipfs::manifest::Manifest;
use pulsegate_rules::Principal;
use pulsegate_rules::consent::PAGE_MAX;
use pulsegate_rules::records::{BatchHeader, BatchKind};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::session::Session;

/// How many batches or blocks are asked for at the same time.
pub(crate) const CONCURRENT_MAX: usize = 16;

/// Something that does not fit what the chain says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// Stable name.
    pub(crate) code: String,
    /// Where and what.
    pub(crate) message: String,
}

impl Fault {
    /// A fault.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// A batch whose manifest is the one that the chain names.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// What the oracles signed.
    pub(crate) header: BatchHeader,
    /// Block time, Unix milliseconds.
    pub(crate) anchored_at_ms: u64,
    /// Every leaf.
    pub(crate) manifest: Manifest,
}

/// One oracle's chain of batches of one kind.
#[derive(Debug)]
pub(crate) struct BatchChain {
    /// Whose.
    pub(crate) oracle: Principal,
    /// Number of batches on chain.
    pub(crate) length: u64,
    /// Those that could be read, in order.
    pub(crate) batches: Vec<Batch>,
    /// What did not fit.
    pub(crate) faults: Vec<Fault>,
}

/// Reads every oracle's batches of one kind.
pub(crate) async fn read_all(session: &Session, kind: BatchKind, bar: &ProgressBar) -> Outcome<Vec<BatchChain>> {
    let mut oracles = Vec::new();
    loop {
        let offset = u32::try_from(oracles.len()).unwrap_or(u32::MAX);
        let page = session.contracts.records.oracles_seen(offset, PAGE_MAX).await?;
        if page.is_empty() {
            break;
        }
        oracles.extend(page);
    }
    let mut chains = Vec::with_capacity(oracles.len());
    for oracle in oracles {
        chains.push(read_chain(session, oracle, kind, bar).await?);
    }
    Ok(chains)
}

async fn read_chain(session: &Session, oracle: Principal, kind: BatchKind, bar: &ProgressBar) -> Outcome<BatchChain> {
    let head = session.contracts.records.head(oracle, kind).await?;
    bar.inc_length(head.sequence);
    let read = stream::iter(1..=head.sequence)
        .map(|sequence| async move {
            let batch = read_batch(session, oracle, kind, sequence).await;
            bar.inc(1);
            batch
        })
        .buffered(CONCURRENT_MAX)
        .collect::<Vec<_>>()
        .await;
    let mut chain = BatchChain { oracle, length: head.sequence, batches: Vec::new(), faults: Vec::new() };
    let mut previous = [0; 32];
    for (sequence, read) in (1..).zip(read) {
        let (header, anchored_at_ms, manifest) = match read {
            Ok(read) => read,
            Err(Unread::Gone(fault)) => {
                chain.faults.push(fault);
                continue;
            }
            Err(Unread::Failed(failure)) => return Err(failure),
        };
        if header.previous != previous {
            let message = format!("batch {sequence} of {oracle} does not follow the one before it");
            chain.faults.push(Fault::new("BATCH_CHAIN_BROKEN", message));
        }
        previous = header.digest();
        match manifest {
            Ok(manifest) => chain.batches.push(Batch { header, anchored_at_ms, manifest }),
            Err(fault) => chain.faults.push(fault),
        }
    }
    if previous != head.digest {
        chain.faults.push(Fault::new(
            "BATCH_CHAIN_BROKEN",
            format!("the newest batch of {oracle} is not the one that the chain names as head"),
        ));
    }
    Ok(chain)
}

type ReadBatch = (BatchHeader, u64, Result<Manifest, Fault>);

enum Unread {
    /// It is not on chain.
    Gone(Fault),
    /// The chain does not answer.
    Failed(Failure),
}

async fn read_batch(session: &Session, oracle: Principal, kind: BatchKind, sequence: u64) -> Result<ReadBatch, Unread> {
    let anchored =
        session.contracts.records.batch(oracle, kind, sequence).await.map_err(|error| Unread::Failed(error.into()))?;
    let anchored = anchored.ok_or_else(|| {
        Unread::Gone(Fault::new(
            "BATCH_MISSING",
            format!("batch {sequence} of {oracle} is not on chain, though later ones are"),
        ))
    })?;
    let manifest = read_manifest(session, &anchored.header).await;
    Ok((anchored.header, anchored.anchored_at_ms, manifest))
}

async fn read_manifest(session: &Session, header: &BatchHeader) -> Result<Manifest, Fault> {
    let place = format!("the manifest of batch {} of {}", header.sequence, header.oracle);
    let cid = block::cid_from_bytes(&header.manifest)
        .map_err(|error| Fault::new(error.code(), format!("{place}: {error}")))?;
    let block =
        session.blocks.get(&cid).await.map_err(|error| Fault::new(error.code(), format!("{place}: {error}")))?;
    let manifest = Manifest::from_block(&block).and_then(|manifest| manifest.check_against(header).map(|()| manifest));
    manifest.map_err(|error| Fault::new(error.code(), format!("{place}: {error}")))
}
