//! Gradient boosting beside the deployed model: the same flows, folds, calibration and rule of decision.
//!
//! A tree cannot read a window, so it is given what a window holds as columns: the whole serving schema with its columns of history (over 4,
//! 16 and 64 preceding flows), and the columns of the [`PRECEDING`] flows before, newest first. Where a set has no order these are missing,
//! as its flows stand alone for the network too. Boosting is trained once on all sets together, as the network is, and once on each set by
//! itself. Guarantees: probabilities are out of fold, temperature and threshold are fitted on the other folds by the very code that does so
//! for the network. Must not: see a flow that the network does not see, or more of it.

use ndarray::{Array2, Axis};

use super::model::BENIGN;
use super::serving::{SERVING_COLUMNS, SERVING_FEATURES, SERVING_FLOW_FEATURES};
use super::serving_model::{Pooled, SETS};
use crate::catalogue::TrainError;
use crate::data::traffic_set::{Order, TrafficSet};
use crate::measure::{Part, Rows};
use crate::report::{Boosting, run_boosting};

/// Preceding flows whose own columns are read beside the columns of history.
pub(super) const PRECEDING: usize = 5;
/// What the matrix calls training on all sets.
pub(super) const ALL_SETS: &str = "all four";
/// Nearest that a probability comes to 0 or 1 before its logarithm is taken.
const PROBABILITY_MIN: f32 = 1e-7;

/// What boosting reads of the kept flows of a set.
pub(super) fn columns_of(set: &TrafficSet, kept: &[usize]) -> Array2<f32> {
    let (schema, _) = set.serving();
    let value = |(place, column): (usize, usize)| {
        let Some(earlier) = column.checked_sub(SERVING_FEATURES) else { return schema[[kept[place], column]] };
        let before =
            kept[place].checked_sub(1 + earlier / SERVING_FLOW_FEATURES).filter(|_| set.order == Order::Capture);
        before.map_or(f32::NAN, |row| schema[[row, earlier % SERVING_FLOW_FEATURES]])
    };
    Array2::from_shape_fn((kept.len(), names().len()), value)
}

/// The names of these columns.
pub(super) fn names() -> Vec<String> {
    let schema = SERVING_COLUMNS.iter().map(|column| column.name.to_owned());
    let of_flow = |back: usize| {
        SERVING_COLUMNS[..SERVING_FLOW_FEATURES].iter().map(move |column| format!("{}, {back} before", column.name))
    };
    schema.chain((1..=PRECEDING).flat_map(of_flow)).collect()
}

/// What boosting says of the flows after one way of training.
pub(super) struct Boosted {
    /// What it was trained on: all sets, or the one.
    pub(super) trained_on: &'static str,
    /// Probability of an attack per flow, out of fold for the sets that it was trained on. Of other sets the first fold's flows are judged, by
    /// the boosting that the first fold's training flows gave; NaN for the rest.
    pub(super) attack: Vec<f32>,
    /// The same for the official test part.
    pub(super) test: Vec<f32>,
    /// What the script says of its settings.
    pub(super) settings: serde_json::Value,
}

/// Trains boosting on all sets together (the first of the results) and on each by itself.
///
/// # Errors
/// [`TrainError::Data`] with the code and words of the script's failure.
pub(super) fn boosted(
    boosting: &Boosting,
    pooled: &Pooled,
    folds: &[u8],
    test: &Pooled,
    seed: u64,
) -> Result<Vec<Boosted>, TrainError> {
    let ways =
        std::iter::once((ALL_SETS, None)).chain(SETS.iter().enumerate().map(|(at, set)| (set.folder(), Some(at))));
    ways.map(|(trained_on, only)| {
        let is_own = |row: &usize| only.is_none_or(|origin| pooled.origin[*row] == origin);
        let (own, other): (Vec<usize>, Vec<usize>) = (0..pooled.flows.len()).partition(is_own);
        let judged: Vec<usize> = own.iter().copied().chain(other.into_iter().filter(|row| folds[*row] == 0)).collect();
        let part = |row: usize| if is_own(&row) { Part::Fold(folds[row]) } else { Part::Test };
        let rows = export(pooled, &judged, part, test);
        let one = Boosting { folder: boosting.folder.join(trained_on.replace(' ', "-")), ..boosting.clone() };
        let tested: Vec<usize> = (0..rows.len()).collect();
        let (predictions, settings) = run_boosting(&one, &rows, &tested, seed)
            .map_err(|error| TrainError::Data { code: error.code(), message: error.to_string() })?;
        let scores = predictions.probabilities.column(1 - BENIGN);
        let mut attack = vec![f32::NAN; pooled.flows.len()];
        judged.iter().zip(scores).for_each(|(row, score)| attack[*row] = *score);
        Ok(Boosted { trained_on, attack, test: scores.iter().skip(judged.len()).copied().collect(), settings })
    })
    .collect()
}

