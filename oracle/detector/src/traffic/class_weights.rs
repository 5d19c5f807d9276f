//! Weights of the classes for deciding: how a network that was trained for the likeliest class is made to name rare ones, too.
//!
//! Macro-F1 counts every class alike, so a rare class is worth naming long before it is the most probable one; shifting trained outputs per
//! class is logit adjustment (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021), here with shifts that are fitted instead of
//! taken from the classes' shares. Guarantees: the same rows give the same weights; every weight is positive and finite. Must not: be fitted on
//! rows that trained the network or that are judged with the weights.

use ndarray::{Array1, Array2, ArrayView2};

/// Logarithms of the weights tried for a class: from, step, how many.
const TRIED: (f32, f32, u8) = (-0.6, 0.15, 21);
/// How often every class has its turn.
const PASSES: usize = 2;

/// The weights that are best on held-out rows (rows × classes, probabilities) for the macro-F1 plus `accuracy` times the accuracy. The classes have
/// their turn from the rarest on, the others' weights standing still.
///
/// # Panics
/// When a true class has no column.
#[must_use]
pub(super) fn fit(probabilities: ArrayView2<'_, f32>, truth: &[usize], accuracy: f32) -> Vec<f32> {
    let classes = probabilities.ncols();
    let mut rows = vec![0_usize; classes];
    truth.iter().for_each(|class| rows[*class] += 1);
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by_key(|class| rows[*class]);
    let mut weights = vec![1.0; classes];
    for class in std::iter::repeat_n(&order, PASSES).flatten() {
        let rivals: Vec<(usize, f32)> = probabilities
            .rows()
            .into_iter()
            .map(|row| {
                let weighted = row.iter().zip(&weights).map(|(probability, weight)| probability * weight).enumerate();
                let others = weighted.filter(|(other, _)| other != class);
                others.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((*class, 0.0))
            })
            .collect();
        let worth: Vec<f32> = tried()
            .map(|weight| {
                let mut counts = Array2::zeros((classes, classes));
                for ((row, truth), (rival, strength)) in probabilities.rows().into_iter().zip(truth).zip(&rivals) {
                    let decided = if row[*class] * weight > *strength { *class } else { *rival };
                    counts[[*truth, decided]] += 1.0;
                }
                macro_f1(&counts) + accuracy * counts.diag().sum() / counts.sum().max(1.0)
            })
            .collect();
        weights[*class] = tried().zip(smooth(&worth)).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |best| best.0);
    }
    weights
}

fn tried() -> impl Iterator<Item = f32> {
    (0..TRIED.2).map(|step| TRIED.1.mul_add(f32::from(step), TRIED.0).exp())
}

/// Each value with half of its neighbours, so that the luck of a single row does not choose a weight.
fn smooth(values: &[f32]) -> impl Iterator<Item = f32> {
    (0..values.len()).map(|place| {
        let after = values[(place + 1).min(values.len() - 1)];
        0.5 * values[place] + 0.25 * (values[place.saturating_sub(1)] + after)
    })
}

/// The mean F1 of the classes of a confusion matrix, truth × decided; a class that neither occurs nor is named counts as 0.
fn macro_f1(counts: &Array2<f32>) -> f32 {
    let of_class = |class: usize| {
        let named = counts.row(class).sum() + counts.column(class).sum();
        2.0 * counts[[class, class]] / named.max(1.0)
    };
    Array1::from_iter((0..counts.nrows()).map(of_class)).mean().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_rare_class_is_named_where_it_is_not_the_most_probable() {
        let mut probabilities = Array2::from_shape_fn((40, 2), |(_, class)| [0.9, 0.1][class]);
        for row in 36..40 {
            probabilities.row_mut(row).assign(&array![0.6, 0.4]);
        }
        let truth: Vec<usize> = (0..40).map(|row| usize::from(row >= 37)).collect();
        let weights = fit(probabilities.view(), &truth, 1.0);
        assert!(0.6 * weights[0] < 0.4 * weights[1] && 0.9 * weights[0] > 0.1 * weights[1], "{weights:?}");
        let accuracy_alone = fit(probabilities.view(), &vec![0; 40], 100.0);
        assert!(0.6 * accuracy_alone[0] > 0.4 * accuracy_alone[1], "{accuracy_alone:?}");
    }

    #[test]
    fn no_rows_give_finite_weights() {
        let weights = fit(Array2::zeros((0, 3)).view(), &[], 4.0);
        assert!(weights.len() == 3 && weights.iter().all(|weight| *weight > 0.0 && weight.is_finite()));
    }
}
