//! Trains the beat model on patients, and chooses everything that is not a weight on patients left out.
//!
//! Beats are drawn evenly by class and, within a class, by the root of each record's count, so that one patient's many beats do not stand
//! for the class; made-up rhythms of the same beats join them ([`super::synthetic`]); signals are shifted, scaled and roughened and whole inputs dropped, so that no patient is learnt by heart. Shift, temperature
//! and decision factors come from the training patients alone: five folds of whole records, each judged by a network that never saw them.
//! Guarantees: the same seed gives the same weights. Must not: see a test record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::context::{BeatContext, BeatInput, CHANNELS, CONTEXT, WINDOW};
use super::model::{BEAT_MODEL, BeatModel, BeatSettings, LeftOut, SUPRAVENTRICULAR, VENTRICULAR};
use super::net::{BEAT_CLASSES, BeatNet, Member, Scaler, forward};
use super::synthetic::{is_made_up, make_up, source_record};
use crate::catalogue::{TrainError, TrainOptions};
use crate::data::folds::grouped_stratified_folds;
use crate::data::mitdb::Beat;
use crate::measure::Temperature;
use crate::model_file::{DataSource, Metadata, ModelFile};
use crate::nn::{Schedule, Tape, Var, fit, generator};
use crate::progress::Progress;

/// Networks that are averaged.
const MEMBERS: usize = 3;
/// Folds of records that choose calibration and decision.
const FOLDS: u8 = 5;
/// Passes, of [`DRAWN`] beats each.
const EPOCHS: usize = 14;
const DRAWN: usize = 10_240;
/// Made-up records per record; one weighs as much in the draw as a real one.
const VARIANTS: u32 = 4;
/// Share of each class among the drawn beats.
const SHARES: [f32; 5] = [0.46, 0.24, 0.24, 0.055, 0.005];
/// Factors that are tried for the decision, of S and of V.
const FACTORS: [f32; 10] = [0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0];

/// Beats with their descriptions, in order.
pub(super) struct Described {
    pub(super) beats: Vec<Beat>,
    pub(super) inputs: Vec<BeatInput>,
}

impl Described {
    /// Describes beats in order of record and time, each record by its own past.
    pub(super) fn new(beats: Vec<Beat>) -> Self {
        let mut context = BeatContext::new();
        let mut record = None;
        let mut inputs = Vec::with_capacity(beats.len());
        for beat in &beats {
            if record.replace(beat.record) != Some(beat.record) {
                context = BeatContext::new();
            }
            inputs.push(context.observe(&beat.window, beat.rr_prev_s).complete(beat.rr_next_s));
        }
        Self { beats, inputs }
    }
}

/// The beats that train: real ones, then the made-up ones of the same records.
pub(super) struct TrainingBeats {
    pub(super) data: Described,
    /// Fold per beat, by whole records; made-up beats go with the record that they come from, and are never tested.
    pub(super) folds: Vec<u8>,
    /// How many are real.
    pub(super) real: usize,
}

impl TrainingBeats {
    /// # Errors
    /// [`TrainError::Unsuitable`] when a record has the number of a made-up one, or there are too few.
    pub(super) fn new(mut beats: Vec<Beat>, seed: u64) -> Result<Self, TrainError> {
        if let Some(beat) = beats.iter().find(|beat| is_made_up(beat.record)) {
            let reason = format!("record {} is numbered as a made-up one; number records below 1000", beat.record);
            return Err(TrainError::Unsuitable { reason });
        }
        let real = beats.len();
        let classes: Vec<usize> = beats.iter().map(|beat| beat.class).collect();
        let records: Vec<u64> = beats.iter().map(|beat| u64::from(beat.record)).collect();
        let folds = grouped_stratified_folds(&classes, &records, FOLDS, seed)?;
        let fold_of: BTreeMap<u32, u8> = beats.iter().zip(&folds).map(|(beat, fold)| (beat.record, *fold)).collect();
        beats.extend(make_up(&beats, VARIANTS, &mut generator(seed, u64::MAX - 1)));
        let folds = beats.iter().map(|beat| fold_of[&source_record(beat.record)]).collect();
        Ok(Self { data: Described::new(beats), folds, real })
    }
}

