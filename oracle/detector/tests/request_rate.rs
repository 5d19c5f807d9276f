//! The request-rate rule against the two tables of the BIoTIDS paper, and against what a device may do by accident or on purpose.
//!
//! The paper's tables count; its running text gives other numbers for node 2.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and prints its seed")]

use pulsegate_detector::{
    Arrival, Assessment, LATE_AFTER_MS, NotAssessed, RequestRate, TrafficClass, TrafficDetector, TrafficFinding,
};
use pulsegate_rules::DeviceId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const START_MS: u64 = 1_790_000_000_000;

fn table(text: &str) -> Vec<[u64; 5]> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    let row = |row: csv::StringRecord| std::array::from_fn(|node| row[node + 1].parse().unwrap());
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn device(number: u8) -> DeviceId {
    DeviceId([number; 32])
}

fn arrive(rule: &mut RequestRate, device: DeviceId, at_ms: u64) -> Assessment<TrafficFinding> {
    let arrival = Arrival { device, received_at_ms: at_ms, measured_at_ms: at_ms, bytes: 300, flow: None };
    rule.screen(&arrival).unwrap()
}

fn class(assessment: &Assessment<TrafficFinding>) -> Option<TrafficClass> {
    assessment.finding().map(|finding| finding.class)
}

/// A device whose norm is ten times `every_ms`; gives the time of its last arrival.
fn learn(rule: &mut RequestRate, device: DeviceId, every_ms: u64) -> u64 {
    (0..=10)
        .map(|number| START_MS + number * every_ms)
        .inspect(|at_ms| _ = arrive(rule, device, *at_ms))
        .last()
        .unwrap()
}

#[test]
fn of_the_papers_five_nodes_only_node_two_is_flagged() {
    let first = table(include_str!("data/biotids_table1.csv"));
    let next = table(include_str!("data/biotids_table2.csv"));
    assert_eq!((first.len(), next.len()), (10, 10));
    let mut rule = RequestRate::default();
    let mut times = [START_MS; 5];
    let mut last = [None, None, None, None, None];
    for node in 0..5 {
        assert_eq!(class(&arrive(&mut rule, device(node), START_MS)), None);
    }
    for (number, row) in first.iter().chain(&next).enumerate() {
        for node in 0..5 {
            times[node] += row[node];
            let judged = arrive(&mut rule, device(node as u8), times[node]);
            let flagged = class(&judged) == Some(TrafficClass::Compromised);
            assert!(!flagged || (node == 1 && number >= 10), "node {} flagged after {number} requests", node + 1);
            last[node] = judged.finding().cloned();
        }
    }
    let numbers = |node: usize| last[node].as_ref().unwrap().rate.unwrap();
    let norms: Vec<f64> = (0..5).map(|node| numbers(node).norm_ms).collect();
    let recents: Vec<f64> = (0..5).map(|node| numbers(node).recent_ms).collect();
    assert_eq!(norms, [102.5, 59.2, 121.7, 51.3, 62.8]);
    assert_eq!(recents, [108.4, 24.0, 112.8, 51.0, 64.0]);
    let flagged: Vec<usize> = (0..5)
        .filter(|node| last[*node].as_ref().unwrap().class == TrafficClass::Compromised)
        .map(|node| node + 1)
        .collect();
    assert_eq!(flagged, [2]);
}

#[test]
fn three_quarters_of_the_norm_is_still_normal_and_less_is_not() {
    for (every_ms, expected) in [(75, TrafficClass::Normal), (74, TrafficClass::Compromised)] {
        let mut rule = RequestRate::default();
        let mut at_ms = learn(&mut rule, device(1), 100);
        let mut judged = None;
        for _ in 0..10 {
            at_ms += every_ms;
            judged = class(&arrive(&mut rule, device(1), at_ms));
        }
        assert_eq!(judged, Some(expected), "{every_ms} ms");
    }
}

#[test]
fn readings_of_one_request_count_as_one() {
    let mut rule = RequestRate::default();
    let mut at_ms = learn(&mut rule, device(1), 1_000);
    for _ in 0..20 {
        at_ms += 1_000;
        for _ in 0..200 {
            assert_eq!(class(&arrive(&mut rule, device(1), at_ms)), Some(TrafficClass::Normal));
        }
    }
}

#[test]
fn late_readings_are_not_judged_and_change_nothing() {
    let mut rule = RequestRate::default();
    let at_ms = learn(&mut rule, device(1), 1_000);
    for number in 1..500 {
        let received_at_ms = at_ms + number;
        let late = Arrival {
            device: device(1),
            received_at_ms,
            measured_at_ms: received_at_ms - LATE_AFTER_MS - 1,
            bytes: 1,
            flow: None,
        };
        assert_eq!(rule.screen(&late).unwrap(), Assessment::NotAssessed(NotAssessed::Late));
    }
    let judged = arrive(&mut rule, device(1), at_ms + 1_000);
    assert_eq!(judged.finding().unwrap().rate.unwrap().recent_ms, 1_000.0);
}

#[test]
fn a_flooding_device_does_not_touch_another() {
    let mut rule = RequestRate::default();
    learn(&mut rule, device(1), 1_000);
    let alone = learn(&mut rule, device(2), 1_000);
    for number in 1..1_000 {
        arrive(&mut rule, device(1), alone + number);
    }
    assert_eq!(class(&arrive(&mut rule, device(1), alone + 1_001)), Some(TrafficClass::Compromised));
    assert_eq!(class(&arrive(&mut rule, device(2), alone + 1_000)), Some(TrafficClass::Normal));
}

#[test]
fn state_is_bounded_and_the_device_heard_of_longest_ago_gives_way() {
    let mut rule = RequestRate::new(3);
    let at_ms = learn(&mut rule, device(1), 1_000);
    for other in [2, 3] {
        arrive(&mut rule, device(other), at_ms);
    }
    assert_eq!(
        class(&arrive(&mut rule, device(1), at_ms + 1_000)),
        Some(TrafficClass::Normal),
        "there is room for three"
    );
    for other in [2, 3, 4] {
        arrive(&mut rule, device(other), at_ms + 1_000);
    }
    assert_eq!(arrive(&mut rule, device(1), at_ms + 2_000), Assessment::NotAssessed(NotAssessed::Learning));
}

#[test]
fn a_norm_is_learnt_anew_after_a_restart() {
    let mut before = RequestRate::default();
    let at_ms = learn(&mut before, device(1), 100);
    assert_eq!(class(&arrive(&mut before, device(1), at_ms + 100)), Some(TrafficClass::Normal));
    let mut after = RequestRate::default();
    assert_eq!(arrive(&mut after, device(1), at_ms + 200), Assessment::NotAssessed(NotAssessed::Learning));
}

#[test]
fn any_times_are_judged_without_panic() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rule = RequestRate::new(8);
    for _ in 0..20_000 {
        let (received_at_ms, measured_at_ms) = match rng.gen_range(0..4) {
            0 => (rng.r#gen(), rng.r#gen()),
            1 => (u64::MAX, 0),
            2 => (0, u64::MAX),
            _ => (START_MS + rng.gen_range(0..1_000), START_MS),
        };
        let arrival =
            Arrival { device: device(rng.gen_range(0..20)), received_at_ms, measured_at_ms, bytes: 0, flow: None };
        if let Assessment::Assessed(finding) = rule.screen(&arrival).unwrap() {
            let rate = finding.rate.unwrap();
            assert!(rate.norm_ms.is_finite() && rate.recent_ms.is_finite());
        }
    }
}
