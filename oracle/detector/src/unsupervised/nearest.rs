//! The codebook as it is asked: rows by the block against panels of prototypes.
//!
//! Prototypes that lack the same columns stand together, so that most panels have nothing missing and a column costs a difference and its
//! square; where some of a panel lack a column, [`UNKNOWN`] counts for them. Differences, not products of squares: the distances of
//! ordinary flows are some hundred-thousandths of the squares. Guarantees: no allocation while judging; a row alone and among others gives
//! the same bits. Must not: be taught.

use pulp::{Arch, Simd, WithSimd};

use super::codebook::{Codebook, UNKNOWN};

/// Prototypes of a panel, each in a lane of its own.
const SIDE_BY_SIDE: usize = 32;
/// Registers of lanes at once; as many of the widest hold a panel.
const REGISTERS: usize = 2;
/// Rows at once, so that a panel is read once for all of them.
const ROWS: usize = 4;

/// A number per prototype of a panel.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Lanes([f32; SIDE_BY_SIDE]);

/// A column that some prototypes of a panel lack.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    column: usize,
    /// 0 where there is none.
    values: Lanes,
    /// Whether there is one, 1 or 0.
    known: Lanes,
    /// What counts instead, 0 where there is one.
    unknown: Lanes,
}

#[derive(Clone, Debug, PartialEq)]
struct Panel {
    /// Columns that all prototypes have.
    columns: Vec<usize>,
    /// Their values.
    whole: Vec<Lanes>,
    part: Vec<Part>,
}

/// The prototypes in panels.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Nearest {
    width: usize,
    panels: Vec<Panel>,
    /// Which prototype of the codebook stands at each place.
    order: Vec<usize>,
}

/// Room for rows on their way through.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    /// Least sum of squares of every row, lane by lane, and at which place.
    least: Vec<Lanes>,
    place: Vec<Lanes>,
    /// Rows with all values first.
    order: Vec<usize>,
}

impl Nearest {
    /// Of a codebook.
    pub(super) fn of(codebook: &Codebook, width: usize) -> Self {
        let prototypes = codebook.prototypes();
        let row = |at: usize| &prototypes[at * width..(at + 1) * width];
        let mut order: Vec<usize> = (0..codebook.count()).collect();
        order.sort_by_key(|at| row(*at).iter().map(|value| value.is_nan()).collect::<Vec<bool>>());
        let panel = |places: &[usize]| {
            // The last panel is filled up with its last prototype, which loses every tie against itself.
            let lanes = |column: usize| -> [f32; SIDE_BY_SIDE] {
                std::array::from_fn(|lane| row(places[lane.min(places.len() - 1)])[column])
            };
            let mut panel = Panel { columns: Vec::new(), whole: Vec::new(), part: Vec::new() };
            for column in 0..width {
                let values = lanes(column);
                if values.iter().all(|value| !value.is_nan()) {
                    panel.columns.push(column);
                    panel.whole.push(Lanes(values));
                    continue;
                }
                let either =
                    |known: f32, unknown: f32| Lanes(values.map(|value| if value.is_nan() { unknown } else { known }));
                let values = Lanes(values.map(|value| if value.is_nan() { 0.0 } else { value }));
                panel.part.push(Part { column, values, known: either(1.0, 0.0), unknown: either(0.0, UNKNOWN) });
            }
            panel
        };
        let panels = order.chunks(SIDE_BY_SIDE).map(panel).collect();
        Self { width, panels, order }
    }

    /// Room for so many rows.
    pub(super) fn room(rows: usize) -> Room {
        let lanes = vec![Lanes([0.0; SIDE_BY_SIDE]); rows];
        Room { least: lanes.clone(), place: lanes, order: vec![0; rows] }
    }

    /// The nearest prototype of each row and the sum of its square differences. Shapes: `values` (0 where missing) and `there` (1 or 0) rows ×
    /// `stride`, `out` rows.
    pub(super) fn find(&self, values: &[f32], there: &[f32], stride: usize, room: &mut Room, out: &mut [(usize, f32)]) {
        Arch::new().dispatch(Find { book: self, values, there, stride, room, out });
    }
}

struct Find<'a> {
    book: &'a Nearest,
    values: &'a [f32],
    there: &'a [f32],
    stride: usize,
    room: &'a mut Room,
    out: &'a mut [(usize, f32)],
}

impl WithSimd for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let rows = self.out.len();
        let complete = self.sort(rows);
        self.room.least[..rows].fill(Lanes([f32::INFINITY; SIDE_BY_SIDE]));
        for number in 0..self.book.panels.len() {
            self.sweep::<S, true>(simd, number, 0, complete);
            self.sweep::<S, false>(simd, number, complete, rows);
        }
        for row in 0..rows {
            self.out[row] = self.conclude(row);
        }
    }
}

