//! Whether probabilities mean what they say: Brier score, expected calibration error, reliability curve.
//!
//! Sources: Brier 1950; Guo, Pleiss, Sun and Weinberger 2017 (expected calibration error over [`BINS`] equal bins). The curve has bins of
//! equal size instead, so that each point rests on as many rows as the next, with Wilson's interval (1927).

/// Bins of the expected calibration error.
pub const BINS: usize = 15;
/// Points of a reliability curve.
const CURVE_BINS: usize = 12;
/// Fewest rows that a point of the curve rests on.
const CURVE_ROWS_MIN: usize = 20;
/// Two-sided 95 % quantile of the normal distribution.
const Z_95: f64 = 1.959_964;

/// Stated probabilities and what came, ready to be weighed.
#[derive(Clone, Debug)]
pub struct Reliability {
    probability: Vec<f32>,
    came: Vec<bool>,
}

/// A point of a reliability curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ReliabilityPoint {
    /// Mean stated probability of the rows.
    pub stated: f64,
    /// Share of the rows in which it came true.
    pub observed: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
    /// How many rows.
    pub rows: usize,
}

impl Reliability {
    /// Stated probabilities, 0 to 1, and whether what they speak of came true.
    ///
    /// # Panics
    /// When there are not as many outcomes as probabilities.
    #[must_use]
    pub fn new(probability: Vec<f32>, came: Vec<bool>) -> Self {
        assert_eq!(probability.len(), came.len(), "as many outcomes as probabilities");
        Self { probability, came }
    }

    /// Mean squared distance between probability and outcome; NaN of nothing.
    #[must_use]
    pub fn brier(&self, weights: &[u32]) -> f64 {
        let (mut sum, mut count) = (0.0, 0_u64);
        for ((p, came), weight) in self.probability.iter().zip(&self.came).zip(weights) {
            let distance = f64::from(*p) - f64::from(u8::from(*came));
            sum += distance * distance * f64::from(*weight);
            count += u64::from(*weight);
        }
        sum / count as f64
    }

    /// Expected calibration error: mean distance between stated probability and observed share over [`BINS`] equal bins, weighed by rows.
    #[must_use]
    pub fn calibration_error(&self, weights: &[u32]) -> f64 {
        let mut bins = [(0.0_f64, 0_u64); BINS];
        let mut all = 0_u64;
        for ((p, came), weight) in self.probability.iter().zip(&self.came).zip(weights) {
            let bin = ((*p * BINS as f32) as usize).min(BINS - 1);
            bins[bin].0 += f64::from(*p) * f64::from(*weight);
            bins[bin].1 += u64::from(*came) * u64::from(*weight);
            all += u64::from(*weight);
        }
        bins.iter().map(|(stated, observed)| (stated - *observed as f64).abs()).sum::<f64>() / all as f64
    }

    /// The reliability curve; empty of nothing.
    #[must_use]
    pub fn curve(&self) -> Vec<ReliabilityPoint> {
        let mut order: Vec<usize> = (0..self.probability.len()).collect();
        order.sort_by(|a, b| self.probability[*a].total_cmp(&self.probability[*b]));
        let size = order.len().div_ceil(CURVE_BINS).max(CURVE_ROWS_MIN);
        order.chunks(size).map(|rows| self.point(rows)).collect()
    }

    fn point(&self, rows: &[usize]) -> ReliabilityPoint {
        let count = rows.len() as f64;
        let stated = rows.iter().map(|row| f64::from(self.probability[*row])).sum::<f64>() / count;
        let observed = rows.iter().filter(|row| self.came[**row]).count() as f64 / count;
        let (low, high) = wilson(observed, count);
        ReliabilityPoint { stated, observed, low, high, rows: rows.len() }
    }
}

/// Wilson's 95 % interval of a share of so many rows.
fn wilson(share: f64, count: f64) -> (f64, f64) {
    let z2 = Z_95 * Z_95 / count;
    let centre = (share + z2 / 2.0) / (1.0 + z2);
    let half = Z_95 / (1.0 + z2) * (share * (1.0 - share) / count + z2 / (4.0 * count)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        let reliability = Reliability::new(vec![0.9, 0.9, 0.1, 0.1], vec![true, false, false, false]);
        assert!((reliability.brier(&[1; 4]) - (0.01 + 0.81 + 0.01 + 0.01) / 4.0).abs() < 1e-6);
        // Upper bin: stated 0.9, observed 0.5; lower bin: stated 0.1, observed 0.
        assert!((reliability.calibration_error(&[1; 4]) - 0.5 * (0.4 + 0.1)).abs() < 1e-6);
        assert!((reliability.brier(&[2, 0, 0, 2]) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn a_curve_of_well_stated_probabilities_lies_on_the_diagonal() {
        let probability: Vec<f32> = (0..2_400).map(|row| if row < 1_200 { 0.25 } else { 0.75 }).collect();
        let came = (0..2_400).map(|row| if row < 1_200 { row % 4 == 0 } else { row % 4 != 0 }).collect();
        for point in Reliability::new(probability, came).curve() {
            assert!(
                (point.stated - point.observed).abs() < 1e-6
                    && point.low < point.observed
                    && point.observed < point.high
            );
        }
    }

    #[test]
    fn wilsons_interval_is_that_of_the_textbook() {
        let (low, high) = wilson(0.1, 100.0);
        assert!((low - 0.0552).abs() < 1e-3 && (high - 0.1744).abs() < 1e-3, "{low} {high}");
    }
}
