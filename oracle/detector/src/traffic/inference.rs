//! The trained network at work: one flow at a time, or one flow of each of many devices, without allocating.
//!
//! What the LSTMs read of a flow is projected once, when the flow comes, for both directions together, and kept in a ring per device
//! ([`Memory`]); judging the next flow costs the first layers of that flow and the recurrent steps. What the last layer reads lies side by
//! side in one row per flow (both states, hidden units, code), and each part is computed in its place. Guarantees: a flow judged alone and
//! in a batch gives the same numbers, bit for bit, whatever the other devices are; a device's memory is touched by that device's flows
//! alone; a new device's window is filled with its first flow, as in training. Must not: allocate while judging, or look at a flow that came
//! later.

use ndarray::Array2;

use super::autoencoder_bilstm::Shape;
use super::encoding::Encoding;
use super::first_layer::FirstLayer;
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::kernel::{self, Term};

/// Most devices judged in one go; longer batches are cut.
pub const BATCH_MAX: usize = 256;

/// Names of the LSTMs in a model file.
const DIRECTIONS: [&str; 2] = ["forward", "backward"];

/// A dense layer.
#[derive(Clone, Debug)]
struct Dense {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Inference {
    shape: Shape,
    encoding: Encoding,
    first: FirstLayer,
    code: Dense,
    /// Of both LSTMs: all gates of the one, then of the other; in a window of one flow gate by gate, and no forget gates.
    input: Dense,
    /// Per LSTM; empty in a window of one flow.
    recurrent: [Vec<f32>; 2],
    head: Dense,
}

/// What is remembered of a device: the projected flows of its window, as a ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Window × both directions × 4·units.
    gates: Box<[f32]>,
    /// Where the next flow goes, which is where the oldest lies.
    next: u8,
    begun: bool,
}

/// Room to compute in, made once.
#[derive(Clone, Debug)]
pub struct Scratch {
    batch: usize,
    terms: Vec<Term>,
    code: Vec<f32>,
    projected: Vec<f32>,
    /// Direction × rows × 4·units; so are cells and states, × units.
    gates: Vec<f32>,
    cells: Vec<f32>,
    states: Vec<f32>,
    /// Rows × (both states, hidden units, code).
    head: Vec<f32>,
    logits: Vec<f32>,
}

impl Dense {
    fn read(file: &ModelFile, name: &str, inputs: usize, outputs: usize) -> Result<Self, ModelFileError> {
        let weight = flat(file.tensor(&format!("{name}.weight"), [inputs, outputs])?);
        Ok(Self { weight, bias: flat(file.tensor(&format!("{name}.bias"), [1, outputs])?) })
    }

    /// Two layers on the same input, made one; `parts` names the layer and the columns of each next output.
    fn join(both: &[Self; 2], inputs: usize, parts: &[(usize, std::ops::Range<usize>)]) -> Self {
        let line = |row: usize, of: fn(&Self) -> &[f32]| {
            parts.iter().flat_map(move |(which, columns)| {
                let layer = &both[*which];
                let start = row * layer.bias.len();
                of(layer)[start + columns.start..start + columns.end].iter().copied()
            })
        };
        let weight = (0..inputs).flat_map(|row| line(row, |layer| &layer.weight)).collect();
        Self { weight, bias: line(0, |layer| &layer.bias).collect() }
    }

    fn apply(&self, x: &[f32], rows: usize, out: &mut [f32]) {
        kernel::dense(x, rows, &self.weight, &self.bias, out);
    }

    /// Of the rows that begin every `stride` numbers of `x`.
    fn apply_strided(&self, x: &[f32], stride: usize, out: &mut [f32]) {
        kernel::strided_dense(x, self.weight.len() / self.bias.len(), stride, &self.weight, &self.bias, out);
    }
}

fn flat(matrix: &Array2<f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}

/// Places of the gates that are needed where there is nothing to forget.
const INPUT: usize = 0;
const CANDIDATE: usize = 2;
const OUTPUT: usize = 3;