/// Trains on all of these beats.
///
/// # Errors
/// [`TrainError`].
pub(super) fn train(
    beats: Vec<Beat>,
    source: DataSource,
    options: &TrainOptions,
    progress: &dyn Progress,
) -> Result<ModelFile, TrainError> {
    let TrainingBeats { data, folds, real } = &TrainingBeats::new(beats, options.seed)?;
    let mut left_out = Array2::zeros((*real, BEAT_CLASSES.len()));
    for fold in 0..FOLDS {
        let (tested, rows): (Vec<usize>, Vec<usize>) = (0..data.beats.len()).partition(|row| folds[*row] == fold);
        let tested = tested.into_iter().filter(|row| row < real);
        let net = BeatNet::new(&train_members(data, &rows, &format!("fold-{fold}-"), options, progress)?);
        let (mut scratch, mut logits) = (net.scratch(), [[0.0; BEAT_CLASSES.len()]]);
        for row in tested {
            net.logits(std::slice::from_ref(&data.inputs[row]), &mut scratch, &mut logits);
            left_out.row_mut(row).iter_mut().zip(logits[0]).for_each(|(to, logit)| *to = logit);
        }
    }
    let classes: Vec<usize> = data.beats[..*real].iter().map(|beat| beat.class).collect();
    let settings = choose(left_out, &classes, shift_to(&classes));
    let all: Vec<usize> = (0..data.beats.len()).collect();
    let members = train_members(data, &all, "", options, progress)?;
    Ok(model_file(&members, &settings, source, options.seed))
}

fn model_file(members: &[Member], settings: &BeatSettings, source: DataSource, seed: u64) -> ModelFile {
    let metadata = Metadata {
        name: BEAT_MODEL.to_owned(),
        kind: pulsegate_rules::registry::DetectorKind::EcgBeats,
        classes: BEAT_CLASSES.map(str::to_owned).to_vec(),
        settings: serde_json::to_value(settings).expect("settings are plain numbers"),
        data: vec![source],
        seed,
        metrics_sha256: None,
    };
    let mut file = ModelFile::new(metadata, &crate::nn::Parameters::new());
    for (name, weights) in members.iter().flat_map(|member| member.parameters.iter()) {
        file.insert(name, weights.clone());
    }
    let row = |values: &[f32; CONTEXT]| Array2::from_shape_fn((1, CONTEXT), |(_, column)| values[column]);
    file.insert("context.mean", row(&members[0].scaler.mean));
    file.insert("context.scale", row(&members[0].scaler.scale));
    file
}

/// Trains [`MEMBERS`] networks on these rows, from different seeds.
fn train_members(
    data: &Described,
    rows: &[usize],
    name: &str,
    options: &TrainOptions,
    progress: &dyn Progress,
) -> Result<Vec<Member>, TrainError> {
    (0..MEMBERS)
        .map(|number| train_member(data, rows, &format!("{name}member-{number}"), number, options, progress))
        .collect()
}

