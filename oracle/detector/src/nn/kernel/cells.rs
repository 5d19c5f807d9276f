//! Recurrent cells, for training with the activated gates left behind, for serving without and with fewer divisions.
//!
//! tanh is a rational function, N / Q, and sigmoid(x) = (1 + tanh(x/2)) / 2 = (Q + N) / 2Q, so that gates which are multiplied share one
//! division: serving an LSTM step takes two of them instead of five. Both ways agree within 1e-6. Guarantees: no allocation; a row alone and
//! in a batch gives the same bits. Must not: panic on any value; NaN stays NaN.

use pulp::{Arch, Simd, WithSimd};

/// One step of a long short-term memory (Hochreiter, Schmidhuber 1997, with forget gate), in place. Shapes: `gates` rows × 4·units,
/// pre-activations of input, forget, candidate and output gate, left activated; `cell` and `hidden` rows × units.
///
/// # Panics
/// When the lengths do not fit.
pub fn lstm_cell(gates: &mut [f32], cell: &mut [f32], hidden: &mut [f32], units: usize) {
    lstm::<true>(gates, cell, hidden, units);
}

/// As [`lstm_cell`], for serving: what is left in `gates` has no meaning.
///
/// # Panics
/// When the lengths do not fit.
pub fn lstm_serve(gates: &mut [f32], cell: &mut [f32], hidden: &mut [f32], units: usize) {
    lstm::<false>(gates, cell, hidden, units);
}

/// The first step of an LSTM, from nothing, for serving: there is nothing to forget. Shapes: `gates` rows × 3·units, pre-activations of
/// input, candidate and output gate; `hidden` rows × `stride`, of each the first `units` are overwritten.
///
/// # Panics
/// When the lengths do not fit.
pub fn lstm_first(gates: &[f32], hidden: &mut [f32], units: usize, stride: usize) {
    assert!(units <= stride && gates.len() * stride == 3 * units * hidden.len(), "gates are rows × 3·units");
    if units > 0 {
        Arch::new().dispatch(LstmFirst { gates, hidden, units, stride });
    }
}

/// One step of a gated recurrent unit (Cho et al. 2014, reset after the product), in place. Shapes: `x_gates` and `h_gates` rows × 3·units,
/// pre-activations of reset, update and candidate from the input and from the hidden state, left activated in `x_gates`; `hidden` rows ×
/// units.
///
/// # Panics
/// When the lengths do not fit.
pub fn gru_cell(x_gates: &mut [f32], h_gates: &[f32], hidden: &mut [f32], units: usize) {
    gru::<true>(x_gates, h_gates, hidden, units);
}

/// As [`gru_cell`], for serving: what is left in `x_gates` has no meaning.
///
/// # Panics
/// When the lengths do not fit.
pub fn gru_serve(x_gates: &mut [f32], h_gates: &[f32], hidden: &mut [f32], units: usize) {
    gru::<false>(x_gates, h_gates, hidden, units);
}

fn lstm<const KEEP: bool>(gates: &mut [f32], cell: &mut [f32], hidden: &mut [f32], units: usize) {
    assert!(cell.len() == hidden.len() && gates.len() == 4 * cell.len(), "gates are rows × 4·units");
    if units > 0 {
        Arch::new().dispatch(Lstm::<KEEP> { gates, cell, hidden, units });
    }
}

fn gru<const KEEP: bool>(x_gates: &mut [f32], h_gates: &[f32], hidden: &mut [f32], units: usize) {
    assert!(x_gates.len() == h_gates.len() && x_gates.len() == 3 * hidden.len(), "gates are rows × 3·units");
    if units > 0 {
        Arch::new().dispatch(Gru::<KEEP> { x_gates, h_gates, hidden, units });
    }
}

struct Lstm<'a, const KEEP: bool> {
    gates: &'a mut [f32],
    cell: &'a mut [f32],
    hidden: &'a mut [f32],
    units: usize,
}

