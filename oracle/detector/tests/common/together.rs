//! Arrivals judged together, beside the same ones judged one by one.

use pulsegate_detector::{Arrival, TrafficDetector};

/// Judges the arrivals by two new detectors, one by one and in groups of several sizes; both must say the same. Gives both back.
pub(crate) fn assert_as_alone<D: TrafficDetector>(arrivals: &[Arrival], new: impl Fn() -> D, which: &str) -> (D, D) {
    let (mut alone, mut together) = (new(), new());
    let mut rest = arrivals;
    for size in [1, 2, 64, 133].into_iter().cycle() {
        let (group, after) = rest.split_at(size.min(rest.len()));
        let one_by_one: Vec<_> = group.iter().map(|arrival| alone.screen(arrival)).collect();
        assert_eq!(together.screen_together(group).unwrap(), one_by_one, "{which}");
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (alone, together)
}