/// Trains one network on these rows.
fn train_member(
    data: &Described,
    rows: &[usize],
    name: &str,
    number: usize,
    options: &TrainOptions,
    progress: &dyn Progress,
) -> Result<Member, TrainError> {
    let scaler = Scaler::fit(&data.inputs, rows);
    let seed = options.seed.wrapping_mul(1_000).wrapping_add(number as u64);
    let mut member = Member::new(number, scaler.clone(), &mut generator(seed, u64::MAX));
    let schedule = Schedule {
        epochs: options.epochs.unwrap_or(EPOCHS),
        batch: 128,
        learning_rate: 2e-3,
        weight_decay: 0.02,
        seed,
        average: Some(0.995),
        ..Schedule::default()
    };
    let checkpoint: Option<PathBuf> =
        options.checkpoint.as_ref().map(|folder| folder.join(format!("{BEAT_MODEL}-{name}")));
    let urn = Urn::new(&data.beats, rows);
    let layers = member.layers();
    let loss = |tape: &mut Tape<'_>, batch: &[usize]| -> Var {
        // The tape's own generator is for dropout; the roughening draws from one made of the batch, so that a resumed run repeats it.
        let mut rng = generator(seed ^ 0xEC6, batch.iter().fold(0, |mix: u64, row| mix.rotate_left(5) ^ *row as u64));
        let mut signal = Array2::zeros((batch.len(), WINDOW * CHANNELS));
        let mut context = Array2::zeros((batch.len(), CONTEXT));
        for (at, row) in batch.iter().enumerate() {
            let input = &data.inputs[*row];
            roughen(
                &input.signal,
                signal.row_mut(at).as_slice_mut().expect("rows of a new matrix lie in order"),
                &mut rng,
            );
            let scaled = scaler.apply(&input.context);
            context.row_mut(at).iter_mut().zip(scaled).for_each(|(to, value)| *to = value + 0.2 * bell(&mut rng));
        }
        let targets: Vec<usize> = batch.iter().map(|row| data.beats[*row].class).collect();
        let logits = forward(tape, &layers, signal, context);
        tape.cross_entropy(logits, &targets, None)
    };
    let real = rows.iter().filter(|row| !is_made_up(data.beats[**row].record)).count();
    let order = |_: usize, rng: &mut ChaCha8Rng| urn.draw(DRAWN.min(4 * real), rng);
    fit(&mut member.parameters, &schedule, checkpoint.as_deref(), progress, order, loss, |_, _, _| {})?;
    Ok(member)
}

/// Rows by class and record, to be drawn evenly.
struct Urn {
    /// Per class: the running sum of the records' weights, and the records' rows.
    classes: Vec<(f32, Vec<Weighted>)>,
}

/// The running sum of the weights up to a record, and its rows.
type Weighted = (f32, Vec<usize>);

impl Urn {
    fn new(beats: &[Beat], rows: &[usize]) -> Self {
        let mut classes = Vec::new();
        let mut share_sum = 0.0;
        for (class, share) in SHARES.into_iter().enumerate() {
            let mut records: Vec<Weighted> = Vec::new();
            let mut record = None;
            for row in rows.iter().copied().filter(|row| beats[*row].class == class) {
                if record.replace(beats[row].record) != Some(beats[row].record) {
                    records.push((0.0, Vec::new()));
                }
                records.last_mut().expect("one was just pushed").1.push(row);
            }
            let mut sum = 0.0;
            for (running, of_record) in &mut records {
                sum += (of_record.len() as f32).sqrt();
                *running = sum;
            }
            if !records.is_empty() {
                share_sum += share;
                classes.push((share_sum, records));
            }
        }
        Self { classes }
    }

    fn draw(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let pick = |running: f32, rng: &mut ChaCha8Rng| rng.gen_range(0.0..1.0_f32) * running;
        let mut drawn = Vec::with_capacity(count);
        let Some(total) = self.classes.last().map(|class| class.0) else { return drawn };
        for _ in 0..count {
            let at = pick(total, rng);
            let (_, records) = self.classes.iter().find(|class| at < class.0).unwrap_or(&self.classes[0]);
            let at = pick(records[records.len() - 1].0, rng);
            let (_, rows) = records.iter().find(|record| at < record.0).unwrap_or(&records[0]);
            drawn.push(rows[rng.gen_range(0..rows.len())]);
        }
        drawn
    }
}

/// Copies a signal input, shifted by up to two samples, scaled, with noise and wander, now and then without one of its channels.
fn roughen(signal: &[f32; WINDOW * CHANNELS], out: &mut [f32], rng: &mut ChaCha8Rng) {
    let shift = rng.gen_range(-2_isize..=2);
    let (scale, noise) = ((0.12 * bell(rng)).exp(), 0.02 * rng.gen_range(0.0..1.0_f32));
    let (slope, bend) = (0.15 * bell(rng), 0.08 * bell(rng));
    let dropped = match rng.gen_range(0..10_u8) {
        0 | 1 => Some(0),
        2 => Some(1),
        _ => None,
    };
    for step in 0..WINDOW {
        let from = step.saturating_add_signed(shift).min(WINDOW - 1);
        let time = step as f32 / WINDOW as f32 - 0.5;
        let wander = slope * time + bend * (std::f32::consts::TAU * time).cos() + noise * bell(rng);
        for channel in 0..CHANNELS {
            let value = scale * signal[from * CHANNELS + channel] + wander;
            out[step * CHANNELS + channel] = if dropped == Some(channel) { 0.0 } else { value };
        }
    }
}

