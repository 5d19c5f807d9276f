//! Normalisation that is fitted on benign training rows only: every feature ends up near 0..1, rare values outside.
//!
//! A number is taken to sign(x)·ln(1 + |x|) and then placed between knots: quantiles of the training rows, so that no single outlier sets the
//! scale. Beyond the outermost knots it goes on in a straight line, up to [`BEYOND_MAX`] outside 0..1: an autoencoder with sigmoid outputs
//! cannot follow it there, so what was never seen always shows. A category becomes one column per frequent value (0 or 1) and one column that
//! says how rare its value was. Guarantees: a missing value (NaN) stays missing in all its columns; nothing else becomes NaN; the
//! transform allocates nothing. Must not: be fitted on rows that are tested.

use super::placing::{Numbers, log};

/// Knots of a numeric feature.
pub(crate) const KNOTS: usize = 33;
/// How far outside 0..1 a normalised value can be.
pub(crate) const BEYOND_MAX: f32 = 1.0;
/// Most values of a category that get a column of their own.
pub(crate) const FREQUENT_MAX: usize = 8;
/// A category value needs this share of the training rows to get a column of its own.
pub(crate) const FREQUENT_SHARE: f32 = 0.01;
/// A feature that fewer of the training rows know is left out: nothing could be learnt of it, and knowing it must not look strange.
pub(crate) const KNOWN_SHARE_MIN: f32 = 0.5;
/// Most different codes of one category that are told apart.
pub(crate) const CODES_MAX: usize = 256;

/// How one feature is normalised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    /// A number; the knots are [`KNOTS`] quantiles after the logarithm, rising.
    Number {
        /// The quantiles.
        knots: Vec<f32>,
    },
    /// Hardly ever known in training ([`KNOWN_SHARE_MIN`]): left out.
    Unused,
    /// An integer code; `rarity` has one entry per known code, in 0..1, `frequent` the codes with an own column.
    Category {
        /// How rare each code is: −ln(share) over its largest possible value.
        rarity: Vec<f32>,
        /// Codes with a column of their own.
        frequent: Vec<usize>,
    },
}

/// How all features are normalised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) columns: Vec<Column>,
    numbers: Numbers,
    /// Feature and first normalised column of every category.
    categories: Vec<(usize, usize)>,
}

impl Column {
    /// How many normalised columns the feature becomes.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Unused => 0,
            Self::Number { .. } => 1,
            Self::Category { frequent, .. } => 1 + frequent.len(),
        }
    }

    /// What benign training rows typically have: the median of a number (the middle of its range when knots are spread by extremes), the
    /// most frequent code of a category; none where there is none.
    #[expect(clippy::cast_precision_loss, reason = "codes are small")]
    pub(crate) fn typical(&self) -> Option<f32> {
        match self {
            Self::Unused => None,
            Self::Number { knots } => knots.get(knots.len() / 2).map(|knot| knot.abs().exp_m1().copysign(*knot)),
            Self::Category { frequent, .. } => frequent.first().map(|code| *code as f32),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "positions are approximate anyway")]
    fn fit_number(values: &mut [f32], extremes: bool) -> Self {
        values.iter_mut().for_each(|value| *value = log(*value));
        values.sort_unstable_by(f32::total_cmp);
        let last = values.len() - 1;
        if extremes {
            let step = (values[last] - values[0]) / (KNOTS - 1) as f32;
            let knots = (0..KNOTS).map(|knot| values[0] + step * knot as f32);
            return Self::Number { knots: knots.collect() };
        }
        let knots = (0..KNOTS).map(|knot| values[(knot * last + (KNOTS - 1) / 2) / (KNOTS - 1)]).collect();
        Self::Number { knots }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^24")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "codes are small whole numbers, held to CODES_MAX"
    )]
    fn fit_category(values: &[f32]) -> Self {
        let mut counts = vec![0_u32; CODES_MAX];
        values.iter().for_each(|value| counts[(value.max(0.0) as usize).min(CODES_MAX - 1)] += 1);
        let known = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        counts.truncate(known);
        let rows = values.len() as f32 + 1.0;
        let scale = rows.ln().max(1.0);
        let rarity = counts.iter().map(|count| -((*count as f32 + 1.0) / rows).min(1.0).ln() / scale).collect();
        let mut frequent: Vec<usize> =
            (0..known).filter(|code| counts[*code] as f32 >= FREQUENT_SHARE * rows).collect();
        frequent.sort_by_key(|code| (std::cmp::Reverse(counts[*code]), *code));
        frequent.truncate(FREQUENT_MAX);
        Self::Category { rarity, frequent }
    }
}

