//! The confusion matrix and what is read off it.
//!
//! Recall, precision and F1 per class as in any textbook (van Rijsbergen 1979). A figure without a denominator is NaN, except F1 of a class
//! that occurs and is never found, which is 0. Macro means are over the classes that occur in the truth.

/// Counts per true class (line) and decided class (column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// No counts.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts pairs of true and decided class.
    #[must_use]
    pub fn of(classes: usize, truth: &[usize], decided: &[usize]) -> Self {
        let mut confusion = Self::new(classes);
        for (truth, decided) in truth.iter().zip(decided) {
            confusion.add(*truth, *decided, 1);
        }
        confusion
    }

    /// Counts a pair `times` times.
    pub fn add(&mut self, truth: usize, decided: usize, times: u32) {
        self.counts[truth * self.classes + decided] += u64::from(times);
    }

    /// How often the class was decided where the true class was another or the same.
    #[must_use]
    pub fn count(&self, truth: usize, decided: usize) -> u64 {
        self.counts[truth * self.classes + decided]
    }

    /// Number of classes.
    #[must_use]
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// How often the class occurs.
    #[must_use]
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|decided| self.count(class, decided)).sum()
    }

    /// How often the class was decided.
    #[must_use]
    pub fn decided(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    /// Share of decisions that are right.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        ratio(right, self.counts.iter().sum())
    }

    /// Share of the class's rows that were found (sensitivity).
    #[must_use]
    pub fn recall(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.support(class))
    }

    /// Share of the class's decisions that are right (positive predictive value).
    #[must_use]
    pub fn precision(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.decided(class))
    }

    /// Harmonic mean of recall and precision.
    #[must_use]
    pub fn f1(&self, class: usize) -> f64 {
        let support = self.support(class);
        if support == 0 { f64::NAN } else { ratio(2 * self.count(class, class), support + self.decided(class)) }
    }

    /// Mean recall of the classes that occur (balanced accuracy).
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        mean((0..self.classes).map(|class| self.recall(class)))
    }

    /// Mean F1 of the classes that occur.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        mean((0..self.classes).map(|class| self.f1(class)))
    }

    /// The same counts with all classes but the benign one taken together: benign is 0, the others are 1.
    #[must_use]
    pub fn against(&self, benign: usize) -> Self {
        let mut two = Self::new(2);
        for truth in 0..self.classes {
            for decided in 0..self.classes {
                two.counts[usize::from(truth != benign) * 2 + usize::from(decided != benign)] +=
                    self.count(truth, decided);
            }
        }
        two
    }

    /// Lines of counts, one per true class.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.classes).map(<[u64]>::to_vec).collect()
    }
}

/// A share; NaN of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

/// Mean of the numbers that are numbers; NaN of none.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.filter(|value| !value.is_nan()).fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        // Class 0: 3 of 4 found; class 1: 1 of 2; class 2 never occurs but is decided once.
        let confusion = Confusion::of(3, &[0, 0, 0, 0, 1, 1], &[0, 0, 0, 1, 1, 2]);
        assert_eq!(confusion.accuracy(), 4.0 / 6.0);
        assert_eq!((confusion.recall(0), confusion.precision(0)), (0.75, 1.0));
        assert_eq!((confusion.recall(1), confusion.precision(1)), (0.5, 0.5));
        assert!((confusion.f1(0) - 6.0 / 7.0).abs() < 1e-12 && confusion.f1(1) == 0.5);
        assert!(confusion.f1(2).is_nan() && confusion.recall(2).is_nan());
        assert_eq!(confusion.precision(2), 0.0);
        assert!((confusion.macro_f1() - (6.0 / 7.0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(confusion.balanced_accuracy(), 0.625);
    }

    #[test]
    fn a_class_that_occurs_and_is_never_found_counts_as_zero() {
        let confusion = Confusion::of(2, &[0, 1], &[0, 0]);
        assert_eq!(confusion.f1(1), 0.0);
        assert!(confusion.precision(1).is_nan());
    }

    #[test]
    fn attacks_taken_for_other_attacks_are_found_all_the_same() {
        let two = Confusion::of(3, &[0, 1, 2, 2], &[1, 2, 2, 0]).against(0);
        assert_eq!(two.lines(), [[0, 1], [1, 2]]);
    }
}
