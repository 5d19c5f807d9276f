//! Delivery: whatever the oracle answers, each reading arrives once, in order, or is set aside with the reason.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Fault, Oracle, agent, key, measurement};
use pulsegate_device_agent::{Agent, AgentConfig, Measurement};
use pulsegate_reading::{LoincCode, Unit};

fn measurements(count: u64) -> Vec<Measurement> {
    (0..count).map(measurement).collect()
}

#[tokio::test]
async fn what_is_queued_arrives_once_and_in_order() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, waits) = agent(dir.path(), &oracle.url(), |_| {});
    assert_eq!(agent.enqueue_all(&measurements(600)).unwrap(), 600);
    let progress = agent.drain().await.unwrap();
    assert_eq!((progress.accepted, progress.duplicates, progress.remaining), (600, 0, 0));
    let book = oracle.book.lock().unwrap();
    book.holds(&measurements(600));
    assert_eq!((book.requests, book.largest), (3, 256));
    assert!(waits.lock().unwrap().is_empty());
}

#[tokio::test]
async fn while_the_oracle_is_away_readings_wait_on_disk() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    {
        let (agent, waits) = agent(dir.path(), "http://127.0.0.1:1", |config| config.attempts_max = 3);
        agent.enqueue_all(&measurements(5)).unwrap();
        let error = agent.drain().await.unwrap_err();
        assert_eq!(error.code(), "ORACLE_UNAVAILABLE");
        assert_eq!(waits.lock().unwrap().len(), 2);
        assert_eq!(agent.pending().unwrap(), 5);
    }
    let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
    agent.enqueue(measurement(5)).unwrap();
    assert_eq!(agent.drain().await.unwrap().accepted, 6);
    oracle.book.lock().unwrap().holds(&measurements(6));
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_double() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
    agent.enqueue_all(&measurements(10)).unwrap();
    oracle.fail([Fault::TakeAndBreak, Fault::TakeAndBreak]);
    let progress = agent.drain().await.unwrap();
    assert_eq!((progress.accepted, progress.duplicates, progress.retries), (0, 10, 2));
    oracle.book.lock().unwrap().holds(&measurements(10));
}

#[tokio::test]
async fn retry_after_is_obeyed_and_steps_grow_up_to_the_cap() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, waits) = agent(dir.path(), &oracle.url(), |config| {
        config.attempts_max = 20;
        config.backoff.first_ms = 100;
        config.backoff.cap_ms = 400;
    });
    agent.enqueue(measurement(0)).unwrap();
    oracle.fail([Fault::Status(429, Some(30)), Fault::Status(503, Some(7))]);
    oracle.fail((0..6).map(|_| Fault::Status(500, None)));
    agent.drain().await.unwrap();
    let waits = waits.lock().unwrap().clone();
    assert_eq!(waits[..2], [Duration::from_secs(30), Duration::from_secs(7)]);
    assert_eq!(waits.len(), 8);
    assert!(waits[2..].iter().all(|wait| (200..=400).contains(&wait.as_millis())), "{waits:?}");
}

#[tokio::test]
async fn a_refused_reading_is_set_aside_and_blocks_nothing() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |config| config.batch_readings = 16);
    let refused = [0, 3, 4, 40, 99];
    for number in refused {
        oracle.book.lock().unwrap().refused.push((measurement(number).measured_at_ms, "TIME_IN_FUTURE"));
    }
    agent.enqueue_all(&measurements(100)).unwrap();
    let progress = agent.drain().await.unwrap();
    assert_eq!((progress.accepted, progress.rejected, progress.remaining), (95, 5, 0));
    let kept: Vec<Measurement> = (0..100).filter(|number| !refused.contains(number)).map(measurement).collect();
    oracle.book.lock().unwrap().holds(&kept);
    let set_aside = agent.rejected().unwrap();
    assert_eq!(set_aside.len(), 5);
    assert!(set_aside.iter().all(|entry| entry.code == "TIME_IN_FUTURE" && !entry.reading.is_empty()));
    agent.enqueue(measurement(200)).unwrap();
    assert_eq!(agent.drain().await.unwrap().rejected, 0);
}

#[tokio::test]
async fn many_refusals_in_a_row_one_by_one_do_not_stop_the_device() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |config| config.batch_readings = 1);
    oracle
        .book
        .lock()
        .unwrap()
        .refused
        .extend((0..8).map(|number| (measurement(number).measured_at_ms, "WRONG_CATEGORY")));
    agent.enqueue_all(&measurements(10)).unwrap();
    let progress = agent.drain().await.unwrap();
    assert_eq!((progress.accepted, progress.rejected), (2, 8));
}

#[tokio::test]
async fn an_unknown_device_keeps_everything_until_it_is_registered() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
    agent.enqueue_all(&measurements(3)).unwrap();
    oracle
        .book
        .lock()
        .unwrap()
        .refused
        .extend((0..3).map(|number| (measurement(number).measured_at_ms, "UNKNOWN_DEVICE")));
    assert_eq!(agent.drain().await.unwrap_err().code(), "DEVICE_REFUSED");
    assert_eq!((agent.pending().unwrap(), agent.rejected().unwrap().len()), (3, 0));
    oracle.book.lock().unwrap().refused.clear();
    assert_eq!(agent.drain().await.unwrap().accepted, 3);
    oracle.book.lock().unwrap().holds(&measurements(3));
}

