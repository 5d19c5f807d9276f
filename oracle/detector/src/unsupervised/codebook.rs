//! The member that reads the whole row: an autoencoder whose hidden layer lets one unit win.
//!
//! It keeps prototypes of benign rows and reconstructs a row by the nearest (a vector quantiser, taught online: MacQueen 1967, "Some methods
//! for classification and analysis of multivariate observations"; the competitive layer of Kohonen). Benign traffic is a set of distinct kinds
//! of connection; a smooth autoencoder also reconstructs what lies between two kinds, this one does not. Missing values (NaN) are left out
//! of the distance and teach nothing. What is taught is asked through [`super::nearest`]. Guarantees: the same rows in the same order give the
//! same prototypes.

use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// Most prototypes.
pub(crate) const PROTOTYPES_MAX: usize = 1_024;

/// The prototypes, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codebook {
    width: usize,
    prototypes: Vec<f32>,
}

/// What counts as the square difference where the row has a value and the prototype has none: the variance of an even spread over 0..1.
pub(super) const UNKNOWN: f32 = 1.0 / 12.0;

/// Values that are compared at once.
const LANES: usize = 8;

/// Sum of square differences over the values of the row; a sum that has passed `enough` may be cut short.
fn square_sum(row: &[f32], prototype: &[f32], enough: f32) -> f32 {
    let square = |value: f32, own: f32| {
        let difference = value - own;
        let square = if own.is_nan() { UNKNOWN } else { difference * difference };
        if value.is_nan() { 0.0 } else { square }
    };
    let (values, value_rest) = row.as_chunks::<LANES>();
    let (owns, own_rest) = prototype[..row.len()].as_chunks::<LANES>();
    let mut sum = 0.0;
    for (values, owns) in values.iter().zip(owns) {
        let squares: [f32; LANES] = std::array::from_fn(|lane| square(values[lane], owns[lane]));
        sum += squares.iter().sum::<f32>();
        if sum > enough {
            return sum;
        }
    }
    sum + value_rest.iter().zip(own_rest).map(|(value, own)| square(*value, *own)).sum::<f32>()
}

/// Square difference of every value of the row, as [`distance`] counts it; 0 where the row has none.
pub(crate) fn squares(row: &[f32], prototype: &[f32]) -> impl Iterator<Item = f32> {
    row.iter().zip(prototype).map(|(value, own)| match (value.is_nan(), own.is_nan()) {
        (true, _) => 0.0,
        (false, true) => UNKNOWN,
        (false, false) => (value - own) * (value - own),
    })
}

/// How many values a row has.
#[expect(clippy::cast_precision_loss, reason = "rows are short")]
fn values_of(row: &[f32]) -> f32 {
    row.iter().filter(|value| !value.is_nan()).count() as f32
}

/// Mean square difference over the values of the row; NaN when it has none. The prototype is at least as long.
#[cfg(test)]
pub(crate) fn distance(row: &[f32], prototype: &[f32]) -> f32 {
    square_sum(row, prototype, f32::INFINITY) / values_of(row)
}

impl Codebook {
    /// A codebook from stored prototypes; `None` when they do not fit the width, are too many, or one is infinite.
    pub(crate) fn from_prototypes(width: usize, prototypes: Vec<f32>) -> Option<Self> {
        let count = prototypes.len() / width.max(1);
        let fits = width > 0 && count * width == prototypes.len() && (1..=PROTOTYPES_MAX).contains(&count);
        (fits && prototypes.iter().all(|value| !value.is_infinite())).then_some(Self { width, prototypes })
    }

    /// Teaches `count` prototypes on normalised rows: first some of the rows, then `passes` times every row pulls its nearest prototype by
    /// one over how often that one has won.
    pub(crate) fn teach(normal: &[f32], width: usize, count: usize, passes: usize, rng: &mut ChaCha8Rng) -> Self {
        let rows = normal.len() / width;
        let count = count.clamp(1, PROTOTYPES_MAX).min(rows);
        let row_of = |at: usize| &normal[at * width..(at + 1) * width];
        let prototypes = sample(rng, rows, count).into_iter().flat_map(|at| row_of(at).iter().copied()).collect();
        let mut book = Self { width, prototypes };
        for _ in 0..passes {
            let mut wins = vec![1.0_f32; count];
            for at in super::ensemble::shuffled(rows, rng) {
                if let Some((winner, _)) = book.nearest(row_of(at)) {
                    wins[winner] += 1.0;
                    book.pull(winner, row_of(at), 1.0 / wins[winner]);
                }
            }
            book.replace_idle(normal, &wins, rng);
        }
        book
    }