impl Inference {
    /// Reads the network of a model file.
    ///
    /// # Errors
    /// [`ModelFileError::Tensor`] when a matrix is missing or of another shape; [`ModelFileError::Foreign`] when the sizes are beyond
    /// their limits or do not fit the encoding.
    pub fn read(file: &ModelFile, shape: Shape, encoding: Encoding) -> Result<Self, ModelFileError> {
        if !shape.is_sound() || shape.inputs != encoding.width() {
            let reason = format!("sizes {shape:?} for {} encoded elements", encoding.width());
            return Err(ModelFileError::Foreign { reason });
        }
        let (input, recurrent) = match shape.units {
            0 => (Dense { weight: Vec::new(), bias: Vec::new() }, [Vec::new(), Vec::new()]),
            _ => Self::read_recurrent(file, &shape)?,
        };
        let hidden = flat(file.tensor("encoder.bias", [1, shape.hidden])?);
        Ok(Self {
            first: FirstLayer::new(&encoding, file.tensor("encoder.weight", [shape.inputs, shape.hidden])?, hidden),
            code: Dense::read(file, "code", shape.hidden, shape.code)?,
            input,
            recurrent,
            head: Dense::read(file, "head", shape.head(), shape.classes)?,
            shape,
            encoding,
        })
    }

    fn read_recurrent(file: &ModelFile, shape: &Shape) -> Result<(Dense, [Vec<f32>; 2]), ModelFileError> {
        let (units, gates) = (shape.units, 4 * shape.units);
        let input = |name: &str| Dense::read(file, &format!("{name}.input"), shape.read(), gates);
        let both = [input(DIRECTIONS[0])?, input(DIRECTIONS[1])?];
        if shape.window == 1 {
            let kept = [INPUT, CANDIDATE, OUTPUT].map(|gate| gate * units..(gate + 1) * units);
            let parts: Vec<_> = kept.into_iter().flat_map(|gate| [(0, gate.clone()), (1, gate)]).collect();
            return Ok((Dense::join(&both, shape.read(), &parts), [Vec::new(), Vec::new()]));
        }
        let recurrent = |name: &str| file.tensor(&format!("{name}.recurrent"), [units, gates]).map(flat);
        let recurrent = [recurrent(DIRECTIONS[0])?, recurrent(DIRECTIONS[1])?];
        Ok((Dense::join(&both, shape.read(), &[(0, 0..gates), (1, 0..gates)]), recurrent))
    }

    /// The sizes.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How rows are encoded.
    #[must_use]
    pub const fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Bytes of a device's [`Memory`], the ring and what manages it.
    #[must_use]
    pub const fn memory_bytes(shape: &Shape) -> usize {
        Self::ring(shape) * size_of::<f32>() + size_of::<Memory>()
    }

    /// Numbers in a device's ring; a window of one flow needs none.
    const fn ring(shape: &Shape) -> usize {
        if shape.window > 1 { shape.window * 8 * shape.units } else { 0 }
    }

