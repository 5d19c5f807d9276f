//! Numbers between their knots: 0 at the first, 1 at the last, the middle of a run of equal knots, beyond them in a straight line.
//!
//! All numbers of a row are placed at once, a lane each, by comparing them with every knot. Values within a few units in the last place of a
//! knot are at the knot, so that a machine with another logarithm does not move them off a run of equal ones. Half of the place is the
//! rank, half the distance: ranks alone would stretch small differences, distances alone squeeze them. Guarantees: no allocation while
//! placing; a missing value (NaN) stays missing, nothing else becomes NaN. Must not: know of categories.

use pulp::{Arch, Simd, WithSimd};

use super::scale::{BEYOND_MAX, KNOTS};
use crate::nn::kernel;

/// Numbers that are placed at once.
const LANES: usize = 16;
/// How far from a knot a value still is at the knot, as a share of it, and at least.
const SAME_SHARE: f32 = 5e-7;
const SAME_MIN: f32 = 1e-7;

/// sign(x)·ln(1 + |x|).
#[inline(always)]
pub(super) fn log(x: f32) -> f32 {
    let size = if x.abs() > f32::MAX { f32::MAX } else { x.abs() };
    let above = 1.0 + size;
    // What the sum lost in rounding.
    let rest = (size - (above - 1.0)) / above;
    (kernel::ln(above) + rest).copysign(x)
}

/// A value per number.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lanes([f32; LANES]);

/// One knot of each number.
#[derive(Clone, Debug, PartialEq)]
struct Knot {
    value: Lanes,
    /// From where on a value is at the knot, and above where beyond it.
    from: Lanes,
    to: Lanes,
    /// 1 over the distance to the next knot.
    per_gap: Lanes,
}

/// Up to [`LANES`] numbers.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    /// Which feature each is, and in which normalised column it goes.
    places: Vec<(usize, usize)>,
    knots: Vec<Knot>,
    /// 1 over the distance from the first knot to the last, at least 1; beyond the knots.
    per_width: Lanes,
    /// Half of 1 over that distance, and half of the middle where it is 0; between the knots.
    half_per_span: Lanes,
    middle: Lanes,
}

/// The numbers of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    groups: Vec<Group>,
}

impl Numbers {
    /// Of feature, normalised column and knots of each.
    pub(super) fn new(numbers: &[(usize, usize, &[f32])]) -> Self {
        Self { groups: numbers.chunks(LANES).map(Group::new).collect() }
    }

    /// Shapes: `row` features, `out` normalised columns; those of numbers are written.
    pub(super) fn place(&self, row: &[f32], out: &mut [f32]) {
        for group in &self.groups {
            let mut values = Lanes([0.0; LANES]);
            group.places.iter().zip(&mut values.0).for_each(|((feature, _), value)| *value = row[*feature]);
            Arch::new().dispatch(Place { group, values: &mut values });
            group.places.iter().zip(values.0).for_each(|((_, column), value)| out[*column] = value);
        }
    }
}

impl Group {
    fn new(numbers: &[(usize, usize, &[f32])]) -> Self {
        let lanes = |value: &dyn Fn(&[f32]) -> f32| {
            Lanes(std::array::from_fn(|lane| numbers.get(lane).map_or(0.0, |(_, _, knots)| value(knots))))
        };
        let span = |knots: &[f32]| knots[KNOTS - 1] - knots[0];
        let same = |knot: f32| SAME_SHARE * knot.abs() + SAME_MIN;
        let knot = |at: usize| Knot {
            value: lanes(&|knots| knots[at]),
            from: lanes(&|knots| knots[at] - same(knots[at])),
            to: lanes(&|knots| knots[at] + same(knots[at])),
            per_gap: lanes(&|knots| match knots.get(at + 1).map_or(0.0, |next| next - knots[at]) {
                gap if gap > 0.0 => 1.0 / gap,
                _ => 0.0,
            }),
        };
        Self {
            places: numbers.iter().map(|(feature, column, _)| (*feature, *column)).collect(),
            knots: (0..KNOTS).map(knot).collect(),
            per_width: lanes(&|knots| 1.0 / span(knots).max(1.0)),
            half_per_span: lanes(&|knots| if span(knots) > 0.0 { 0.5 / span(knots) } else { 0.0 }),
            middle: lanes(&|knots| if span(knots) > 0.0 { 0.0 } else { 0.25 }),
        }
    }
}

/// Places one group, values in place.
struct Place<'a> {
    group: &'a Group,
    values: &'a mut Lanes,
}

