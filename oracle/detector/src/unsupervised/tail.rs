//! How rare a score is among benign flows, and what that says of an attack.
//!
//! The shares come from benign rows that taught nothing: quantiles of their scores down to the [`RANK_LEAST`]-th highest, an exponential tail
//! beyond (the scores are logarithms of errors, so this is a Pareto tail of the errors; its slope is the mean excess, Hill 1975). From the
//! share p of benign flows that score as high follows the probability of an attack: the densities of p are 1 when benign and ξ·p^(ξ−1) when
//! attacked (the alternatives of Sellke, Bayarri, Berger, "Calibration of p values", The American Statistician 2001), at even odds. No
//! attack was looked at, so ξ is a stated assumption ([`ATTACK_SHAPE`]), and somebody who knows the odds of the place has to multiply by
//! them. Guarantees: the share falls as the score rises; nothing here is NaN unless the score is.

/// Points of the fitted curve.
pub(crate) const TAIL_POINTS: usize = 24;
/// The rank (from the highest) of the last quantile that is read off the held-out scores.
const RANK_LEAST: usize = 10;
/// Share of the held-out scores that the slope of the tail is fitted on.
const EXCESS_SHARE: f64 = 0.05;
/// Least share that is ever claimed.
pub(crate) const SHARE_MIN: f64 = 1e-9;
/// ξ: an attack's p is below p with probability p^ξ, so that one alarm per 1,000 benign flows finds half of all attacks.
pub const ATTACK_SHAPE: f64 = 0.1;

/// The share of benign flows that score at least so high.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tail {
    /// Scores, rising.
    pub(crate) scores: Vec<f32>,
    /// ln of the share at each, falling.
    pub(crate) log_shares: Vec<f32>,
    /// ln of the share falls by one per this much beyond the last score.
    pub(crate) slope: f32,
}

impl Tail {
    /// Fits the curve on scores of benign rows that taught nothing; NaN is left out. `None` with fewer than twice [`RANK_LEAST`] scores.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks and shares"
    )]
    pub(crate) fn fit(scores: &[f32]) -> Option<Self> {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|score| score.is_finite()).collect();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let n = sorted.len();
        if n < 2 * RANK_LEAST {
            return None;
        }
        let last = (RANK_LEAST as f64 / n as f64).ln();
        let mut fitted = Self { scores: Vec::new(), log_shares: Vec::new(), slope: 1.0 };
        for point in 0..TAIL_POINTS {
            let log_share = last * point as f64 / (TAIL_POINTS - 1) as f64;
            let rank = ((log_share.exp() * n as f64).round() as usize).clamp(1, n);
            let score = sorted[rank - 1];
            // Ties would leave a step without width; the curve goes on a hair later.
            let after = fitted.scores.last().map_or(f32::MIN, |before| before + 1e-4);
            fitted.scores.push(score.max(after));
            fitted.log_shares.push(log_share as f32);
        }
        let high = ((n as f64 * EXCESS_SHARE) as usize).max(RANK_LEAST).min(n - 1);
        let excess: f64 = sorted[..high].iter().map(|score| f64::from(score - sorted[high])).sum::<f64>() / high as f64;
        fitted.slope = (excess as f32).max(0.05);
        Some(fitted)
    }

    /// ln of the share of benign flows that score at least `score`, 0 or below; NaN for NaN.
    pub(crate) fn log_share(&self, score: f32) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        // All of the few are looked at, side by side, instead of a search that waits for every answer.
        let above = self.scores.iter().fold(0, |count, point| count + usize::from(*point <= score));
        let log_share = match (above.checked_sub(1), self.scores.get(above)) {
            (None, _) => 0.0,
            (Some(below), Some(next)) => {
                let (from, to) = (self.log_shares[below], self.log_shares[above]);
                from + (to - from) * (score - self.scores[below]) / (next - self.scores[below])
            }
            (Some(last), None) => self.log_shares[last] - (score - self.scores[last]) / self.slope,
        };
        f64::from(log_share).min(0.0)
    }
}

/// Probability of an attack at even odds, given the share of benign flows that score as high.
pub(crate) fn attack_probability(share: f64) -> f64 {
    let density = ATTACK_SHAPE * share.powf(ATTACK_SHAPE - 1.0);
    density / (1.0 + density)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_agree_with_the_scores_they_were_fitted_on_and_fall_beyond_them() {
        // Exponential scores: the share above x is exp(-x).
        let scores: Vec<f32> = (1..=5_000_u16).map(|rank| -(f32::from(rank) / 5_001.0).ln()).collect();
        let tail = Tail::fit(&scores).unwrap();
        for x in [0.1_f32, 1.0, 3.0, 6.0, 9.0, 12.0] {
            let (share, expected) = (tail.log_share(x), f64::from(-x));
            assert!((share - expected).abs() < 0.5, "{x}: {share} and {expected}");
        }
        assert_eq!(tail.log_share(-5.0), 0.0);
        assert!(tail.log_share(50.0) < -20.0 && tail.log_share(f32::NAN).is_nan());
        assert!(Tail::fit(&scores[..5]).is_none());
    }

    #[test]
    fn rarer_scores_are_likelier_attacks() {
        let probabilities: Vec<f64> = [1.0, 0.1, 0.001, SHARE_MIN].map(attack_probability).to_vec();
        assert!(probabilities.is_sorted() && probabilities[0] < 0.1 && probabilities[2] > 0.9, "{probabilities:?}");
    }
}