impl<const KEEP: bool> WithSimd for Lstm<'_, KEEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let units = self.units;
        let rows = self.cell.chunks_exact_mut(units).zip(self.hidden.chunks_exact_mut(units));
        for (gates, (cell, hidden)) in self.gates.chunks_exact_mut(4 * units).zip(rows) {
            let (input, rest) = gates.split_at_mut(units);
            let (forget, rest) = rest.split_at_mut(units);
            let (candidate, output) = rest.split_at_mut(units);
            let (inputs, input) = S::as_mut_simd_f32s(input);
            let (forgets, forget) = S::as_mut_simd_f32s(forget);
            let (candidates, candidate) = S::as_mut_simd_f32s(candidate);
            let (outputs, output) = S::as_mut_simd_f32s(output);
            let (cells, cell) = S::as_mut_simd_f32s(cell);
            let (hiddens, hidden) = S::as_mut_simd_f32s(hidden);
            let gates = inputs.iter_mut().zip(forgets).zip(candidates.iter_mut().zip(outputs));
            for (((input, forget), (candidate, output)), (cell, hidden)) in gates.zip(cells.iter_mut().zip(hiddens)) {
                let mut lanes = [*input, *forget, *candidate, *output];
                (*cell, *hidden) = lstm_lanes::<S, KEEP>(simd, &mut lanes, *cell);
                if KEEP {
                    [*input, *forget, *candidate, *output] = lanes;
                }
            }
            if !cell.is_empty() {
                let gates = [input, forget, candidate, output];
                let mut lanes = [&*gates[0], gates[1], gates[2], gates[3]].map(|gate| simd.partial_load_f32s(gate));
                let (new_cell, new_hidden) = lstm_lanes::<S, KEEP>(simd, &mut lanes, simd.partial_load_f32s(cell));
                simd.partial_store_f32s(cell, new_cell);
                simd.partial_store_f32s(hidden, new_hidden);
                if KEEP {
                    gates.into_iter().zip(lanes).for_each(|(gate, lanes)| simd.partial_store_f32s(gate, lanes));
                }
            }
        }
    }
}

/// Gates input, forget, candidate, output and the cell before; gives the new cell and the new hidden state.
#[inline(always)]
fn lstm_lanes<S: Simd, const KEEP: bool>(simd: S, gates: &mut [S::f32s; 4], cell: S::f32s) -> (S::f32s, S::f32s) {
    let half = simd.splat_f32s(0.5);
    let (input_n, input_q) = tanh_parts(simd, simd.mul_f32s(gates[0], half));
    let (forget_n, forget_q) = tanh_parts(simd, simd.mul_f32s(gates[1], half));
    let (candidate_n, candidate_q) = tanh_parts(simd, gates[2]);
    let (output_n, output_q) = tanh_parts(simd, simd.mul_f32s(gates[3], half));
    if KEEP {
        let sigmoid = |n, q| simd.mul_add_e_f32s(half, simd.div_f32s(n, q), half);
        let [input, forget] = [sigmoid(input_n, input_q), sigmoid(forget_n, forget_q)];
        let [candidate, output] = [simd.div_f32s(candidate_n, candidate_q), sigmoid(output_n, output_q)];
        *gates = [input, forget, candidate, output];
        let cell = simd.mul_add_e_f32s(forget, cell, simd.mul_f32s(input, candidate));
        let (n, q) = tanh_parts(simd, cell);
        return (cell, simd.mul_f32s(output, simd.div_f32s(n, q)));
    }
    let both_q = simd.mul_f32s(input_q, candidate_q);
    let kept = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(forget_q, forget_n), cell), both_q);
    let written = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(input_q, input_n), candidate_n), forget_q);
    let cell = simd.mul_f32s(half, simd.div_f32s(simd.add_f32s(kept, written), simd.mul_f32s(both_q, forget_q)));
    let (cell_n, cell_q) = tanh_parts(simd, cell);
    let shown = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(output_q, output_n), half), cell_n);
    (cell, simd.div_f32s(shown, simd.mul_f32s(output_q, cell_q)))
}

