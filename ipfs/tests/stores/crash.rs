//! `kill -9` while writing: what a returned `put` stored is there afterwards, with its pins.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pulsegate_ipfs::store::{BlockStore, EmbeddedBlockStore, KuboBlockStore};

use crate::suite::Batch;
use crate::{DEADLINE, kubo_node, run};

const WRITER_DIR: &str = "PULSEGATE_TEST_WRITER_DIR";
/// Batches written before the kill.
const BATCHES: usize = 25;

/// The child process: writes batches for ever and names each after its `put` returned.
#[test]
#[ignore = "the child process of the other tests"]
fn writer() {
    let dir = std::env::var(WRITER_DIR).expect("the parent names the folder");
    let store = EmbeddedBlockStore::open(Path::new(&dir)).unwrap();
    run(async {
        for number in 0.. {
            let batch = Batch::new(&format!("batch {number}"), 30);
            store.put(&batch.blocks(), &[batch.root.cid]).await.unwrap();
            writeln!(std::io::stdout(), "stored {number}").unwrap();
        }
    });
}

fn spawn_writer(dir: &Path) -> (Child, impl Iterator<Item = usize> + use<>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--ignored", "--nocapture"])
        .env(WRITER_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness prints before and on the same line.
    let numbers = lines.map_while(Result::ok).filter_map(|line| {
        let (_, number) = line.rsplit_once("stored ")?;
        number.parse().ok()
    });
    (child, numbers)
}

#[test]
fn an_embedded_store_keeps_every_returned_put_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (mut child, mut numbers) = spawn_writer(dir.path());
        let last = numbers.by_ref().take(BATCHES).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines that were still in the pipe were returned puts as well.
        let last = numbers.last().unwrap_or(last);
        let store = EmbeddedBlockStore::open(dir.path()).unwrap();
        run(async {
            for number in 0..=last {
                let batch = Batch::new(&format!("batch {number}"), 30);
                for block in batch.blocks() {
                    assert_eq!(store.get(&block.cid).await.unwrap(), block, "round {round}, batch {number}");
                }
                store.put(&[], &[batch.root.cid]).await.unwrap();
            }
            // The one that was cut off is there as a whole or not at all.
            let cut = Batch::new(&format!("batch {}", last + 1), 30);
            let root = store.has(&cut.root.cid).await.unwrap();
            for block in cut.blocks() {
                assert_eq!(store.has(&block.cid).await.unwrap(), root);
            }
        });
    }
}

#[test]
fn a_store_that_is_open_elsewhere_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut numbers) = spawn_writer(dir.path());
    numbers.next().unwrap();
    let error = EmbeddedBlockStore::open(dir.path()).err().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error.code(), "STORE_IN_USE");
    let store = EmbeddedBlockStore::open(dir.path()).unwrap();
    assert_eq!(EmbeddedBlockStore::open(dir.path()).err().unwrap().code(), "STORE_IN_USE");
    drop(store);
    assert!(EmbeddedBlockStore::open(dir.path()).is_ok());
}

#[test]
fn kubo_keeps_every_returned_put_after_a_kill() {
    let Some(mut node) = kubo_node::start() else { return };
    let store = KuboBlockStore::connect(&node.api_url(), DEADLINE).unwrap();
    let mut stored = Vec::new();
    run(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let writer = tokio::spawn(async move {
            for number in 0.. {
                let batch = Batch::new(&format!("batch {number}"), 64);
                if let Err(error) = store.put(&batch.blocks(), &[batch.root.cid]).await {
                    return error;
                }
                sender.send(batch).unwrap();
            }
            unreachable!("the node is killed before")
        });
        for _ in 0..BATCHES {
            stored.push(receiver.recv().await.unwrap());
        }
        node.kill();
        let error = writer.await.unwrap();
        assert!(error.is_transient(), "{error}");
        while let Some(batch) = receiver.recv().await {
            stored.push(batch);
        }
    });
    node.restart();
    // Pins hold the batches against a collection, so what survives it was pinned.
    node.collect_garbage();
    let store = KuboBlockStore::connect(&node.api_url(), DEADLINE).unwrap();
    run(async {
        for batch in &stored {
            for block in batch.blocks() {
                assert_eq!(store.get(&block.cid).await.unwrap(), block);
            }
        }
        let pins = node.command(&["pin", "ls", "--type=recursive", "--quiet"]);
        assert!(stored.iter().all(|batch| pins.contains(&batch.root.cid.to_string())));
    });
}