/// Log-odds of these probabilities, flows × classes.
pub(super) fn logits(attack: &[f32]) -> Array2<f32> {
    let kept = |row: usize| attack[row].clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    Array2::from_shape_fn(
        (attack.len(), 2),
        |(row, class)| if class == BENIGN { (1.0 - kept(row)).ln() } else { kept(row).ln() },
    )
}

/// The named flows with their parts, then the flows of the official test part.
fn export(pooled: &Pooled, judged: &[usize], part: impl Fn(usize) -> Part, test: &Pooled) -> Rows {
    let mut features = pooled.seen.select(Axis(0), judged);
    features.append(Axis(0), test.seen.view()).expect("both have the same columns");
    Rows {
        feature_names: names(),
        features,
        classes: pooled.flows.classes.clone(),
        truth: judged.iter().map(|row| pooled.flows.truth[*row]).chain(test.flows.truth.iter().copied()).collect(),
        group: judged.iter().map(|row| pooled.flows.group[*row]).chain(test.flows.group.iter().copied()).collect(),
        part: judged.iter().map(|row| part(*row)).chain(test.flows.truth.iter().map(|_| Part::Test)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::traffic_set::{Feature, FeatureKind};
    use crate::model_file::DataSource;
    use crate::traffic::{ConnectionState, Flow, Protocol, Service};

    fn set(order: Order) -> TrafficSet {
        let flow = |bytes: u64| Flow {
            started_at_ms: 0,
            duration_ms: Some(5.0),
            protocol: Protocol::Tcp,
            service: Service::Unknown,
            state: ConnectionState::Unknown,
            bytes_sent: Some(bytes),
            bytes_received: Some(1),
            packets_sent: Some(1),
            packets_received: Some(1),
        };
        TrafficSet {
            features: Array2::zeros((3, 1)),
            columns: vec![Feature { name: "a".to_owned(), kind: FeatureKind::Numeric }],
            flows: [10, 20, 30].map(flow).to_vec(),
            order,
            classes: vec!["benign".to_owned(), "attack".to_owned()],
            truth: vec![0, 1, 0],
            benign: 0,
            groups: vec![1, 2, 3],
            attack: None,
            source: DataSource { file_name: "a".to_owned(), sha256: String::new(), rows: 3 },
        }
    }

    fn value(columns: &Array2<f32>, row: usize, name: &str) -> f32 {
        columns[[row, names().iter().position(|known| known == name).unwrap()]]
    }

    #[test]
    fn in_order_of_capture_a_flow_is_read_with_those_before_it() {
        let columns = columns_of(&set(Order::Capture), &[0, 1, 2]);
        assert_eq!(value(&columns, 2, "sent_bytes"), 30.0);
        assert_eq!(value(&columns, 2, "sent_bytes_mean_4"), 15.0);
        assert_eq!(value(&columns, 2, "sent_bytes, 1 before"), 20.0);
        assert_eq!(value(&columns, 2, "sent_bytes, 2 before"), 10.0);
        assert!(value(&columns, 2, "sent_bytes, 3 before").is_nan());
        assert!(value(&columns, 0, "sent_bytes_mean_4").is_nan());
    }

    #[test]
    fn without_an_order_a_flow_is_read_alone() {
        let columns = columns_of(&set(Order::None), &[0, 2]);
        assert_eq!((value(&columns, 0, "sent_bytes"), value(&columns, 1, "sent_bytes")), (10.0, 30.0));
        assert!(columns.columns().into_iter().skip(SERVING_FLOW_FEATURES).flatten().all(|value| value.is_nan()));
    }

    #[test]
    fn a_certain_probability_has_finite_log_odds() {
        assert!(logits(&[0.0, 0.5, 1.0]).iter().all(|logit| logit.is_finite()));
    }
}
