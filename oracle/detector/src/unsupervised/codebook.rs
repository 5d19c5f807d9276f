//! The member that reads the whole row: an autoencoder whose hidden layer lets one unit win.
//!
//! It keeps prototypes of benign rows and reconstructs a row by the nearest (a vector quantiser, taught online: MacQueen 1967, "Some methods
//! for classification and analysis of multivariate observations"; the competitive layer of Kohonen). Benign traffic is a set of distinct kinds
//! of connection; a smooth autoencoder also reconstructs what lies between two kinds, this one does not. Missing values (NaN) are left out
//! of the distance and teach nothing. What is taught is asked through [`super::nearest`]. Guarantees: the same rows in the same order give the
//! same prototypes.

use pulp::{Arch, Simd, WithSimd};
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// Most prototypes.
pub(crate) const PROTOTYPES_MAX: usize = 1_024;

/// Prototypes that are compared with a row at once, each in a lane of its own.
const SIDE_BY_SIDE: usize = 64;
/// Registers of lanes at once, so that one addition need not wait for the one before; as many of the widest hold [`SIDE_BY_SIDE`].
const REGISTERS: usize = 4;

/// The prototypes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codebook {
    width: usize,
    count: usize,
    /// Blocks of [`SIDE_BY_SIDE`] prototypes, column by column; the last block is filled up with what is nearest to nothing.
    blocks: Vec<[f32; SIDE_BY_SIDE]>,
}

/// What counts as the square difference where the row has a value and the prototype has none: the variance of an even spread over 0..1.
pub(super) const UNKNOWN: f32 = 1.0 / 12.0;

/// Values whose squares are summed up before they are added to the others.
const SUMMED: usize = 8;

/// The square difference of a value that is there.
fn square(value: f32, own: f32) -> f32 {
    let difference = value - own;
    if own.is_nan() { UNKNOWN } else { difference * difference }
}

/// Square difference of every value of the row, as [`distance`] counts it; 0 where the row has none.
pub(crate) fn squares(row: &[f32], prototype: impl Iterator<Item = f32>) -> impl Iterator<Item = f32> {
    row.iter().zip(prototype).map(|(value, own)| if value.is_nan() { 0.0 } else { square(*value, own) })
}

/// How many values a row has.
#[expect(clippy::cast_precision_loss, reason = "rows are short")]
fn values_of(row: &[f32]) -> f32 {
    row.iter().filter(|value| !value.is_nan()).count() as f32
}

/// Mean square difference over the values of the row; NaN when it has none. The prototype is at least as long.
#[cfg(test)]
pub(crate) fn distance(row: &[f32], prototype: &[f32]) -> f32 {
    let parts = row.chunks(SUMMED).zip(prototype.chunks(SUMMED));
    let sum: f32 = parts.map(|(row, own)| squares(row, own.iter().copied()).sum::<f32>()).sum();
    sum / values_of(row)
}

impl Codebook {
    /// A codebook from stored prototypes; `None` when they do not fit the width, are too many, or one is infinite.
    pub(crate) fn from_prototypes(width: usize, prototypes: Vec<f32>) -> Option<Self> {
        let count = prototypes.len() / width.max(1);
        let fits = width > 0 && count * width == prototypes.len() && (1..=PROTOTYPES_MAX).contains(&count);
        (fits && prototypes.iter().all(|value| !value.is_infinite())).then(|| Self::new(width, &prototypes))
    }

    fn new(width: usize, prototypes: &[f32]) -> Self {
        let count = prototypes.len() / width;
        let blocks = vec![[f32::INFINITY; SIDE_BY_SIDE]; count.div_ceil(SIDE_BY_SIDE) * width];
        let mut book = Self { width, count, blocks };
        prototypes.chunks_exact(width).enumerate().for_each(|(at, prototype)| book.set(at, prototype));
        book
    }

    fn set(&mut self, at: usize, prototype: &[f32]) {
        self.columns_mut(at).zip(prototype).for_each(|(own, value)| *own = *value);
    }

    /// The numbers of one prototype.
    fn columns_mut(&mut self, at: usize) -> impl Iterator<Item = &mut f32> {
        let block = at / SIDE_BY_SIDE * self.width;
        self.blocks[block..block + self.width].iter_mut().map(move |column| &mut column[at % SIDE_BY_SIDE])
    }