    /// The memory of a device of which nothing was seen.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { gates: vec![0.0; Self::ring(&self.shape)].into(), next: 0, begun: false }
    }

    /// Room for up to `batch` devices at once, at most [`BATCH_MAX`].
    #[must_use]
    pub fn scratch(&self, batch: usize) -> Scratch {
        let batch = batch.clamp(1, BATCH_MAX);
        let shape = &self.shape;
        let room = |elements: usize| vec![0.0; batch * elements];
        Scratch {
            batch,
            terms: self.first.room(),
            code: room(shape.code),
            projected: room(self.input.bias.len()),
            gates: room(8 * shape.units),
            cells: room(2 * shape.units),
            states: room(2 * shape.units),
            head: room(shape.head()),
            logits: room(shape.classes),
        }
    }

    /// Judges one flow of each of some devices and remembers it. Shapes: `features` flows × columns, `which` the place in `memories` per
    /// flow, `out` flows × classes, the logits. A device that is named twice has its flows judged in the order in which they stand.
    ///
    /// # Panics
    /// When the lengths do not fit or a place does not exist.
    pub fn judge(
        &self,
        features: &[f32],
        memories: &mut [Memory],
        which: &[usize],
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let (columns, classes) = (self.encoding.columns().len(), self.shape.classes);
        assert!(features.len() == which.len() * columns && out.len() == which.len() * classes, "one row per flow");
        let mut done = 0;
        while done < which.len() {
            let most = (which.len() - done).min(scratch.batch);
            let group = &which[done..done + most];
            let count = if self.shape.window > 1 { distinct_prefix(group) } else { most };
            let group = &group[..count];
            self.judge_distinct(&features[done * columns..(done + count) * columns], memories, group, scratch);
            out[done * classes..(done + count) * classes].copy_from_slice(&scratch.logits[..count * classes]);
            done += count;
        }
    }

    fn judge_distinct(&self, features: &[f32], memories: &mut [Memory], which: &[usize], scratch: &mut Scratch) {
        let (shape, rows) = (&self.shape, which.len());
        let (width, states) = (shape.head(), 2 * shape.units);
        let encoded = states..states + shape.hidden;
        let head = &mut scratch.head[..rows * width];
        for (row, head) in features.chunks_exact(self.encoding.columns().len()).zip(head.chunks_exact_mut(width)) {
            self.first.apply(row, &mut scratch.terms, &mut head[encoded.clone()]);
        }
        let code = &mut scratch.code[..rows * shape.code];
        self.code.apply_strided(&head[states..], width, code);
        kernel::sigmoid(code);
        for (head, code) in head.chunks_exact_mut(width).zip(code.chunks_exact(shape.code)) {
            head[encoded.end..].copy_from_slice(code);
        }
        if shape.units > 0 {
            let projected = &mut scratch.projected[..rows * self.input.bias.len()];
            if shape.reads_hidden {
                self.input.apply_strided(&head[states..], width, projected);
            } else {
                self.input.apply(code, rows, projected);
            }
            if shape.window == 1 {
                kernel::lstm_first(projected, head, states, width);
            } else {
                self.remember(memories, which, scratch);
                self.run(memories, which, scratch);
            }
        }
        self.head.apply(&scratch.head[..rows * width], rows, &mut scratch.logits[..rows * shape.classes]);
    }

    /// Keeps what the LSTMs read of the new flows; a new device's whole window is its first flow.
    fn remember(&self, memories: &mut [Memory], which: &[usize], scratch: &Scratch) {
        let window = self.shape.window;
        let both = 8 * self.shape.units;
        for (place, projected) in which.iter().zip(scratch.projected.chunks_exact(both)) {
            let memory = &mut memories[*place];
            let next = usize::from(memory.next);
            let slots = if memory.begun { next..next + 1 } else { 0..window };
            for slot in slots {
                memory.gates[slot * both..(slot + 1) * both].copy_from_slice(projected);
            }
            memory.begun = true;
            memory.next = u8::try_from((next + 1) % window).expect("a window is short");
        }
    }

    /// Runs the LSTMs over the windows, step by step together, as neither waits for the other: forward from the oldest flow to the new one,
    /// backward the other way round.
    fn run(&self, memories: &[Memory], which: &[usize], scratch: &mut Scratch) {
        let (shape, rows) = (&self.shape, which.len());
        let (units, gates) = (shape.units, 4 * shape.units);
        let states = &mut scratch.states[..2 * rows * units];
        let cells = &mut scratch.cells[..2 * rows * units];
        cells.fill(0.0);
        let now = &mut scratch.gates[..2 * rows * gates];
        for step in 0..shape.window {
            let ages = [step, shape.window - 1 - step];
            let of_each = now.chunks_exact_mut(rows * gates).zip(states.chunks_exact(rows * units));
            for (direction, (now, state)) in of_each.enumerate() {
                let projected = |place: usize| {
                    let memory = &memories[place];
                    let slot = (usize::from(memory.next) + ages[direction]) % shape.window;
                    let start = (2 * slot + direction) * gates;
                    &memory.gates[start..start + gates]
                };
                let recurrent = &self.recurrent[direction];
                // One flow needs no copy to add to.
                if let ([place], true) = (which, step > 0) {
                    kernel::dense(state, 1, recurrent, projected(*place), now);
                    continue;
                }
                for (place, now) in which.iter().zip(now.chunks_exact_mut(gates)) {
                    now.copy_from_slice(projected(*place));
                }
                if step > 0 {
                    kernel::dense_add(state, rows, recurrent, now);
                }
            }
            kernel::lstm_serve(now, cells, states, units);
        }
        for (direction, states) in states.chunks_exact(rows * units).enumerate() {
            for (head, state) in scratch.head.chunks_exact_mut(shape.head()).zip(states.chunks_exact(units)) {
                head[direction * units..(direction + 1) * units].copy_from_slice(state);
            }
        }
    }
}

/// How many places stand before the first that repeats.
fn distinct_prefix(places: &[usize]) -> usize {
    (1..places.len()).find(|end| places[..*end].contains(&places[*end])).unwrap_or(places.len())
}
