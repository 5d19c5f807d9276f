//! Convolutions that halve a sequence, with time in the lanes of a register.
//!
//! A layer of 12 or 24 filters fills no whole register, so here a register holds 16 places in time instead and every filter is a sum of its
//! own. For that the steps lie by phase: step `phases · place + phase` is at `place` of row `phase`, so that a convolution of stride 2 reads
//! and writes whole rows and leaves half as many phases, down to one. A row has a zero before its first and after its last place, which
//! stand for the padding. Each sum runs over the inputs in the order of [`super::conv1d`], so the bits are those of that function.
//! Guarantees: no allocation. Must not: be used for other strides, or kernels that reach beyond a neighbouring place.

use pulp::{Arch, Simd, WithSimd};

use super::Conv;

/// Places of a row that count.
pub const PLACES: usize = 16;
/// Numbers of a row: the places and a zero on each side.
pub const ROW: usize = PLACES + 2;

/// Lays a sequence, steps × channels, out by phases: rows are phase by phase, then channel by channel. Only places are written; the zeros
/// around them are the caller's and stay.
///
/// # Panics
/// When `out` does not hold [`ROW`] numbers per row.
pub fn by_phase(x: &[f32], channels: usize, out: &mut [f32]) {
    let phases = x.len() / (PLACES * channels);
    assert!(x.len() == phases * PLACES * channels && out.len() == phases * channels * ROW, "rows hold all steps");
    for (place, steps) in x.chunks_exact(phases * channels).enumerate() {
        // Within a place, steps × channels is the order of the rows.
        for (row, value) in out.chunks_exact_mut(ROW).zip(steps) {
            row[place + 1] = *value;
        }
    }
}

/// A convolution of stride 2, then max(x, 0). Shapes: `x` rows of (2 · phases) × channels as from [`by_phase`], `w` (kernel · channels) ×
/// outputs, `bias` outputs, `out` rows of phases × outputs.
///
/// # Panics
/// When the lengths do not fit, the stride is not 2 or the kernel reaches further than a neighbouring place.
pub fn halve(x: &[f32], conv: Conv, w: &[f32], bias: &[f32], out: &mut [f32]) {
    let (outputs, phases) = (bias.len(), out.len() / (bias.len() * ROW));
    assert!(conv.stride == 2 && conv.pad <= 2 * phases, "the kernel reaches one place back at most");
    assert!(2 * (phases - 1) + conv.kernel <= 4 * phases + conv.pad, "the kernel reaches one place on at most");
    assert_eq!(out.len(), phases * outputs * ROW, "the output has a row per phase and filter");
    assert_eq!(x.len(), 2 * phases * conv.channels * ROW, "the input has a row per phase and channel");
    assert_eq!(w.len(), conv.kernel * conv.channels * outputs, "weights are (kernel · channels) × outputs");
    Arch::new().dispatch(Halve { x, conv, w, bias, out, phases });
}

struct Halve<'a> {
    x: &'a [f32],
    conv: Conv,
    w: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
    phases: usize,
}

impl WithSimd for Halve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let outputs = self.bias.len();
        for phase in 0..self.phases {
            for place in (0..PLACES).step_by(S::F32_LANES) {
                let mut filter = 0;
                while filter < outputs {
                    filter += match outputs - filter {
                        12 | 24.. => self.tile::<S, 12>(simd, phase, place, filter),
                        8.. => self.tile::<S, 8>(simd, phase, place, filter),
                        _ => self.tile::<S, 1>(simd, phase, place, filter),
                    };
                }
            }
        }
    }
}

impl Halve<'_> {
    /// One register of places of some filters. Returns how many filters.
    #[inline(always)]
    fn tile<S: Simd, const FILTERS: usize>(&mut self, simd: S, phase: usize, place: usize, filter: usize) -> usize {
        let Conv { channels, kernel, pad, .. } = self.conv;
        let (outputs, phases_in) = (self.bias.len(), 2 * self.phases);
        let mut sums: [S::f32s; FILTERS] = std::array::from_fn(|at| simd.splat_f32s(self.bias[filter + at]));
        let taps = self.w.chunks_exact(channels * outputs).take(kernel);
        for (tap, weights) in taps.enumerate() {
            // One place more, so that it is never negative.
            let step = phases_in + 2 * phase + tap - pad;
            let (row, start) = (step % phases_in * channels, place + step / phases_in);
            let rows = self.x[row * ROW..(row + channels) * ROW].chunks_exact(ROW);
            for (x, weights) in rows.zip(weights.chunks_exact(outputs)) {
                let x = S::as_simd_f32s(&x[start..start + S::F32_LANES]).0[0];
                let weights: &[f32; FILTERS] = weights[filter..].first_chunk().expect("a tile has all its filters");
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = simd.mul_add_e_f32s(simd.splat_f32s(*weight), x, *sum);
                }
            }
        }
        for (at, sum) in sums.into_iter().enumerate() {
            let start = (phase * outputs + filter + at) * ROW + 1 + place;
            let out = &mut self.out[start..start + S::F32_LANES];
            S::as_mut_simd_f32s(out).0[0] = simd.max_f32s(sum, simd.splat_f32s(0.0));
        }
        FILTERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::kernel::{conv1d, relu};

    #[test]
    fn layers_give_the_bits_of_plain_convolutions() {
        let number = |at: usize| (at * 7_919 % 1_009) as f32 / 1_009.0 - 0.5;
        for (phases, channels, kernel, pad, outputs) in
            [(8, 2, 9, 4, 12), (4, 12, 7, 3, 16), (2, 16, 5, 2, 24), (2, 3, 3, 1, 5), (4, 1, 4, 1, 33)]
        {
            let conv = Conv { channels, kernel, stride: 2, pad };
            let x: Vec<f32> = (0..phases * PLACES * channels).map(number).collect();
            let w: Vec<f32> = (0..kernel * channels * outputs).map(|at| number(at + 3)).collect();
            let bias: Vec<f32> = (0..outputs).map(|at| number(at + 11)).collect();
            let mut plain = vec![0.0; phases / 2 * PLACES * outputs];
            conv1d(&x, conv, &w, &bias, &mut plain);
            relu(&mut plain);
            let mut wanted = vec![0.0; phases / 2 * outputs * ROW];
            by_phase(&plain, outputs, &mut wanted);
            let mut rows = vec![0.0; phases * channels * ROW];
            by_phase(&x, channels, &mut rows);
            let mut out = vec![0.0; wanted.len()];
            halve(&rows, conv, &w, &bias, &mut out);
            assert_eq!(out, wanted, "{phases} phases, {channels} channels, kernel {kernel}, {outputs} filters");
        }
    }
}
