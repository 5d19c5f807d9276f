//! Occlusion of any model that gives a score: what the score loses when a group of inputs is hidden.
//!
//! Guarantees: one score for the inputs as they are and one per group; an input that the score does not depend on contributes exactly
//! nothing; equal contributions stay in the order of the groups. Must not: know what the inputs mean.

/// Inputs that are hidden together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they are called.
    pub name: String,
    /// Places of the inputs, each with the value that it has when hidden: what the model takes for missing, or a typical value.
    pub hidden: Vec<(usize, f32)>,
}

/// What hiding did.
#[derive(Clone, Debug, PartialEq)]
pub struct Occluded {
    /// The score of the inputs as they are.
    pub score: f32,
    /// Per group, by its place: the score as it is less the score with the group hidden. Largest size first.
    pub contributions: Vec<(usize, f32)>,
}

/// Hides one group after the other. Places beyond the inputs are passed over.
pub fn occlude(inputs: &[f32], groups: &[Group], mut score: impl FnMut(&[f32]) -> f32) -> Occluded {
    let mut changed = inputs.to_vec();
    ranked(groups.len(), |hidden| {
        changed.copy_from_slice(inputs);
        for (place, value) in hidden.iter().flat_map(|group| &groups[*group].hidden) {
            if let Some(input) = changed.get_mut(*place) {
                *input = *value;
            }
        }
        score(&changed)
    })
}

/// The same for inputs that are no list of numbers: `score` is asked for the score with nothing hidden, then with each of `groups` hidden.
/// A difference that is not a number, as between two infinite scores, counts as none.
pub fn ranked(groups: usize, mut score: impl FnMut(Option<usize>) -> f32) -> Occluded {
    let whole = score(None);
    let lost = |group: usize| {
        let lost = whole - score(Some(group));
        (group, if lost.is_nan() { 0.0 } else { lost })
    };
    let mut contributions: Vec<(usize, f32)> = (0..groups).map(lost).collect();
    contributions.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    Occluded { score: whole, contributions }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(place: usize, hidden: f32) -> Group {
        Group { name: format!("input {place}"), hidden: vec![(place, hidden)] }
    }

    #[test]
    fn a_linear_score_gives_weight_times_difference() {
        let (weights, inputs, hidden) = ([2.0, -3.0, 0.0, 0.5], [1.0, 2.0, 9.0, 4.0], [0.5, 1.0, -7.0, 4.0]);
        let groups: Vec<Group> = hidden.iter().enumerate().map(|(place, value)| single(place, *value)).collect();
        let linear = |x: &[f32]| x.iter().zip(&weights).map(|(x, weight)| x * weight).sum();
        let occluded = occlude(&inputs, &groups, linear);
        assert_eq!(occluded.score, -2.0);
        assert_eq!(occluded.contributions, [(1, -3.0), (0, 1.0), (2, 0.0), (3, 0.0)]);
    }

    #[test]
    fn a_group_is_hidden_as_one() {
        let both = Group { name: "both".to_owned(), hidden: vec![(0, 0.0), (1, 0.0), (7, 1.0)] };
        // Either input alone is enough, so hiding one shows nothing.
        let either = |x: &[f32]| x[0].max(x[1]);
        let occluded = occlude(&[1.0, 1.0], &[single(0, 0.0), single(1, 0.0), both], either);
        assert_eq!(occluded.contributions, [(2, 1.0), (0, 0.0), (1, 0.0)]);
    }

    #[test]
    fn an_input_that_is_not_read_contributes_nothing_even_when_hidden_as_nan() {
        let occluded = occlude(&[1.0, 5.0], &[single(1, f32::NAN)], |x| x[0].tanh());
        assert_eq!(occluded.contributions, [(0, 0.0)]);
    }

    #[test]
    fn equal_contributions_stay_in_order_and_infinities_do_not_lead() {
        let groups: Vec<Group> = (0..4).map(|place| single(place, 0.0)).collect();
        let sum = |x: &[f32]| x.iter().sum();
        let occluded = occlude(&[1.0, -1.0, 1.0, 2.0], &groups, sum);
        assert_eq!(occluded.contributions, [(3, 2.0), (0, 1.0), (1, -1.0), (2, 1.0)]);
        let infinite = occlude(&[1.0; 4], &groups, |_| f32::INFINITY);
        assert!(infinite.contributions.iter().all(|(_, lost)| *lost == 0.0));
    }
}