struct LstmFirst<'a> {
    gates: &'a [f32],
    hidden: &'a mut [f32],
    units: usize,
    stride: usize,
}

impl WithSimd for LstmFirst<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let units = self.units;
        for (gates, hidden) in self.gates.chunks_exact(3 * units).zip(self.hidden.chunks_exact_mut(self.stride)) {
            let gates = [&gates[..units], &gates[units..2 * units], &gates[2 * units..]];
            let [inputs, candidates, outputs] = gates.map(|gate| S::as_simd_f32s(gate));
            let (hiddens, hidden) = S::as_mut_simd_f32s(&mut hidden[..units]);
            for (((input, candidate), output), hidden) in inputs.0.iter().zip(candidates.0).zip(outputs.0).zip(hiddens)
            {
                *hidden = lstm_first_lanes(simd, [*input, *candidate, *output]);
            }
            if !hidden.is_empty() {
                let gates = [inputs.1, candidates.1, outputs.1].map(|gate| simd.partial_load_f32s(gate));
                simd.partial_store_f32s(hidden, lstm_first_lanes(simd, gates));
            }
        }
    }
}

/// Gates input, candidate, output; gives the hidden state.
#[inline(always)]
fn lstm_first_lanes<S: Simd>(simd: S, gates: [S::f32s; 3]) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    let (input_n, input_q) = tanh_parts(simd, simd.mul_f32s(gates[0], half));
    let (candidate_n, candidate_q) = tanh_parts(simd, gates[1]);
    let (output_n, output_q) = tanh_parts(simd, simd.mul_f32s(gates[2], half));
    let written = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(input_q, input_n), half), candidate_n);
    let (cell_n, cell_q) = tanh_parts(simd, simd.div_f32s(written, simd.mul_f32s(input_q, candidate_q)));
    let shown = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(output_q, output_n), half), cell_n);
    simd.div_f32s(shown, simd.mul_f32s(output_q, cell_q))
}

struct Gru<'a, const KEEP: bool> {
    x_gates: &'a mut [f32],
    h_gates: &'a [f32],
    hidden: &'a mut [f32],
    units: usize,
}

impl<const KEEP: bool> WithSimd for Gru<'_, KEEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let units = self.units;
        let rows = self.x_gates.chunks_exact_mut(3 * units).zip(self.h_gates.chunks_exact(3 * units));
        for ((x, h), hidden) in rows.zip(self.hidden.chunks_exact_mut(units)) {
            let (reset, rest) = x.split_at_mut(units);
            let (update, candidate) = rest.split_at_mut(units);
            let x = [reset, update, candidate].map(|gate| S::as_mut_simd_f32s(gate));
            let h = [&h[..units], &h[units..2 * units], &h[2 * units..]].map(|gate| S::as_simd_f32s(gate));
            let (hiddens, hidden) = S::as_mut_simd_f32s(hidden);
            let [(resets, reset), (updates, update), (candidates, candidate)] = x;
            let x = resets.iter_mut().zip(updates).zip(candidates);
            let h_whole = h[0].0.iter().zip(h[1].0).zip(h[2].0);
            for ((((reset, update), candidate), ((h_reset, h_update), h_candidate)), hidden) in
                x.zip(h_whole).zip(hiddens)
            {
                let mut lanes = [*reset, *update, *candidate];
                *hidden = gru_lanes::<S, KEEP>(simd, &mut lanes, [*h_reset, *h_update, *h_candidate], *hidden);
                if KEEP {
                    [*reset, *update, *candidate] = lanes;
                }
            }
            if !hidden.is_empty() {
                let gates = [reset, update, candidate];
                let mut lanes = [&*gates[0], gates[1], gates[2]].map(|gate| simd.partial_load_f32s(gate));
                let h = h.map(|gate| simd.partial_load_f32s(gate.1));
                let new = gru_lanes::<S, KEEP>(simd, &mut lanes, h, simd.partial_load_f32s(hidden));
                simd.partial_store_f32s(hidden, new);
                if KEEP {
                    gates.into_iter().zip(lanes).for_each(|(gate, lanes)| simd.partial_store_f32s(gate, lanes));
                }
            }
        }
    }
}

