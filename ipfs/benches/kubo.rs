//! Sealed records per second into Kubo: one CAR per batch, as a ratio to one `add` request per record in the same run.
//!
//! `cargo bench -p pulsegate-ipfs`. Needs `ipfs` on the `PATH`. The ratio is the result; the absolute numbers depend on the machine
//! and its disk and are context.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

#[expect(dead_code, reason = "the crash tests use the rest")]
#[path = "../tests/stores/kubo_node.rs"]
mod kubo_node;

use std::io::Cursor;
use std::time::{Duration, Instant};

use ipfs_api_backend_hyper::{IpfsApi, IpfsClient, TryFromUri};
use pulsegate_ipfs::Block;
use pulsegate_ipfs::key_tree::GenerationSecret;
use pulsegate_ipfs::manifest::{Leaf, Manifest, RecordLeaf};
use pulsegate_ipfs::record::{EpochShare, SealingWindow, seal};
use pulsegate_ipfs::store::{BlockStore, KuboBlockStore};
use pulsegate_rules::records::BatchKind;
use pulsegate_rules::{Category, DeviceId, Epoch, Generation, Principal, StreamId};

/// An odd number, so that there is a median.
const ROUNDS: usize = 5;
/// About what a signed scalar reading with its verdict takes.
const PAYLOAD_BYTES: usize = 400;
const EPOCH: Epoch = Epoch(470_000);

/// Seals records as the oracle does: one window, many records.
fn sealed(count: usize) -> (Vec<Block>, Block) {
    let leaf = GenerationSecret::random().stream_root(Category::VitalSigns).leaf(EPOCH).expect("an epoch of the tree");
    let stream = StreamId::of(&Principal([1; 32]), Category::VitalSigns);
    let window = SealingWindow::new(stream, Generation(0), EPOCH, &leaf.public_key()).expect("a derived key is sound");
    let (share, device) = (EpochShare::random(), DeviceId([3; 32]));
    let records: Vec<Block> = (1..=count as u64)
        .map(|sequence| {
            seal(&window, &share, &window.header(device, sequence), &[7; PAYLOAD_BYTES]).expect("a small payload seals")
        })
        .collect();
    let leaves = (1..).zip(&records).map(|(sequence, record)| {
        let (link, previous) = ([1; 32], [0; 32]);
        let (generation, epoch) = (Generation(0), EPOCH);
        Leaf::Record(RecordLeaf { record: record.cid, stream, generation, epoch, device, sequence, link, previous })
    });
    let manifest =
        Manifest { kind: BatchKind::Records, oracle: Principal([4; 32]), sequence: 1, leaves: leaves.collect() };
    (records, manifest.to_block().expect("a batch within the limits"))
}

async fn by_car(store: &KuboBlockStore, count: usize) -> f64 {
    let (records, manifest) = sealed(count);
    let blocks: Vec<Block> = records.into_iter().chain([manifest.clone()]).collect();
    let started = Instant::now();
    store.put(&blocks, &[manifest.cid]).await.expect("Kubo takes the batch");
    count as f64 / started.elapsed().as_secs_f64()
}

async fn one_by_one(api: &IpfsClient, count: usize) -> f64 {
    let (records, _) = sealed(count);
    let started = Instant::now();
    for record in records {
        api.add(Cursor::new(record.bytes)).await.expect("Kubo takes the record");
    }
    count as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let Some(node) = kubo_node::start() else { return };
    let store = KuboBlockStore::connect(&node.api_url(), Duration::from_secs(120)).expect("the node's own address");
    let api = <IpfsClient as TryFromUri>::from_str(&node.api_url()).expect("the node's own address");
    println!("{} offline, {ROUNDS} rounds, medians", node.command(&["version"]).trim());
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        for count in [64, 1_024] {
            let (mut car, mut single, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let pair = (by_car(&store, count).await, one_by_one(&api, count).await);
                car.push(pair.0);
                single.push(pair.1);
                ratio.push(pair.0 / pair.1);
            }
            println!(
                "{count:>5} records a CAR: {:>5.1} times one add a record ({:.0} against {:.0} sealed records/s)",
                median(ratio),
                median(car),
                median(single)
            );
        }
    });
}