    /// Moves prototypes that never won to rows, so that none is wasted; rows far from everything are drawn most often (k-means++).
    fn replace_idle(&mut self, normal: &[f32], wins: &[f32], rng: &mut ChaCha8Rng) {
        use rand::distributions::{Distribution, WeightedIndex};
        let far: Vec<f32> = normal.chunks_exact(self.width).map(|row| self.score(row)).collect();
        let weights = far.iter().map(|score| if score.is_nan() { 0.0 } else { score * score });
        let Ok(draw) = WeightedIndex::new(weights) else { return };
        for idle in (0..wins.len()).filter(|at| wins[*at] < 1.5) {
            let at = draw.sample(rng);
            self.prototypes[idle * self.width..(idle + 1) * self.width]
                .copy_from_slice(&normal[at * self.width..(at + 1) * self.width]);
        }
    }

    fn pull(&mut self, winner: usize, row: &[f32], share: f32) {
        let prototype = &mut self.prototypes[winner * self.width..(winner + 1) * self.width];
        for (own, value) in prototype.iter_mut().zip(row).filter(|(_, value)| !value.is_nan()) {
            *own = if own.is_nan() { *value } else { *own + share * (value - *own) };
        }
    }

    /// The nearest prototype and its mean square distance; `None` when the row has no value at all.
    pub(crate) fn nearest(&self, row: &[f32]) -> Option<(usize, f32)> {
        let count = values_of(row);
        if count == 0.0 {
            return None;
        }
        let (mut best, mut least) = (0, f32::INFINITY);
        for (at, prototype) in self.prototypes.chunks_exact(self.width).enumerate() {
            let sum = square_sum(row, prototype, least);
            if sum < least {
                (best, least) = (at, sum);
            }
        }
        Some((best, least / count))
    }

    /// Root mean square distance to the nearest prototype; NaN when the row has no value at all.
    pub(crate) fn score(&self, row: &[f32]) -> f32 {
        self.nearest(row).map_or(f32::NAN, |(_, square)| square.sqrt())
    }

    /// How many prototypes there are.
    pub(crate) const fn count(&self) -> usize {
        self.prototypes.len() / self.width
    }

    /// One prototype.
    pub(crate) fn prototype(&self, at: usize) -> Option<&[f32]> {
        self.prototypes.chunks_exact(self.width).nth(at)
    }

    /// All prototypes, one after the other.
    pub(crate) fn prototypes(&self) -> &[f32] {
        &self.prototypes
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_nearest_is_the_one_of_least_distance() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut value = |missing: f64| if rng.gen_bool(missing) { f32::NAN } else { rng.gen_range(-1.0..2.0) };
        let book = Codebook::from_prototypes(21, (0..50 * 21).map(|_| value(0.1)).collect()).unwrap();
        for _ in 0..50 {
            let row: Vec<f32> = (0..21).map(|_| value(0.3)).collect();
            let (at, least) = book.nearest(&row).unwrap();
            let apart: Vec<f32> = (0..50).map(|at| distance(&row, book.prototype(at).unwrap())).collect();
            assert!(apart.iter().all(|apart| *apart >= least) && apart[at].to_bits() == least.to_bits());
        }
        assert!(book.nearest(&[f32::NAN; 21]).is_none());
        assert!(Codebook::from_prototypes(21, vec![0.0; 22]).is_none());
    }

    #[test]
    fn every_kind_of_row_gets_a_prototype() {
        let kinds = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]];
        let normal: Vec<f32> = (0..3_000).flat_map(|at| kinds[if at % 100 == 0 { 2 } else { at % 2 }]).collect();
        let book = Codebook::teach(&normal, 2, 6, 3, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(kinds.iter().all(|kind| book.score(kind) < 0.05), "{book:?}");
        assert!(book.score(&[0.5, 0.5]) > 0.2, "nothing between two kinds");
    }
}
