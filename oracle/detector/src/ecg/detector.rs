//! The beat model on live readings: one stream per patient, judged as blocks of a waveform come in.
//!
//! A reading of ECG lead II carries on where the patient's last one ended; a gap, another sampling rate or an older block ends the stream and
//! starts it anew (usual intervals and templates stay). The patient is unwell when three ventricular beats follow each other, which is
//! ventricular tachycardia when it lasts (ANSI/AAMI EC57 calls three a run); the run may span two readings. Guarantees: late readings and
//! readings of anything else change no state; a reading that is refused touches nobody's state, the patient's own included; at most
//! [`ECG_PATIENTS_MAX`] patients of [`PATIENT_STATE_BYTES`] each. Must not: take silence for health, a reading without a complete beat is
//! "learning".

use pulsegate_reading::{LoincCode, SampledData, Value};
use pulsegate_rules::{ModelId, Principal};

use super::context::BeatInput;
use super::model::{BeatJudgement, BeatModel, VENTRICULAR};
use super::net::BEAT_CLASSES;
use super::stream::{BeatStream, STREAM_STATE_BYTES};
use crate::bounded::Bounded;
use crate::catalogue::TrainError;
use crate::error::DetectorError;
use crate::model_file::ModelFile;
use crate::seam::{Measured, PhysiologyDetector, Taken, each, only};
use crate::verdict::{Assessment, BeatCounts, InputsDigest, NotAssessed, PhysiologyClass, PhysiologyFinding};

/// Most patients that are watched at once.
pub const ECG_PATIENTS_MAX: usize = 4_096;
/// Size of one patient's state in memory, at most.
pub const PATIENT_STATE_BYTES: usize = STREAM_STATE_BYTES + 256;
/// Ventricular beats in a row that make a patient unwell.
pub const VENTRICULAR_RUN: usize = 3;
/// Readings follow each other when the time between them differs by no more than this from the length of the first, ms.
const SEAM_MS: f64 = 40.0;

/// The detector with what it knows of each patient.
pub struct EcgDetector {
    id: ModelId,
    model: BeatModel,
    patients: Bounded<Principal, Option<Patient>>,
}

struct Patient {
    stream: BeatStream,
    /// When the next block begins if nothing is lost, Unix milliseconds.
    next_ms: f64,
    /// P(V) and whether V was decided, of the last beats, the latest last.
    last: [(f32, bool); VENTRICULAR_RUN],
}

impl EcgDetector {
    /// The detector of a model file, watching at most `patients_max` patients; the one not heard of for longest gives way.
    ///
    /// # Errors
    /// [`TrainError::Model`] when the file is of another model or damaged.
    pub fn new(file: &ModelFile, patients_max: usize) -> Result<Self, TrainError> {
        Ok(Self { id: file.id(), model: BeatModel::read(file)?, patients: Bounded::new(patients_max) })
    }
}

impl PhysiologyDetector for EcgDetector {
    fn model(&self) -> ModelId {
        self.id
    }

    fn assess(&mut self, measured: &Measured<'_>) -> Result<Assessment<PhysiologyFinding>, DetectorError> {
        only(self.assess_together(std::slice::from_ref(measured)))
    }

    fn assess_together(
        &mut self,
        measured: &[Measured<'_>],
    ) -> Option<Vec<Result<Assessment<PhysiologyFinding>, DetectorError>>> {
        // No patient can give way to others of the same group.
        let groups = measured.chunks(self.patients.limit());
        Some(groups.flat_map(|group| self.judge(group)).collect())
    }
}

/// What was found in a block of a patient's waveform.
struct Block {
    patient: Principal,
    start_ms: f64,
    /// Beats, with those of other blocks before them.
    beats: std::ops::Range<usize>,
    /// Whether it did not carry on where the patient's last one ended.
    anew: bool,
}

impl EcgDetector {
    fn judge(&mut self, measured: &[Measured<'_>]) -> Vec<Result<Assessment<PhysiologyFinding>, DetectorError>> {
        let mut beats = Vec::new();
        let blocks: Vec<_> = measured.iter().map(|measured| self.take(measured, &mut beats)).collect();
        let mut judgements = vec![BeatJudgement::default(); beats.len()];
        self.model.judge_all(&beats, &mut judgements);
        each(blocks, |block: Block| {
            let missed = DetectorError::Failed { reason: "a waveform's patient is not there" };
            let patient = self.patients.entry(block.patient).as_mut().ok_or(missed)?;
            Ok(patient.hear(&block, &judgements[block.beats.clone()], self.id))
        })
    }

    /// Takes a block of a waveform into its patient's stream, or says why not; the beats that it brings are put after those of others.
    fn take(&mut self, measured: &Measured<'_>, beats: &mut Vec<BeatInput>) -> Taken<Block> {
        let reading = measured.reading;
        let (LoincCode::EcgLeadTwo, Value::Sampled(block)) = (reading.code, &reading.value) else {
            return Ok(Err(NotAssessed::NotApplicable));
        };
        if measured.is_late() {
            return Ok(Err(NotAssessed::Late));
        }
        let source_hz = usable_rate(block)?;
        let start_ms = reading.measured_at_ms as f64;
        let patient = match self.patients.entry(reading.patient) {
            Some(patient) => patient,
            none => none.insert(Patient::new(source_hz, start_ms)?),
        };
        let before = beats.len();
        let anew = patient.take(block, source_hz, start_ms, beats);
        Ok(Ok(Block { patient: reading.patient, start_ms, beats: before..beats.len(), anew }))
    }
}

/// The block's sampling rate, when every sample of it can be used.
fn usable_rate(block: &SampledData) -> Result<f64, DetectorError> {
    let refuse = |reason| Err(DetectorError::UnusableInput { reason });
    let source_hz = 1e9 / block.period_ns as f64;
    if !super::SOURCE_HZ_RANGE.contains(&source_hz) {
        return refuse("the waveform's sampling rate is not one that the beat finder reads");
    }
    // Refused as a whole before anything is taken: half a block would leave the patient's state between two readings.
    let plausible = |sample: &i32| (block.origin + block.factor * f64::from(*sample)).abs() <= MILLIVOLTS_MAX;
    if !block.samples.iter().all(plausible) {
        return refuse("a sample of the waveform is not finite or far outside what a heart gives");
    }
    Ok(source_hz)
}

/// Largest value of a sample, mV.
const MILLIVOLTS_MAX: f64 = 100.0;

impl Patient {
    fn new(source_hz: f64, start_ms: f64) -> Result<Self, DetectorError> {
        let refused = DetectorError::UnusableInput { reason: "the waveform's sampling rate is not one that is read" };
        let stream = BeatStream::new(source_hz).ok_or(refused)?;
        Ok(Self { stream, next_ms: start_ms, last: [(0.0, false); VENTRICULAR_RUN] })
    }