/// A category's columns: how rare its value is, then one per frequent value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a code is held to what is known")]
fn encode(value: f32, rarity: &[f32], frequent: &[usize], out: &mut [f32]) {
    if value.is_nan() {
        return out.fill(f32::NAN);
    }
    let code = if value < 0.0 { usize::MAX } else { value as usize };
    // A code that training never saw is rarer than all others.
    out[0] = rarity.get(code).copied().unwrap_or(1.0 + BEYOND_MAX);
    out[1..].iter_mut().zip(frequent).for_each(|(out, known)| *out = f32::from(u8::from(*known == code)));
}

impl Scale {
    /// Fits every feature on `rows` (each as long as `categorical`, NaN for missing); `categorical` tells codes from numbers, and
    /// `extremes` spreads knots evenly between the smallest and the largest value instead of by rank.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^24")]
    pub(crate) fn fit<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone, categorical: &[bool], extremes: bool) -> Self {
        let count = rows.clone().count();
        let fit = |feature: usize| {
            let mut values: Vec<f32> = rows.clone().map(|row| row[feature]).filter(|value| value.is_finite()).collect();
            if values.is_empty() || (values.len() as f32) < KNOWN_SHARE_MIN * count as f32 {
                Column::Unused
            } else if categorical[feature] {
                Column::fit_category(&values)
            } else {
                Column::fit_number(&mut values, extremes)
            }
        };
        Self::new((0..categorical.len()).map(fit).collect())
    }

    /// Of fitted columns.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        let (mut after, mut numbers, mut categories) = (0, Vec::new(), Vec::new());
        for (feature, column) in columns.iter().enumerate() {
            match column {
                Column::Unused => {}
                Column::Number { knots } => numbers.push((feature, after, knots.as_slice())),
                Column::Category { .. } => categories.push((feature, after)),
            }
            after += column.width();
        }
        let numbers = Numbers::new(&numbers);
        Self { columns, numbers, categories }
    }

    /// Whether a feature is read.
    pub(crate) fn reads(&self, feature: usize) -> bool {
        self.columns.get(feature).is_some_and(|column| *column != Column::Unused)
    }

    /// How many normalised columns a row becomes.
    pub(crate) fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// Normalises `row` into `out` ([`Scale::width`] long).
    pub(crate) fn apply(&self, row: &[f32], out: &mut [f32]) {
        self.numbers.place(row, out);
        for (feature, after) in &self.categories {
            if let Column::Category { rarity, frequent } = &self.columns[*feature] {
                encode(row[*feature], rarity, frequent, &mut out[*after..=*after + frequent.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[f32; 4]> {
        (0..100_u16)
            .map(|at| [f32::from(at), f32::from(at % 10 / 9), if at < 90 { f32::NAN } else { 1.0 }, 5.0])
            .collect()
    }

    #[test]
    fn values_of_training_lie_within_0_and_1_and_others_outside() {
        let rows = rows();
        let scale = Scale::fit(rows.iter().map(|row| row.as_slice()), &[false, true, false, false], false);
        assert_eq!(scale.width(), 1 + 3 + 1, "what is hardly ever known is left out");
        assert!(scale.reads(0) && !scale.reads(2) && !scale.reads(9));
        let apply = |row: [f32; 4]| {
            let mut out = [0.0; 5];
            scale.apply(&row, &mut out);
            out
        };
        assert!(rows.iter().all(|row| apply(*row).iter().all(|value| (0.0..=1.0).contains(value))));
        let strange = apply([1e9, 7.0, f32::NAN, 50.0]);
        assert_eq!(strange[0], 1.0 + BEYOND_MAX);
        assert_eq!(strange[1], 1.0 + BEYOND_MAX, "an unknown code is rarer than all others");
        assert!(strange[4] > 1.0, "a constant that changes shows");
        assert!(apply([f32::NAN; 4]).iter().all(|value| value.is_nan()));
        assert!(apply([-1e30, -1.0, 0.0, 0.0]).iter().all(|value| value.is_finite()));
    }
}
