//! The taught ensemble as it judges: rows together, the members as one network.
//!
//! Side by side the members are one autoencoder of two layers whose weights are zero between members, so a few products over all rows take
//! their place; the mean errors of members and codebook are standardised at once. Guarantees: no allocation while judging; a row alone and
//! among others gives the same bits; what comes out is what the members give one by one, but for rounding. Must not: be taught.

use pulp::{Arch, Simd, WithSimd};

use super::ensemble::{ERROR_MIN, Ensemble, Errors, Level, Z_MAX};
use super::nearest::{Nearest, Room};
use crate::nn::kernel;

/// Most rows that are judged together: what they need stays in the first cache.
pub(crate) const TOGETHER_MAX: usize = 32;
/// Rows of every matrix are this much times a whole number long.
const LANES: usize = 16;

/// The members and the codebook, made when an ensemble is taught or read.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Together {
    width: usize,
    /// Width, hidden units of all members, and members with the codebook after them, each in whole [`LANES`].
    stride: usize,
    units: usize,
    parts: usize,
    members: usize,
    /// Stride × units.
    encoder: Vec<f32>,
    encoder_bias: Vec<f32>,
    /// Units × stride.
    decoder: Vec<f32>,
    decoder_bias: Vec<f32>,
    /// Stride × parts: 1 where a column is a member's, and for the codebook, which has them all.
    columns_of: Vec<f32>,
    zeros: Vec<f32>,
    means: Vec<f32>,
    spreads: Vec<f32>,
    nearest: Nearest,
}

/// Room for [`TOGETHER_MAX`] rows on their way through, used again for every group.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    stride: usize,
    /// Normalised rows, NaN where missing and beyond the width.
    pub(super) rows: Vec<f32>,
    values: Vec<f32>,
    there: Vec<f32>,
    centred: Vec<f32>,
    hidden: Vec<f32>,
    output: Vec<f32>,
    sums: Vec<f32>,
    counts: Vec<f32>,
    room: Room,
    /// Nearest prototype and sum of square differences from it.
    pub(super) nearest: Vec<(usize, f32)>,
    pub(super) errors: Vec<Errors>,
}

impl Work {
    /// The normalised row at a place of the group, as long as `width`.
    pub(super) fn row(&self, at: usize, width: usize) -> &[f32] {
        &self.rows[at * self.stride..][..width]
    }

    pub(super) fn row_mut(&mut self, at: usize, width: usize) -> &mut [f32] {
        &mut self.rows[at * self.stride..][..width]
    }
}

impl Together {
    /// Of what was taught.
    pub(super) fn of(ensemble: &Ensemble) -> Self {
        let (width, members) = (ensemble.scale.width(), ensemble.members.len());
        let hidden: usize = ensemble.members.iter().map(super::autoencoder::Autoencoder::hidden).sum();
        let [stride, units, parts] = [width, hidden, members + 1].map(|count| count.next_multiple_of(LANES));
        let (mut encoder, mut encoder_bias) = (vec![0.0; stride * units], vec![0.0; units]);
        let (mut decoder, mut decoder_bias) = (vec![0.0; units * stride], vec![0.0; stride]);
        let mut columns_of = vec![0.0; stride * parts];
        let mut first = 0;
        for (number, (cluster, member)) in ensemble.clusters.iter().zip(&ensemble.members).enumerate() {
            let (own_encoder, own_hidden, own_decoder, own_output) = member.parts();
            encoder_bias[first..first + member.hidden()].copy_from_slice(own_hidden);
            for (input, column) in cluster.iter().enumerate() {
                for unit in 0..member.hidden() {
                    encoder[column * units + first + unit] = own_encoder[input * member.hidden() + unit];
                    decoder[(first + unit) * stride + column] = own_decoder[input * member.hidden() + unit];
                }
                decoder_bias[*column] = own_output[input];
                columns_of[column * parts + number] = 1.0;
            }
            first += member.hidden();
        }
        (0..width).for_each(|column| columns_of[column * parts + members] = 1.0);
        let level = |at: usize| match at {
            at if at < members => ensemble.levels[at],
            at if at == members => ensemble.codebook_level,
            _ => Level { mean: 0.0, spread: 1.0 },
        };
        Self {
            width,
            stride,
            units,
            parts,
            members,
            encoder,
            encoder_bias,
            decoder,
            decoder_bias,
            columns_of,
            zeros: vec![0.0; parts],
            means: (0..parts).map(|at| level(at).mean).collect(),
            spreads: (0..parts).map(|at| level(at).spread).collect(),
            nearest: Nearest::of(&ensemble.codebook, width),
        }
    }

    /// Room for a group.
    pub(super) fn work(&self) -> Work {
        let matrix = |columns: usize| vec![0.0; TOGETHER_MAX * columns];
        Work {
            stride: self.stride,
            rows: vec![f32::NAN; TOGETHER_MAX * self.stride],
            values: matrix(self.stride),
            there: matrix(self.stride),
            centred: matrix(self.stride),
            hidden: matrix(self.units),
            output: matrix(self.stride),
            sums: matrix(self.parts),
            counts: matrix(self.parts),
            room: Nearest::room(TOGETHER_MAX),
            nearest: vec![(0, 0.0); TOGETHER_MAX],
            errors: vec![Errors { codebook: 0.0, members: 0.0, output: 0.0 }; TOGETHER_MAX],
        }
    }