    /// Takes a block into the stream; the beats that it brings are put after those of others. Says whether the stream began anew.
    fn take(&mut self, block: &SampledData, source_hz: f64, start_ms: f64, beats: &mut Vec<BeatInput>) -> bool {
        let anew =
            (start_ms - self.next_ms).abs() > SEAM_MS || (source_hz / self.stream.source_hz() - 1.0).abs() > 1e-6;
        if anew {
            // The beats of before the gap are over; they belong to no live reading.
            let _ = self.stream.interrupt(source_hz, |_| {});
        }
        for sample in &block.samples {
            let millivolts = (block.origin + block.factor * f64::from(*sample)) as f32;
            self.stream.push(millivolts, |beat| beats.push(beat.input));
        }
        self.next_ms = start_ms + block.samples.len() as f64 * block.period_ns as f64 / 1e6;
        anew
    }

    /// What the beats of a block say, after those before it.
    fn hear(&mut self, block: &Block, beats: &[BeatJudgement], model: ModelId) -> Assessment<PhysiologyFinding> {
        let last = &mut self.last;
        if block.anew {
            // No run crosses a gap.
            *last = [(0.0, false); VENTRICULAR_RUN];
        }
        let mut counts = Counts::new(model, block.patient, block.start_ms);
        for beat in beats {
            last.rotate_left(1);
            last[VENTRICULAR_RUN - 1] = (beat.probabilities[VENTRICULAR], beat.class == VENTRICULAR);
            counts.add(beat.class, &beat.probabilities, last);
        }
        counts.finding()
    }
}

/// What one reading brought.
struct Counts {
    model: ModelId,
    beats: BeatCounts,
    looked_at: Vec<u8>,
    patient: Principal,
    start_ms: f64,
    run: bool,
    run_probability: f32,
}

impl Counts {
    const fn new(model: ModelId, patient: Principal, start_ms: f64) -> Self {
        let beats = BeatCounts { normal: 0, supraventricular: 0, ventricular: 0, fusion: 0, unknown: 0 };
        Self { model, beats, looked_at: Vec::new(), patient, start_ms, run: false, run_probability: 0.0 }
    }

    fn add(&mut self, class: usize, probabilities: &[f32; BEAT_CLASSES.len()], last: &[(f32, bool); VENTRICULAR_RUN]) {
        let count = match class {
            0 => &mut self.beats.normal,
            1 => &mut self.beats.supraventricular,
            2 => &mut self.beats.ventricular,
            3 => &mut self.beats.fusion,
            _ => &mut self.beats.unknown,
        };
        *count += 1;
        probabilities.iter().for_each(|probability| self.looked_at.extend(probability.to_be_bytes()));
        self.run |= last.iter().all(|beat| beat.1);
        let least = last.iter().map(|beat| beat.0).fold(1.0, f32::min);
        self.run_probability = self.run_probability.max(least);
    }

    /// The finding. Its confidence in a run is the least P(V) of its three beats, of the surest three; in no run, what is left to 1.
    fn finding(self) -> Assessment<PhysiologyFinding> {
        if self.looked_at.is_empty() {
            return Assessment::NotAssessed(NotAssessed::Learning);
        }
        let of_run = f64::from(self.run_probability);
        let (class, confidence) =
            if self.run { (PhysiologyClass::Unwell, of_run) } else { (PhysiologyClass::Unremarkable, 1.0 - of_run) };
        let inputs =
            InputsDigest::of(&[&self.model.0, self.patient.0.as_ref(), &self.start_ms.to_be_bytes(), &self.looked_at]);
        Assessment::Assessed(PhysiologyFinding {
            model: self.model,
            class,
            confidence: Some(confidence),
            label: self.run.then(|| "ventricular run".to_owned()),
            inputs,
            missing: Vec::new(),
            news2: None,
            beats: Some(self.beats),
        })
    }
}