    /// Teaches `count` prototypes on normalised rows: first some of the rows, then `passes` times every row pulls its nearest prototype by
    /// one over how often that one has won.
    pub(crate) fn teach(normal: &[f32], width: usize, count: usize, passes: usize, rng: &mut ChaCha8Rng) -> Self {
        let rows = normal.len() / width;
        let count = count.clamp(1, PROTOTYPES_MAX).min(rows);
        let row_of = |at: usize| &normal[at * width..(at + 1) * width];
        let prototypes: Vec<f32> =
            sample(rng, rows, count).into_iter().flat_map(|at| row_of(at).iter().copied()).collect();
        let mut book = Self::new(width, &prototypes);
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
            self.set(idle, &normal[at * self.width..(at + 1) * self.width]);
        }
    }

    fn pull(&mut self, winner: usize, row: &[f32], share: f32) {
        for (own, value) in self.columns_mut(winner).zip(row).filter(|(_, value)| !value.is_nan()) {
            *own = if own.is_nan() { *value } else { *own + share * (value - *own) };
        }
    }

    /// The nearest prototype and its mean square distance; `None` when the row has no value at all.
    pub(crate) fn nearest(&self, row: &[f32]) -> Option<(usize, f32)> {
        let count = values_of(row);
        if count == 0.0 {
            return None;
        }
        let (mut best, mut least, mut sums) = (0, f32::INFINITY, [0.0_f32; SIDE_BY_SIDE]);
        for (number, block) in self.blocks.chunks_exact(self.width).enumerate() {
            Arch::new().dispatch(Sums { row, block, out: &mut sums });
            let lowest = sums.iter().copied().fold(f32::INFINITY, f32::min);
            if lowest < least
                && let Some(lane) = sums.iter().position(|sum| *sum == lowest)
            {
                (best, least) = (number * SIDE_BY_SIDE + lane, lowest);
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
        self.count
    }

    /// One prototype.
    pub(crate) fn prototype(&self, at: usize) -> Option<impl Iterator<Item = f32>> {
        let block = at / SIDE_BY_SIDE * self.width;
        let columns = self.blocks.get(block..block + self.width).filter(|_| at < self.count)?;
        Some(columns.iter().map(move |column| column[at % SIDE_BY_SIDE]))
    }

    /// All prototypes, one after the other.
    pub(crate) fn prototypes(&self) -> Vec<f32> {
        (0..self.count).filter_map(|at| self.prototype(at)).flatten().collect()
    }
}

/// Sums of square differences of a row from the prototypes of a block, each in the order of [`distance`].
struct Sums<'a> {
    row: &'a [f32],
    block: &'a [[f32; SIDE_BY_SIDE]],
    out: &'a mut [f32; SIDE_BY_SIDE],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (unknown, zero) = (simd.splat_f32s(UNKNOWN), simd.splat_f32s(0.0));
        for from in (0..SIDE_BY_SIDE).step_by(REGISTERS * S::F32_LANES) {
            let lanes = from..from + REGISTERS * S::F32_LANES;
            let mut sums = [zero; REGISTERS];
            for (values, columns) in self.row.chunks(SUMMED).zip(self.block.chunks(SUMMED)) {
                let mut part = [zero; REGISTERS];
                for (value, owns) in values.iter().zip(columns) {
                    if value.is_nan() {
                        continue;
                    }
                    let value = simd.splat_f32s(*value);
                    for (part, own) in part.iter_mut().zip(S::as_simd_f32s(&owns[lanes.clone()]).0) {
                        let difference = simd.sub_f32s(value, *own);
                        let square = simd.mul_f32s(difference, difference);
                        let is_there = simd.equal_f32s(*own, *own);
                        *part = simd.add_f32s(*part, simd.select_f32s(is_there, square, unknown));
                    }
                }
                for (sum, part) in sums.iter_mut().zip(part) {
                    *sum = simd.add_f32s(*sum, part);
                }
            }
            S::as_mut_simd_f32s(&mut self.out[lanes]).0.copy_from_slice(&sums);
        }
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
            let prototype = |at| book.prototype(at).unwrap().collect::<Vec<f32>>();
            let apart: Vec<f32> = (0..50).map(|at| distance(&row, &prototype(at))).collect();
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