impl WithSimd for Place<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "few knots")]
    fn with_simd<S: Simd>(self, simd: S) {
        self.values.0.iter_mut().for_each(|value| *value = log(*value));
        let [zero, half, one, beyond] = [0.0, 0.5, 1.0, BEYOND_MAX].map(|value| simd.splat_f32s(value));
        for from in (0..LANES).step_by(S::F32_LANES) {
            let load = |lanes: &Lanes| S::as_simd_f32s(&lanes.0[from..from + S::F32_LANES]).0[0];
            let value = load(self.values);
            let (mut passed, mut reached, mut low, mut per_gap) = (zero, zero, zero, zero);
            for (at, knot) in self.group.knots.iter().enumerate() {
                let count = simd.splat_f32s((at + 1) as f32);
                let is_passed = simd.less_than_f32s(load(&knot.to), value);
                passed = simd.select_f32s(is_passed, count, passed);
                low = simd.select_f32s(is_passed, load(&knot.value), low);
                per_gap = simd.select_f32s(is_passed, load(&knot.per_gap), per_gap);
                reached = simd.select_f32s(simd.less_than_or_equal_f32s(load(&knot.from), value), count, reached);
            }
            let between = simd.mul_add_e_f32s(simd.sub_f32s(value, low), per_gap, simd.sub_f32s(passed, one));
            let run = simd.mul_f32s(simd.sub_f32s(simd.add_f32s(passed, reached), one), half);
            let rank = simd.select_f32s(simd.less_than_f32s(passed, reached), run, between);
            let (first, last) = (&self.group.knots[0], &self.group.knots[KNOTS - 1]);
            let (per_width, half_per_span) = (load(&self.group.per_width), load(&self.group.half_per_span));
            let (after, before) = (simd.sub_f32s(value, load(&first.value)), simd.sub_f32s(load(&last.value), value));
            let distance = simd.mul_add_e_f32s(after, half_per_span, load(&self.group.middle));
            let inside = simd.mul_add_e_f32s(rank, simd.splat_f32s(0.5 / (KNOTS - 1) as f32), distance);
            let under = simd.max_f32s(simd.mul_f32s(after, per_width), simd.sub_f32s(zero, beyond));
            let over = simd.sub_f32s(one, simd.max_f32s(simd.mul_f32s(before, per_width), simd.sub_f32s(zero, beyond)));
            let placed = simd.select_f32s(simd.less_than_f32s(load(&last.to), value), over, inside);
            let placed = simd.select_f32s(simd.less_than_f32s(value, load(&first.from)), under, placed);
            S::as_mut_simd_f32s(&mut self.values.0[from..from + S::F32_LANES]).0[0] = placed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, knot by knot.
    fn plainly(value: f32, knots: &[f32]) -> f32 {
        let (first, last) = (knots[0], knots[KNOTS - 1]);
        let width = (last - first).max(1.0);
        let same = |knot: f32| SAME_SHARE * knot.abs() + SAME_MIN;
        if value < first - same(first) {
            return -((first - value) / width).min(BEYOND_MAX);
        }
        if value > last + same(last) {
            return 1.0 + ((value - last) / width).min(BEYOND_MAX);
        }
        let passed = knots.iter().filter(|knot| **knot + same(**knot) < value).count();
        let reached = knots.iter().filter(|knot| **knot - same(**knot) <= value).count();
        let rank = if passed == reached {
            (passed - 1) as f32 + (value - knots[passed - 1]) / (knots[passed] - knots[passed - 1])
        } else {
            (passed + reached - 1) as f32 / 2.0
        };
        0.5 * rank / (KNOTS - 1) as f32 + 0.5 * if last > first { (value - first) / (last - first) } else { 0.5 }
    }

    #[test]
    fn numbers_are_placed_as_knot_by_knot_and_the_last_digit_of_a_logarithm_does_not_matter() {
        let wide: Vec<f32> = (0..KNOTS).map(|at| log(if at < 9 { 0.0 } else { at.pow(3) as f32 })).collect();
        let constant = [log(1_460.0); KNOTS];
        let knots: Vec<&[f32]> = (0..20).map(|at| if at % 3 == 0 { &constant[..] } else { &wide[..] }).collect();
        let numbers: Vec<_> = knots.iter().enumerate().map(|(at, knots)| (19 - at, at, *knots)).collect();
        let numbers = Numbers::new(&numbers);
        for step in 0..3_000_u16 {
            let value = (f32::from(step) * 0.02 - 30.0).exp().min(1e18) * if step % 2 == 0 { 1.0 } else { -1.0 };
            for value in [value, f32::from(step), 1_460.0 * (1.0 + 3e-7)] {
                let mut out = [9.0; 20];
                numbers.place(&[value; 20], &mut out);
                for (got, knots) in out.iter().zip(&knots) {
                    let wanted = plainly(log(value), knots);
                    assert!((got - wanted).abs() < 2e-6, "{value}: {got}, not {wanted}");
                }
            }
        }
        let mut out = [9.0; 20];
        numbers.place(&[f32::NAN; 20], &mut out);
        assert!(out.iter().all(|value| value.is_nan()));
    }
}