/// Gates reset, update, candidate from the input and from the state, and the state before; gives the new state.
#[inline(always)]
fn gru_lanes<S: Simd, const KEEP: bool>(simd: S, x: &mut [S::f32s; 3], h: [S::f32s; 3], hidden: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    // Calls, not a closure: one that is used twice need not be inlined and then runs without the instructions that were chosen.
    let (reset_n, reset_q) = tanh_parts(simd, simd.mul_f32s(simd.add_f32s(x[0], h[0]), half));
    let (update_n, update_q) = tanh_parts(simd, simd.mul_f32s(simd.add_f32s(x[1], h[1]), half));
    let reset = simd.mul_add_e_f32s(half, simd.div_f32s(reset_n, reset_q), half);
    let (new_n, new_q) = tanh_parts(simd, simd.mul_add_e_f32s(reset, h[2], x[2]));
    if KEEP {
        let update = simd.mul_add_e_f32s(half, simd.div_f32s(update_n, update_q), half);
        let new = simd.div_f32s(new_n, new_q);
        *x = [reset, update, new];
        return simd.mul_add_e_f32s(update, simd.sub_f32s(hidden, new), new);
    }
    let new = simd.mul_f32s(simd.sub_f32s(update_q, update_n), new_n);
    let old = simd.mul_f32s(simd.mul_f32s(simd.add_f32s(update_q, update_n), hidden), new_q);
    simd.mul_f32s(half, simd.div_f32s(simd.add_f32s(new, old), simd.mul_f32s(update_q, new_q)))
}

