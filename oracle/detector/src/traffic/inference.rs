//! The trained network at work: one flow at a time, or one flow of each of many devices, without allocating.
//!
//! What the LSTMs read of a flow is projected once, when the flow comes, and kept in a ring per device ([`Memory`]); judging the next flow
//! costs the encoding of that flow and the recurrent steps. Guarantees: a flow judged alone and in a batch gives the same numbers, bit for
//! bit, whatever the other devices are; a device's memory is touched by that device's flows alone; a new device's window is filled with its
//! first flow, as in training. Must not: allocate while judging, or look at a flow that came later.

use ndarray::Array2;

use super::autoencoder_bilstm::Shape;
use super::encoding::Encoding;
use crate::model_file::{ModelFile, ModelFileError};
use crate::nn::kernel;

/// Most devices judged in one go; longer batches are cut.
pub const BATCH_MAX: usize = 256;

/// A dense layer.
#[derive(Clone, Debug)]
struct Dense {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// One LSTM.
#[derive(Clone, Debug)]
struct Direction {
    input: Dense,
    recurrent: Vec<f32>,
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Inference {
    shape: Shape,
    encoding: Encoding,
    encoder: Dense,
    code: Dense,
    directions: [Direction; 2],
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
    flows: Vec<f32>,
    hidden: Vec<f32>,
    code: Vec<f32>,
    read: Vec<f32>,
    projected: Vec<f32>,
    gates: Vec<f32>,
    cell: Vec<f32>,
    states: [Vec<f32>; 2],
    head: Vec<f32>,
    logits: Vec<f32>,
}

impl Dense {
    fn read(file: &ModelFile, name: &str, inputs: usize, outputs: usize) -> Result<Self, ModelFileError> {
        let weight = flat(file.tensor(&format!("{name}.weight"), [inputs, outputs])?);
        Ok(Self { weight, bias: flat(file.tensor(&format!("{name}.bias"), [1, outputs])?) })
    }

    fn apply(&self, x: &[f32], rows: usize, out: &mut [f32]) {
        kernel::dense(x, rows, &self.weight, &self.bias, out);
    }
}

fn flat(matrix: &Array2<f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}

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
        let gates = 4 * shape.units;
        let direction = |name: &str| -> Result<Direction, ModelFileError> {
            if shape.units == 0 {
                return Ok(Direction { input: Dense { weight: Vec::new(), bias: Vec::new() }, recurrent: Vec::new() });
            }
            let input = Dense::read(file, &format!("{name}.input"), shape.read(), gates)?;
            let recurrent = if shape.window > 1 {
                flat(file.tensor(&format!("{name}.recurrent"), [shape.units, gates])?)
            } else {
                Vec::new()
            };
            Ok(Direction { input, recurrent })
        };
        Ok(Self {
            encoder: Dense::read(file, "encoder", shape.inputs, shape.hidden)?,
            code: Dense::read(file, "code", shape.hidden, shape.code)?,
            directions: [direction("forward")?, direction("backward")?],
            head: Dense::read(file, "head", shape.head(), shape.classes)?,
            shape,
            encoding,
        })
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
            flows: room(shape.inputs),
            hidden: room(shape.hidden),
            code: room(shape.code),
            read: room(shape.read()),
            projected: room(4 * shape.units),
            gates: room(4 * shape.units),
            cell: room(shape.units),
            states: [room(shape.units), room(shape.units)],
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
        let columns = self.encoding.columns().len();
        let flows = &mut scratch.flows[..rows * shape.inputs];
        for (row, flow) in features.chunks_exact(columns).zip(flows.chunks_exact_mut(shape.inputs)) {
            self.encoding.encode(row, flow);
        }
        let hidden = &mut scratch.hidden[..rows * shape.hidden];
        self.encoder.apply(flows, rows, hidden);
        kernel::relu(hidden);
        let code = &mut scratch.code[..rows * shape.code];
        self.code.apply(hidden, rows, code);
        kernel::sigmoid(code);
        if shape.units > 0 {
            for direction in 0..2 {
                self.project(direction, memories, which, scratch);
                self.run(direction, memories, which, scratch);
            }
        }
        if shape.window > 1 && shape.units > 0 {
            for place in which {
                let memory = &mut memories[*place];
                memory.begun = true;
                memory.next = u8::try_from((usize::from(memory.next) + 1) % shape.window).expect("a window is short");
            }
        }
        self.conclude(rows, scratch);
    }