/// Nearly a standard normal: a sum of four uniform numbers.
fn bell(rng: &mut ChaCha8Rng) -> f32 {
    let sum: f32 = (0..4).map(|_| rng.gen_range(-1.0..1.0_f32)).sum();
    sum * 0.866
}

/// What brings logits of evenly drawn classes to the classes' own shares.
fn shift_to(classes: &[usize]) -> [f32; 5] {
    let mut counts = [0.5_f32; 5];
    classes.iter().for_each(|class| counts[*class] += 1.0);
    let total: f32 = counts.iter().sum();
    std::array::from_fn(|class| (counts[class] / total / SHARES[class]).ln())
}

/// Calibration and decision from the logits of left-out records, after a shift.
pub(super) fn choose(mut logits: Array2<f32>, classes: &[usize], shift: [f32; 5]) -> BeatSettings {
    for mut row in logits.rows_mut() {
        row.iter_mut().zip(shift).for_each(|(logit, shift)| *logit += shift);
    }
    let temperature = Temperature::fit(logits.view(), classes).0;
    let probabilities = Temperature(temperature).probabilities(logits.view());
    let mut best = (f64::MIN, [1.0; 5], LeftOut::default());
    for number in 0..FACTORS.len().pow(2) {
        let factors = [1.0, FACTORS[number % FACTORS.len()], FACTORS[number / FACTORS.len()], 1.0, 1.0];
        let (worth, left_out) = score(&probabilities, &factors, classes);
        if worth > best.0 {
            best = (worth, factors, left_out);
        }
    }
    BeatSettings { members: MEMBERS, shift, temperature, factors: best.1, left_out: best.2 }
}

/// F1 of the supraventricular and of the ventricular class, added, and what they are made of.
fn score(probabilities: &Array2<f32>, factors: &[f32; 5], classes: &[usize]) -> (f64, LeftOut) {
    let (mut hit, mut decided, mut truth) = ([0_u32; 5], [0_u32; 5], [0_u32; 5]);
    for (probabilities, class) in probabilities.rows().into_iter().zip(classes) {
        let worth = |class: usize| probabilities[class] * factors[class];
        let of = (1..5).fold(0, |best, class| if worth(class) > worth(best) { class } else { best });
        hit[of] += u32::from(of == *class);
        decided[of] += 1;
        truth[*class] += 1;
    }
    let share = |class: usize, whole: &[u32; 5]| f64::from(hit[class]) / f64::from(whole[class].max(1));
    let f1 = |class: usize| 2.0 * f64::from(hit[class]) / f64::from((decided[class] + truth[class]).max(1));
    let left_out = LeftOut {
        supraventricular_sensitivity: share(SUPRAVENTRICULAR, &truth),
        supraventricular_precision: share(SUPRAVENTRICULAR, &decided),
        ventricular_sensitivity: share(VENTRICULAR, &truth),
        ventricular_precision: share(VENTRICULAR, &decided),
    };
    (f1(SUPRAVENTRICULAR) + f1(VENTRICULAR), left_out)
}

/// The model of a file, or a clear error when none was given.
pub(super) fn given(model: Option<&ModelFile>) -> Result<BeatModel, TrainError> {
    let file = model.ok_or_else(|| TrainError::NoWeights { model: BEAT_MODEL.to_owned() })?;
    BeatModel::read(file)
}

/// The table of training beats in a folder, or the file itself.
pub(super) fn train_table(data: &Path) -> PathBuf {
    if data.is_dir() { data.join(crate::data::mitdb::TRAIN_FILE) } else { data.to_owned() }
}