/// Numerator and denominator of tanh, the denominator positive. Beyond ±7.9 tanh is 1 to the last bit, so larger values are cut there.
/// Source of the rational function: Eigen, `generic_fast_tanh_float`.
#[inline(always)]
fn tanh_parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let at = |value: f32| simd.splat_f32s(value);
    // The bound comes first: of a comparison with NaN the second operand is taken.
    let x = simd.max_f32s(at(-7.905_311), simd.min_f32s(at(7.905_311), x));
    let square = simd.mul_f32s(x, x);
    let n = simd.mul_add_e_f32s(square, at(-2.760_768_5e-16), at(2.000_188e-13));
    let n = simd.mul_add_e_f32s(square, n, at(-8.604_672e-11));
    let n = simd.mul_add_e_f32s(square, n, at(5.122_297e-8));
    let n = simd.mul_add_e_f32s(square, n, at(1.485_722_4e-5));
    let n = simd.mul_add_e_f32s(square, n, at(6.372_619_4e-4));
    let n = simd.mul_add_e_f32s(square, n, at(4.893_524_6e-3));
    let q = simd.mul_add_e_f32s(square, at(1.198_258_4e-6), at(1.185_347_1e-4));
    let q = simd.mul_add_e_f32s(square, q, at(2.268_434_6e-3));
    let q = simd.mul_add_e_f32s(square, q, at(4.893_525e-3));
    (simd.mul_f32s(x, n), q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32, scale: f32) -> Vec<f32> {
        let hash = |at: u32| (at ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519);
        (0..count).map(|at| scale * (hash(u32::try_from(at).unwrap()) as f32 / u32::MAX as f32 - 0.5)).collect()
    }

    fn sigmoid(x: f32) -> f64 {
        1.0 / (1.0 + (-f64::from(x)).exp())
    }

    #[test]
    fn both_ways_are_the_textbook_lstm_for_any_number_of_units() {
        for units in [1, 7, 8, 15, 16, 17, 48, 50] {
            let (gates, cell) = (numbers(3 * 4 * units, 1, 24.0), numbers(3 * units, 2, 8.0));
            let (mut kept, mut trained, mut shown) = (gates.clone(), cell.clone(), vec![0.0; 3 * units]);
            lstm_cell(&mut kept, &mut trained, &mut shown, units);
            let (mut spent, mut served, mut served_shown) = (gates.clone(), cell.clone(), vec![0.0; 3 * units]);
            lstm_serve(&mut spent, &mut served, &mut served_shown, units);
            for at in 0..3 * units {
                let gate = |which: usize| gates[at / units * 4 * units + which * units + at % units];
                let candidate = f64::from(gate(2)).tanh();
                let new = sigmoid(gate(1)) * f64::from(cell[at]) + sigmoid(gate(0)) * candidate;
                let hidden = sigmoid(gate(3)) * new.tanh();
                for (got, wanted) in
                    [(trained[at], new), (served[at], new), (shown[at], hidden), (served_shown[at], hidden)]
                {
                    assert!((f64::from(got) - wanted).abs() < 2e-6, "{units} units: {got} for {wanted}");
                }
                let kept = kept[at / units * 4 * units + units + at % units];
                assert!((f64::from(kept) - sigmoid(gate(1))).abs() < 1e-6, "the forget gate is left activated");
            }
        }
    }

    #[test]
    fn a_first_step_is_a_step_from_an_empty_cell() {
        for units in [1, 8, 16, 17, 48, 96] {
            let (rows, stride) = (3, units + 5);
            let gates = numbers(rows * 4 * units, 6, 16.0);
            let first: Vec<f32> =
                gates.chunks(4 * units).flat_map(|row| [&row[..units], &row[2 * units..]].concat()).collect();
            let mut wanted = vec![0.0; rows * units];
            lstm_serve(&mut gates.clone(), &mut vec![0.0; rows * units], &mut wanted, units);
            let mut got = vec![9.0; rows * stride];
            lstm_first(&first, &mut got, units, stride);
            for (wanted, got) in wanted.chunks(units).zip(got.chunks(stride)) {
                assert!(wanted.iter().zip(got).all(|(wanted, got)| (wanted - got).abs() < 1e-6), "{units} units");
                assert!(got[units..].iter().all(|beside| *beside == 9.0), "nothing beside the state is touched");
            }
        }
    }

    #[test]
    fn both_ways_are_the_textbook_gru_for_any_number_of_units() {
        for units in [1, 8, 17, 32, 50] {
            let (x, h) = (numbers(2 * 3 * units, 3, 16.0), numbers(2 * 3 * units, 4, 8.0));
            let before = numbers(2 * units, 5, 2.0);
            let (mut kept, mut trained, mut spent, mut served) = (x.clone(), before.clone(), x.clone(), before.clone());
            gru_cell(&mut kept, &h, &mut trained, units);
            gru_serve(&mut spent, &h, &mut served, units);
            for at in 0..2 * units {
                let place = |which: usize| at / units * 3 * units + which * units + at % units;
                let (reset, update) = (sigmoid(x[place(0)] + h[place(0)]), sigmoid(x[place(1)] + h[place(1)]));
                let new = (f64::from(x[place(2)]) + reset * f64::from(h[place(2)])).tanh();
                let wanted = (1.0 - update) * new + update * f64::from(before[at]);
                for got in [trained[at], served[at]] {
                    assert!((f64::from(got) - wanted).abs() < 2e-6, "{units} units: {got} for {wanted}");
                }
                assert!((f64::from(kept[place(2)]) - new).abs() < 2e-6, "the candidate is left activated");
            }
        }
    }

    #[test]
    fn nan_stays_with_its_row_and_huge_values_saturate() {
        let units = 16;
        let mut gates = vec![f32::MAX; 2 * 4 * units];
        gates[4 * units..].fill(f32::NAN);
        let (mut cell, mut hidden) = (vec![1.0; 2 * units], vec![0.0; 2 * units]);
        lstm_serve(&mut gates, &mut cell, &mut hidden, units);
        assert!(cell[..units].iter().all(|value| (value - 2.0).abs() < 1e-5));
        assert!(hidden[..units].iter().all(|value| (value - 2.0_f32.tanh()).abs() < 1e-5));
        assert!(cell[units..].iter().chain(&hidden[units..]).all(|value| value.is_nan()));
    }
}