    /// Projects what an LSTM reads of the new flows, and remembers it.
    fn project(&self, direction: usize, memories: &mut [Memory], which: &[usize], scratch: &mut Scratch) {
        let (shape, rows) = (&self.shape, which.len());
        let gates = 4 * shape.units;
        let read = if shape.reads_hidden {
            let pairs = scratch.hidden.chunks_exact(shape.hidden).zip(scratch.code.chunks_exact(shape.code));
            for (read, (hidden, code)) in scratch.read.chunks_exact_mut(shape.read()).zip(pairs).take(rows) {
                read[..shape.hidden].copy_from_slice(hidden);
                read[shape.hidden..].copy_from_slice(code);
            }
            &scratch.read[..rows * shape.read()]
        } else {
            &scratch.code[..rows * shape.code]
        };
        let projected = &mut scratch.projected[..rows * gates];
        self.directions[direction].input.apply(read, rows, projected);
        if shape.window == 1 {
            return;
        }
        for (place, projected) in which.iter().zip(projected.chunks_exact(gates)) {
            let memory = &mut memories[*place];
            let slots =
                if memory.begun { usize::from(memory.next)..usize::from(memory.next) + 1 } else { 0..shape.window };
            for slot in slots {
                let start = (2 * slot + direction) * gates;
                memory.gates[start..start + gates].copy_from_slice(projected);
            }
        }
    }

    /// Runs an LSTM over the windows: forward from the oldest flow to the new one, backward the other way round.
    fn run(&self, direction: usize, memories: &[Memory], which: &[usize], scratch: &mut Scratch) {
        let (shape, rows) = (&self.shape, which.len());
        let (units, gates) = (shape.units, 4 * shape.units);
        let state = &mut scratch.states[direction][..rows * units];
        let cell = &mut scratch.cell[..rows * units];
        cell.fill(0.0);
        let now = &mut scratch.gates[..rows * gates];
        for step in 0..shape.window {
            if shape.window == 1 {
                now.copy_from_slice(&scratch.projected[..rows * gates]);
            } else {
                let age = if direction == 0 { step } else { shape.window - 1 - step };
                for (place, now) in which.iter().zip(now.chunks_exact_mut(gates)) {
                    let memory = &memories[*place];
                    let slot = (usize::from(memory.next) + 1 + age) % shape.window;
                    let start = (2 * slot + direction) * gates;
                    now.copy_from_slice(&memory.gates[start..start + gates]);
                }
            }
            if step > 0 {
                kernel::dense_add(state, rows, &self.directions[direction].recurrent, now);
            }
            kernel::lstm_serve(now, cell, state, units);
        }
    }

    fn conclude(&self, rows: usize, scratch: &mut Scratch) {
        let shape = &self.shape;
        let (units, hidden) = (shape.units, shape.hidden);
        for (row, head) in scratch.head.chunks_exact_mut(shape.head()).take(rows).enumerate() {
            for (direction, state) in scratch.states.iter().enumerate() {
                head[direction * units..(direction + 1) * units]
                    .copy_from_slice(&state[row * units..(row + 1) * units]);
            }
            head[2 * units..2 * units + hidden].copy_from_slice(&scratch.hidden[row * hidden..(row + 1) * hidden]);
            head[2 * units + hidden..].copy_from_slice(&scratch.code[row * shape.code..(row + 1) * shape.code]);
        }
        let head = &scratch.head[..rows * shape.head()];
        self.head.apply(head, rows, &mut scratch.logits[..rows * shape.classes]);
    }
}

/// How many places stand before the first that repeats.
fn distinct_prefix(places: &[usize]) -> usize {
    (1..places.len()).find(|end| places[..*end].contains(&places[*end])).unwrap_or(places.len())
}
