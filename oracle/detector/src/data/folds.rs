//! Folds for cross-validation: whole groups, every class spread as evenly as groups allow.
//!
//! Groups are dealt one by one, those with the rarest class first and larger ones before smaller ones, each to the fold where it makes the
//! shares of its classes most even (least sum of squared shares). Guarantees: a group is never split; the same seed gives the same folds;
//! a class with at least as many groups as folds is in every fold unless its groups hold other classes too. Must not: look at features.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::catalogue::TrainError;

/// Fewest folds.
pub const FOLDS_MIN: u8 = 2;
/// Most folds.
pub const FOLDS_MAX: u8 = 50;

/// The fold of every row, `0..folds`. `truth` is the class per row, `groups` the group per row.
///
/// # Errors
/// [`TrainError::Unsuitable`] when the lengths differ, when `folds` is not within [`FOLDS_MIN`]..=[`FOLDS_MAX`], or when there are fewer
/// groups than folds.
pub fn grouped_stratified_folds(truth: &[usize], groups: &[u64], folds: u8, seed: u64) -> Result<Vec<u8>, TrainError> {
    let unsuitable = |reason: String| TrainError::Unsuitable { reason };
    if truth.len() != groups.len() {
        return Err(unsuitable(format!("{} classes for {} groups", truth.len(), groups.len())));
    }
    if !(FOLDS_MIN..=FOLDS_MAX).contains(&folds) {
        return Err(unsuitable(format!("{folds} folds, where {FOLDS_MIN} to {FOLDS_MAX} are possible")));
    }
    let classes = truth.iter().max().map_or(0, |class| class + 1);
    let (dealt, number_of) = collect(truth, groups);
    if dealt.len() < usize::from(folds) {
        return Err(unsuitable(format!("{} groups for {folds} folds", dealt.len())));
    }
    let fold_of = deal(dealt, classes, folds, seed);
    Ok(groups.iter().map(|group| fold_of[number_of[group]]).collect())
}

/// A group: its number in order of first appearance, and how many rows of each class it has.
struct Group {
    number: usize,
    rows: usize,
    counts: Vec<(usize, usize)>,
}

fn collect(truth: &[usize], groups: &[u64]) -> (Vec<Group>, HashMap<u64, usize>) {
    let mut number_of = HashMap::new();
    let mut collected: Vec<Group> = Vec::new();
    for (class, group) in truth.iter().zip(groups) {
        let number = *number_of.entry(*group).or_insert(collected.len());
        if number == collected.len() {
            collected.push(Group { number, rows: 0, counts: Vec::new() });
        }
        let group = &mut collected[number];
        group.rows += 1;
        match group.counts.iter_mut().find(|(known, _)| known == class) {
            Some((_, count)) => *count += 1,
            None => group.counts.push((*class, 1)),
        }
    }
    (collected, number_of)
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^53")]
fn deal(mut groups: Vec<Group>, classes: usize, folds: u8, seed: u64) -> Vec<u8> {
    let mut totals = vec![0.0_f64; classes];
    for (class, count) in groups.iter().flat_map(|group| &group.counts) {
        totals[*class] += *count as f64;
    }
    let rarest = |group: &Group| group.counts.iter().map(|(class, _)| totals[*class]).fold(f64::INFINITY, f64::min);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    groups.shuffle(&mut rng);
    groups.sort_by(|a, b| rarest(a).total_cmp(&rarest(b)).then(b.rows.cmp(&a.rows)));
    let mut fold_of = vec![0; groups.len()];
    let mut held = vec![vec![0.0_f64; classes]; usize::from(folds)];
    let mut rows = vec![0_usize; usize::from(folds)];
    for group in &groups {
        // (h + n)² − h² = n · (2h + n), in shares of the class.
        let grows = |fold: usize| -> f64 {
            let class = |(class, count): &(usize, usize)| {
                let count = *count as f64;
                count * (2.0 * held[fold][*class] + count) / totals[*class].powi(2)
            };
            group.counts.iter().map(class).sum()
        };
        let order = |a: &u8, b: &u8| {
            let (a, b) = (usize::from(*a), usize::from(*b));
            grows(a).total_cmp(&grows(b)).then(rows[a].cmp(&rows[b]))
        };
        let fold = (0..folds).min_by(order).expect("there are at least two folds");
        fold_of[group.number] = fold;
        rows[usize::from(fold)] += group.rows;
        for (class, count) in &group.counts {
            held[usize::from(fold)][*class] += *count as f64;
        }
    }
    fold_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn groups_are_whole_and_rare_classes_are_in_every_fold() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let groups: Vec<u64> = (0..4_000).map(|_| rng.gen_range(0..1_500)).collect();
        let truth: Vec<usize> =
            groups.iter().map(|group| if group % 100 == 0 { 2 } else { (group % 2) as usize }).collect();
        let folds = grouped_stratified_folds(&truth, &groups, 5, 7).unwrap();
        let mut seen = HashMap::new();
        for (fold, group) in folds.iter().zip(&groups) {
            assert_eq!(seen.entry(group).or_insert(fold), &fold, "group {group} is split");
        }
        for class in 0..3 {
            let in_fold = |fold| truth.iter().zip(&folds).filter(|(t, f)| **t == class && **f == fold).count();
            let counts: Vec<usize> = (0..5).map(in_fold).collect();
            let total: usize = counts.iter().sum();
            assert!(counts.iter().all(|count| *count > 0), "class {class}: {counts:?}");
            if class < 2 {
                assert!(counts.iter().all(|count| count.abs_diff(total / 5) <= 3), "class {class}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let groups: Vec<u64> = (0..200).collect();
        let truth: Vec<usize> = (0..200).map(|row| row % 3).collect();
        let folds = |seed| grouped_stratified_folds(&truth, &groups, 5, seed).unwrap();
        assert_eq!(folds(1), folds(1));
        assert_ne!(folds(1), folds(2));
    }

    #[test]
    fn what_cannot_be_dealt_is_refused() {
        let few = grouped_stratified_folds(&[0, 1, 0], &[1, 1, 2], 5, 0).unwrap_err();
        assert_eq!(few.code(), "DETECTOR_DATA_UNSUITABLE");
        assert!(few.to_string().contains("2 groups for 5 folds"), "{few}");
        assert!(grouped_stratified_folds(&[0], &[], 5, 0).is_err());
        assert!(grouped_stratified_folds(&[0, 1], &[1, 2], 1, 0).is_err());
    }
}
