//! Classes taken together: the same predictions, probabilities added and decisions mapped.

use ndarray::Array2;

use crate::measure::{EvaluationError, Predictions, Rows};

/// Rows and predictions with classes taken together; the rows carry no features.
///
/// # Errors
/// [`EvaluationError`] when the mapping does not cover the classes.
pub(crate) fn merged(
    rows: &Rows,
    models: &[Predictions],
    classes: &[String],
    merged_of: &[usize],
    benign_class: Option<usize>,
) -> Result<(Rows, Vec<Predictions>), EvaluationError> {
    let covers = merged_of.len() == rows.classes.len() && merged_of.iter().all(|class| *class < classes.len());
    if !covers || classes.len() < 2 || benign_class.is_some_and(|class| class >= classes.len()) {
        return Err(EvaluationError { reason: format!("{merged_of:?} does not merge {} classes", rows.classes.len()) });
    }
    let of_model = |model: &Predictions| {
        let mut probabilities = Array2::zeros((model.row.len(), classes.len()));
        for ((row, class), p) in model.probabilities.indexed_iter() {
            probabilities[[row, merged_of[class]]] += p;
        }
        let decided = model.decided.iter().map(|class| merged_of[*class]).collect();
        Predictions { name: model.name.clone(), row: model.row.clone(), probabilities, decided }
    };
    let rows = Rows {
        feature_names: Vec::new(),
        features: Array2::zeros((rows.len(), 0)),
        classes: classes.to_vec(),
        truth: rows.truth.iter().map(|class| merged_of[*class]).collect(),
        group: rows.group.clone(),
        part: rows.part.clone(),
    };
    Ok((rows, models.iter().map(of_model).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Part;

    #[test]
    fn probabilities_are_added_and_decisions_mapped() {
        let rows = Rows {
            feature_names: Vec::new(),
            features: Array2::zeros((1, 0)),
            classes: ["normal", "scan", "slow scan"].map(str::to_owned).to_vec(),
            truth: vec![2],
            group: vec![0],
            part: vec![Part::Test],
        };
        let probabilities = Array2::from_shape_vec((1, 3), vec![0.2, 0.5, 0.3]).unwrap();
        let model = Predictions { name: "deep".to_owned(), row: vec![0], probabilities, decided: vec![1] };
        let classes = ["normal", "scan"].map(str::to_owned);
        let (rows, models) = merged(&rows, &[model], &classes, &[0, 1, 1], Some(0)).unwrap();
        assert_eq!((rows.truth, models[0].decided.clone()), (vec![1], vec![1]));
        assert!((models[0].probabilities[[0, 1]] - 0.8).abs() < 1e-6);
        assert!(merged(&Rows { truth: vec![0], ..rows_of(3) }, &[], &classes, &[0, 1], None).is_err());
    }

    fn rows_of(classes: usize) -> Rows {
        Rows {
            feature_names: Vec::new(),
            features: Array2::zeros((1, 0)),
            classes: (0..classes).map(|class| class.to_string()).collect(),
            truth: Vec::new(),
            group: vec![0],
            part: vec![Part::Test],
        }
    }
}