    /// The standardised errors of the first rows of `work`; the output layer's is left at 0.
    pub(super) fn judge(&self, rows: usize, work: &mut Work) {
        let (cells, parts) = (rows * self.stride, rows * self.parts);
        let (values, there) = (&mut work.values[..cells], &mut work.there[..cells]);
        let (centred, output) = (&mut work.centred[..cells], &mut work.output[..cells]);
        part(&work.rows[..cells], values, there, centred);
        let hidden = &mut work.hidden[..rows * self.units];
        kernel::dense(centred, rows, &self.encoder, &self.encoder_bias, hidden);
        kernel::sigmoid(hidden);
        kernel::dense(hidden, rows, &self.decoder, &self.decoder_bias, output);
        kernel::sigmoid(output);
        squares(values, there, output);
        let (sums, counts) = (&mut work.sums[..parts], &mut work.counts[..parts]);
        kernel::dense(output, rows, &self.columns_of, &self.zeros, sums);
        kernel::dense(there, rows, &self.columns_of, &self.zeros, counts);
        self.nearest.find(values, there, self.stride, &mut work.room, &mut work.nearest[..rows]);
        for (sums, (_, square)) in sums.chunks_exact_mut(self.parts).zip(&work.nearest) {
            sums[self.members] = *square;
        }
        let (means, spreads) = (&self.means[..], &self.spreads[..]);
        Arch::new().dispatch(Standardise { sums, counts, means, spreads });
        for (z, errors) in sums.chunks_exact(self.parts).zip(&mut work.errors) {
            *errors = Errors { codebook: z[self.members], members: mean(&z[..self.members]), output: 0.0 };
        }
    }

    /// After [`Together::judge`]: the standardised errors of a row's members, NaN of one without a value.
    pub(super) fn members_of<'w>(&self, at: usize, work: &'w Work) -> &'w [f32] {
        &work.sums[at * self.parts..][..self.members]
    }
}

/// How many spreads ln of the root mean square is above the mean, in place of the sums; NaN where nothing was counted.
struct Standardise<'a> {
    sums: &'a mut [f32],
    counts: &'a [f32],
    means: &'a [f32],
    spreads: &'a [f32],
}

impl WithSimd for Standardise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let parts = self.means.len();
        for (sums, counts) in self.sums.chunks_exact_mut(parts).zip(self.counts.chunks_exact(parts)) {
            for (((sum, count), mean), spread) in sums.iter_mut().zip(counts).zip(self.means).zip(self.spreads) {
                let log = 0.5 * kernel::ln((*sum / *count).max(ERROR_MIN * ERROR_MIN));
                let z = ((log - mean) / spread).clamp(-Z_MAX, Z_MAX);
                *sum = if *count > 0.0 { z } else { f32::NAN };
            }
        }
    }
}

/// Values with 0 where missing, whether they are there, and their distance from the middle of the scale with 0 where missing.
fn part(rows: &[f32], values: &mut [f32], there: &mut [f32], centred: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (((row, value), there), centred) in rows.iter().zip(values).zip(there).zip(centred) {
                let missing = row.is_nan();
                *value = if missing { 0.0 } else { *row };
                *there = if missing { 0.0 } else { 1.0 };
                *centred = if missing { 0.0 } else { *row - 0.5 };
            }
        },
    );
}

/// Squares of the differences from the values that are there, in place of the outputs.
fn squares(values: &[f32], there: &[f32], output: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((output, value), there) in output.iter_mut().zip(values).zip(there) {
                let apart = (value - *output) * there;
                *output = apart * apart;
            }
        },
    );
}

/// Mean of those that are not NaN; NaN of none.
fn mean(errors: &[f32]) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0);
    for error in errors {
        let missing = error.is_nan();
        sum += if missing { 0.0 } else { *error };
        count += if missing { 0.0 } else { 1.0_f32 };
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::unsupervised::autoencoder::Pass;
    use crate::unsupervised::ensemble::Teaching;

    #[test]
    fn rows_together_get_what_members_and_codebook_give_one_by_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut row = |missing: f64| -> Vec<f32> {
            let (kind, size) = (rng.gen_range(0..3), rng.gen_range(0.0..9.0_f32).exp());
            let values = (0..20).map(|at| if at == 7 { kind as f32 } else { size * (at + kind) as f32 });
            values.map(|value| if rng.gen_bool(missing) { f32::NAN } else { value }).collect()
        };
        let rows: Vec<Vec<f32>> = (0..400).map(|at| row(if at % 2 == 0 { 0.0 } else { 0.1 })).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let teaching = Teaching { cluster_max: 6, prototypes: 50, ..Teaching::served(1) };
        let ensemble = Ensemble::teach(&rows, &std::array::from_fn::<_, 20, _>(|at| at == 7), &teaching).unwrap();
        let (mut work, mut pass, width) = (ensemble.work(), Pass::default(), ensemble.scale.width());
        for rows in rows.chunks(TOGETHER_MAX) {
            let count = ensemble.normalise(&rows.concat(), &mut work);
            ensemble.judge_rows(count, false, &mut work);
            for at in 0..count {
                let (row, errors) = (work.row(at, width).to_vec(), work.errors[at]);
                let members = ensemble.clusters.iter().zip(&ensemble.members).zip(&ensemble.levels);
                let plainly: Vec<f32> = members
                    .map(|((cluster, member), level)| {
                        let part: Vec<f32> = cluster.iter().map(|column| row[*column]).collect();
                        level.z(member.score(&part, &mut pass))
                    })
                    .collect();
                let codebook = ensemble.codebook_level.z(ensemble.codebook.score(&row));
                assert!((errors.codebook - codebook).abs() < 1e-3, "{errors:?}, not {codebook}");
                let wanted = mean(&plainly);
                assert!((errors.members - wanted).abs() < 1e-3, "{errors:?}, not {wanted}");
            }
        }
    }
}