#[tokio::test]
async fn a_refusal_that_passes_is_tried_again() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, waits) = agent(dir.path(), &oracle.url(), |config| config.attempts_max = 4);
    agent.enqueue_all(&measurements(4)).unwrap();
    oracle.book.lock().unwrap().refused.push((measurement(2).measured_at_ms, "PATIENT_BACKLOG_FULL"));
    assert_eq!(agent.drain().await.unwrap_err().code(), "ORACLE_UNAVAILABLE");
    assert_eq!((agent.pending().unwrap(), waits.lock().unwrap().len()), (2, 3));
    oracle.book.lock().unwrap().refused.clear();
    agent.drain().await.unwrap();
    oracle.book.lock().unwrap().holds(&measurements(4));
}

#[tokio::test]
async fn a_new_folder_goes_on_where_the_oracle_is() {
    let oracle = Oracle::start().await;
    for round in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
        let part: Vec<Measurement> = (round * 10..round * 10 + 10).map(measurement).collect();
        agent.enqueue_all(&part).unwrap();
        assert_eq!(agent.drain().await.unwrap().accepted, 10);
    }
    oracle.book.lock().unwrap().holds(&measurements(30));
}

#[tokio::test]
async fn batches_that_are_too_large_are_halved() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    oracle.book.lock().unwrap().batch_max = Some(20);
    let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
    agent.enqueue_all(&measurements(100)).unwrap();
    assert_eq!(agent.drain().await.unwrap().accepted, 100);
    oracle.book.lock().unwrap().batch_max = Some(0);
    agent.enqueue(measurement(100)).unwrap();
    assert_eq!(agent.drain().await.unwrap().rejected, 1);
}

#[tokio::test]
async fn nonsense_from_the_oracle_loses_nothing() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |_| {});
    agent.enqueue_all(&measurements(3)).unwrap();
    oracle.fail([Fault::Nonsense, Fault::Status(401, None)]);
    assert_eq!(agent.drain().await.unwrap_err().code(), "PROTOCOL_ERROR");
    assert_eq!(agent.drain().await.unwrap_err().code(), "DEVICE_REFUSED");
    assert_eq!(agent.pending().unwrap(), 3);
    assert_eq!(agent.drain().await.unwrap().accepted, 3);
}

#[tokio::test]
async fn measuring_goes_on_while_sending() {
    let (dir, oracle) = (tempfile::tempdir().unwrap(), Oracle::start().await);
    let (agent, _) = agent(dir.path(), &oracle.url(), |config| config.batch_readings = 8);
    let agent = std::sync::Arc::new(agent);
    oracle
        .book
        .lock()
        .unwrap()
        .refused
        .extend((0..300).step_by(37).map(|number| (measurement(number).measured_at_ms, "TOO_OLD")));
    let enqueue = std::sync::Arc::clone(&agent);
    let measuring = tokio::task::spawn_blocking(move || {
        for number in 0..300 {
            enqueue.enqueue(measurement(number)).unwrap();
        }
    });
    while !measuring.is_finished() || agent.pending().unwrap() > 0 {
        agent.drain().await.unwrap();
        tokio::task::yield_now().await;
    }
    let kept: Vec<Measurement> = (0..300).filter(|number| number % 37 != 0).map(measurement).collect();
    oracle.book.lock().unwrap().holds(&kept);
}

#[tokio::test]
async fn a_full_queue_an_absurd_value_and_a_second_agent_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, _) = agent(dir.path(), "http://127.0.0.1:1", |config| config.queue_readings_max = 10);
    agent.enqueue_all(&measurements(10)).unwrap();
    assert_eq!(agent.enqueue(measurement(11)).unwrap_err().code(), "QUEUE_FULL");
    let absurd = Measurement::quantity(1, LoincCode::HeartRate, 300.0, Unit::PerMinute);
    assert_eq!(agent.enqueue(absurd).unwrap_err().code(), "QUEUE_FULL");
    let config = || AgentConfig::new("http://127.0.0.1:1", common::PATIENT, common::AUDIENCE);
    let clock = || -> pulsegate_device_agent::Clock { std::sync::Arc::new(|| 0) };
    let second = Agent::open(dir.path(), key(), config(), clock());
    assert_eq!(second.err().map(|error| error.code()), Some("QUEUE_UNAVAILABLE"));
    drop(agent);
    let other = AgentConfig { audience: [0; 32], ..config() };
    assert_eq!(Agent::open(dir.path(), key(), other, clock()).err().map(|error| error.code()), Some("WRONG_QUEUE"));
    let empty = tempfile::tempdir().unwrap();
    let agent = Agent::open(empty.path(), key(), config(), clock()).unwrap();
    let absurd = Measurement::quantity(1, LoincCode::HeartRate, 300.0, Unit::PerMinute);
    let together = [measurement(0), absurd];
    assert_eq!(agent.enqueue_all(&together).unwrap_err().code(), "ABSURD_VALUE");
    assert_eq!((agent.pending().unwrap(), agent.head().unwrap()), (0, (0, [0; 32])));
}

#[test]
fn plain_http_stays_on_this_machine() {
    let clock: pulsegate_device_agent::Clock = std::sync::Arc::new(|| 0);
    for url in ["http://oracle.example", "ftp://127.0.0.1", "nonsense", "http://10.0.0.1:80"] {
        let dir = tempfile::tempdir().unwrap();
        let config = AgentConfig::new(url, common::PATIENT, common::AUDIENCE);
        let opened = Agent::open(dir.path(), key(), config, std::sync::Arc::clone(&clock));
        assert_eq!(opened.err().map(|error| error.code()), Some("BAD_URL"), "{url}");
    }
}