impl Find<'_> {
    /// Puts rows with all values first. Gives how many they are.
    #[inline(always)]
    fn sort(&mut self, rows: usize) -> usize {
        let (mut first, mut last) = (0, rows);
        for row in 0..rows {
            let there = &self.there[row * self.stride..][..self.book.width];
            let complete = there.iter().fold(true, |complete, there| complete & (*there == 1.0));
            last -= usize::from(!complete);
            self.room.order[if complete { first } else { last }] = row;
            first += usize::from(complete);
        }
        first
    }

    /// The rows at places `at..end` against one panel.
    #[inline(always)]
    fn sweep<S: Simd, const COMPLETE: bool>(&mut self, simd: S, number: usize, mut at: usize, end: usize) {
        while end - at >= ROWS {
            self.compare::<S, ROWS, COMPLETE>(simd, number, at);
            at += ROWS;
        }
        while at < end {
            self.compare::<S, 1, COMPLETE>(simd, number, at);
            at += 1;
        }
    }

    /// Some rows against one panel.
    #[inline(always)]
    fn compare<S: Simd, const ROWS: usize, const COMPLETE: bool>(&mut self, simd: S, number: usize, at: usize) {
        let (width, panel) = (self.book.width, &self.book.panels[number]);
        let which: [usize; ROWS] = std::array::from_fn(|r| self.room.order[at + r]);
        let values: [&[f32]; ROWS] = which.map(|row| &self.values[row * self.stride..][..width]);
        let there: [&[f32]; ROWS] = which.map(|row| &self.there[row * self.stride..][..width]);
        for from in (0..SIDE_BY_SIDE).step_by(REGISTERS * S::F32_LANES) {
            let load = |lanes: &Lanes| -> [S::f32s; REGISTERS] {
                let (registers, _) = S::as_simd_f32s(&lanes.0[from..from + REGISTERS * S::F32_LANES]);
                std::array::from_fn(|v| registers[v])
            };
            let mut sums = [[simd.splat_f32s(0.0); REGISTERS]; ROWS];
            for (column, own) in panel.columns.iter().zip(&panel.whole) {
                let own = load(own);
                for r in 0..ROWS {
                    let (value, there) = (simd.splat_f32s(values[r][*column]), simd.splat_f32s(there[r][*column]));
                    for v in 0..REGISTERS {
                        let apart = if COMPLETE {
                            simd.sub_f32s(value, own[v])
                        } else {
                            simd.negate_mul_add_e_f32s(there, own[v], value)
                        };
                        sums[r][v] = simd.mul_add_e_f32s(apart, apart, sums[r][v]);
                    }
                }
            }
            for part in &panel.part {
                let (own, known, unknown) = (load(&part.values), load(&part.known), load(&part.unknown));
                for r in 0..ROWS {
                    let (value, there) =
                        (simd.splat_f32s(values[r][part.column]), simd.splat_f32s(there[r][part.column]));
                    for v in 0..REGISTERS {
                        let apart = simd.negate_mul_add_e_f32s(there, own[v], simd.mul_f32s(value, known[v]));
                        let sum = simd.mul_add_e_f32s(apart, apart, sums[r][v]);
                        sums[r][v] = simd.mul_add_e_f32s(there, unknown[v], sum);
                    }
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "few prototypes")]
            let place = simd.splat_f32s((number * SIDE_BY_SIDE) as f32);
            for (row, sums) in which.into_iter().zip(sums) {
                let lanes = from..from + REGISTERS * S::F32_LANES;
                let least = S::as_mut_simd_f32s(&mut self.room.least[row].0[lanes.clone()]).0;
                let places = S::as_mut_simd_f32s(&mut self.room.place[row].0[lanes]).0;
                for ((least, at), sum) in least.iter_mut().zip(places).zip(sums) {
                    let nearer = simd.less_than_f32s(sum, *least);
                    *least = simd.select_f32s(nearer, sum, *least);
                    *at = simd.select_f32s(nearer, place, *at);
                }
            }
        }
    }

    /// The nearest of the lanes of a row; of several, the one at the first place.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "places are small whole numbers"
    )]
    fn conclude(&self, row: usize) -> (usize, f32) {
        let (least, place) = (&self.room.least[row].0, &self.room.place[row].0);
        let lowest = fold(*least, f32::min);
        let mut places = [f32::INFINITY; SIDE_BY_SIDE];
        for lane in 0..SIDE_BY_SIDE {
            let at = place[lane] + lane as f32;
            places[lane] = if least[lane] == lowest { at } else { f32::INFINITY };
        }
        let first = (fold(places, f32::min) as usize).min(self.book.order.len() - 1);
        (self.book.order[first], lowest)
    }
}

/// Half against half, so that no step waits for more than the one before.
#[inline(always)]
fn fold(mut lanes: [f32; SIDE_BY_SIDE], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = SIDE_BY_SIDE / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::unsupervised::codebook::distance;

    #[test]
    fn the_nearest_is_the_one_of_least_distance_alone_and_among_others() {
        let (mut rng, width, stride) = (ChaCha8Rng::seed_from_u64(3), 21, 32);
        let mut value = |missing: f64| if rng.gen_bool(missing) { f32::NAN } else { rng.gen_range(-1.0..2.0) };
        let prototypes: Vec<f32> = (0..70 * width).map(|at| value(if at < 40 * width { 0.0 } else { 0.1 })).collect();
        let nearest = Nearest::of(&Codebook::from_prototypes(width, prototypes.clone()).unwrap(), width);
        let rows: Vec<f32> = (0..27 * stride).map(|at| value(if at < 9 * stride { 0.0 } else { 0.3 })).collect();
        let values: Vec<f32> = rows.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        let there: Vec<f32> = rows.iter().map(|value| f32::from(u8::from(!value.is_nan()))).collect();
        let mut out = [(0, 0.0); 27];
        nearest.find(&values, &there, stride, &mut Nearest::room(27), &mut out);
        for (number, row) in rows.chunks_exact(stride).enumerate() {
            let cells = number * stride..(number + 1) * stride;
            let mut alone = [(0, 0.0)];
            nearest.find(&values[cells.clone()], &there[cells], stride, &mut Nearest::room(1), &mut alone);
            assert_eq!(alone[0], out[number]);
            let row = &row[..width];
            let count = row.iter().filter(|value| !value.is_nan()).count() as f32;
            let apart: Vec<f32> = prototypes.chunks_exact(width).map(|own| distance(row, own) * count).collect();
            let least = apart.iter().copied().fold(f32::INFINITY, f32::min);
            assert!((out[number].1 - least).abs() <= 1e-6 * least && apart[out[number].0] <= least * 1.000_001);
        }
    }
}
