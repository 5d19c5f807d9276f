//! The model that is deployed: benign or attack, from what any sensor of connections knows, trained on four public sets together.
//!
//! It reads the columns of the serving schema that tell of a flow by itself, over a window of the device's flows. The schema's columns of
//! history are left to that window: no public set has starts, three of four have no order, so a network would meet most of them for the
//! first time in the hospital. Each epoch draws as many benign as attacking flows from every set, so neither a set's size nor its share of
//! attacks teaches anything. Where a set has an order, windows are as captured. Where it has none, a window is either the flow repeated (a
//! device that always does this) or, in half of the cases, made of benign flows of the same set drawn at random (a device that did something
//! else before): that teaches the network to live with any past and is done in training only; in every figure such a flow stands alone.
//!
//! Guarantees: the operating point is set on flows that did not train, so that no set's benign flows alarm more often than stated. Must
//! not: read an address, a port, or a column that only one set has.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::autoencoder_bilstm::Windows;
use super::model::{BENIGN, Judgement, NamedColumn, Rule, Settings, TrafficModel};
use super::protocol::{FOLDS, split};
use super::recipes;
use super::serving::{History, SERVING_COLUMNS, SERVING_FLOW_FEATURES};
use super::serving_boosting;
use super::sets::Set;
use super::training::{Fitted, LabelledFlows, Recipe, Run, logits};
use crate::catalogue::TrainError;
use crate::data::folds::grouped_stratified_folds;
use crate::data::nsl_kdd::Part as NslPart;
use crate::data::traffic_set::{Order, TrafficSet};
use crate::model_file::{Metadata, ModelFile};
use crate::nn::generator;
use crate::progress::Progress;
use pulsegate_rules::registry::DetectorKind;

/// Name of the deployed model.
pub const NAME: &str = "traffic-serving";
/// The sets that it learns from.
pub const SETS: [Set; 4] = [Set::WustlEhms, Set::Cicids2017, Set::UnswNb15, Set::NslKdd(NslPart::Train)];
/// About how many flows of a set are taken where it has more and no order: whole groups, by a hash of the group.
pub const FLOWS_PER_SET: usize = 20_000;
/// Flows drawn per set and class in an epoch.
const DRAWN: usize = 2_500;
/// Benign flows per set from which the invented windows of a batch are drawn.
const POOL: usize = 64;

/// Flows of several sets in the serving schema.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// The flows; their classes are benign and attack.
    pub flows: LabelledFlows,
    /// Which of [`SETS`] each flow is from.
    pub origin: Vec<usize>,
    /// What baselines read: the flow and its past as columns ([`super::serving_boosting`]), as they cannot read a window.
    pub(super) seen: Array2<f32>,
}

impl Pooled {
    /// Reads sets from `folder`, which holds a folder for each.
    ///
    /// # Errors
    /// [`TrainError`] names the file and what is wrong with it.
    pub fn read(folder: &Path, sets: &[Set]) -> Result<Self, TrainError> {
        let mut all: Option<Self> = None;
        for (origin, set) in sets.iter().enumerate() {
            let one = Self::of(&set.read(&folder.join(set.folder()))?, origin);
            all = Some(match all {
                None => one,
                Some(before) => before.joined(&one),
            });
        }
        all.ok_or_else(|| TrainError::Unsuitable { reason: "no set was named".to_owned() })
    }

    /// One set in the serving schema.
    #[must_use]
    pub fn of(set: &TrafficSet, origin: usize) -> Self {
        let kept = kept_rows(set);
        let history = History::new();
        let mut features = Array2::zeros((kept.len(), SERVING_FLOW_FEATURES));
        for (row, mut out) in kept.iter().zip(features.rows_mut()) {
            out.iter_mut().zip(history.features(&set.flows[*row])).for_each(|(out, value)| *out = value);
        }
        let flows = LabelledFlows {
            names: SERVING_COLUMNS[..SERVING_FLOW_FEATURES].iter().map(|column| column.name.to_owned()).collect(),
            columns: super::detector::columns(),
            features,
            classes: vec!["benign".to_owned(), "attack".to_owned()],
            truth: kept.iter().map(|row| usize::from(set.truth[*row] != set.benign)).collect(),
            // The origin in the highest bits keeps groups of different sets apart.
            group: kept.iter().map(|row| (set.groups[*row] >> 3) | ((origin as u64) << 61)).collect(),
            sequence: if set.order == Order::Capture { vec![0; kept.len()] } else { (0..kept.len()).collect() },
            importance: vec![1.0; kept.len()],
            sources: vec![set.source.clone()],
        };
        let origin = vec![origin; kept.len()];
        let seen = serving_boosting::columns_of(set, &kept);
        Self { flows, origin, seen }
    }

    fn joined(mut self, other: &Self) -> Self {
        let begin = self.flows.len();
        self.flows.features.append(Axis(0), other.flows.features.view()).expect("both have the columns of the schema");
        self.flows.truth.extend(&other.flows.truth);
        self.flows.group.extend(&other.flows.group);
        self.flows.sequence.extend(other.flows.sequence.iter().map(|first| first + begin));
        self.flows.importance.extend(&other.flows.importance);
        self.flows.sources.extend(other.flows.sources.iter().cloned());
        self.origin.extend(&other.origin);
        self.seen.append(Axis(0), other.seen.view()).expect("both have the columns of the baselines");
        self
    }

    /// Rows of one set.
    #[must_use]
    pub fn rows_of(&self, origin: usize) -> Vec<usize> {
        (0..self.origin.len()).filter(|row| self.origin[*row] == origin).collect()
    }
}

/// All rows of a set that has an order or few rows; of the others, whole groups picked by a hash.
fn kept_rows(set: &TrafficSet) -> Vec<usize> {
    if set.order == Order::Capture || set.len() <= FLOWS_PER_SET {
        return (0..set.len()).collect();
    }
    // A group's number is a hash where rows are grouped by their features, and the row's own number otherwise.
    let share = FLOWS_PER_SET as u64 * 1_000 / set.len() as u64;
    (0..set.len())
        .filter(|row| set.groups[*row].wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xFFFF < share * 65_536 / 1_000)
        .collect()
}

/// What is the same for every training of the deployed model.
pub struct ServingRun<'a> {
    /// Seed of every random choice.
    pub seed: u64,
    /// Passes instead of the recipe's.
    pub epochs: Option<usize>,
    /// Folder for checkpoints.
    pub checkpoint: Option<&'a Path>,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl ServingRun<'_> {
    /// Trains on the named rows; `part` names the checkpoint.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn train(&self, pooled: &Pooled, rows: &[usize], part: &str) -> Result<Fitted, TrainError> {
        let recipe: Recipe = recipes::SERVING;
        let checkpoint: Option<PathBuf> =
            self.checkpoint.map(|folder| folder.join(format!("{NAME}-{part}.safetensors")));
        let run =
            Run { seed: self.seed, epochs: self.epochs, checkpoint: checkpoint.as_deref(), progress: self.progress };
        let strata = strata(pooled, rows);
        let order = |rng: &mut ChaCha8Rng| {
            let mut drawn: Vec<usize> = strata
                .iter()
                .flat_map(|stratum| (0..DRAWN).map(|_| stratum[rng.gen_range(0..stratum.len())]).collect::<Vec<_>>())
                .collect();
            drawn.shuffle(rng);
            drawn
        };
        let benign: Vec<Vec<usize>> = (0..SETS.len())
            .map(|origin| {
                let kept = |row: &&usize| pooled.origin[**row] == origin && pooled.flows.truth[**row] == BENIGN;
                rows.iter().filter(kept).copied().collect()
            })
            .collect();
        let windows = |batch: &[usize]| invented_windows(pooled, &benign, batch, recipe.window, self.seed);
        Fitted::train_by(&recipe, &pooled.flows, rows, &run, order, windows)
    }

    /// The operating point on rows that did not train: one temperature, and the threshold at which no set's benign flows alarm more often
    /// than [`recipes::SERVING_BENIGN_SHARE`].
    #[must_use]
    pub fn judgement(logits: &Array2<f32>, pooled: &Pooled, rows: &[usize]) -> Judgement {
        let truth: Vec<usize> = rows.iter().map(|row| pooled.flows.truth[*row]).collect();
        let whole = Judgement::fit(logits.view(), &truth, Rule::MostProbable);
        let thresholds = (0..SETS.len()).filter_map(|origin| {
            let of_set: Vec<usize> = (0..rows.len()).filter(|place| pooled.origin[rows[*place]] == origin).collect();
            let truth: Vec<usize> = of_set.iter().map(|place| truth[*place]).collect();
            whole.threshold(logits.select(Axis(0), &of_set).view(), &truth, recipes::SERVING_BENIGN_SHARE)
        });
        Judgement { attack_threshold: thresholds.reduce(f32::max), ..whole }
    }

    /// Trains for use: calibrated without a fifth of the groups, then trained on all.
    ///
    /// # Errors
    /// [`TrainError`].
    pub fn train_for_use(&self, pooled: &Pooled) -> Result<ModelFile, TrainError> {
        let folds = self.folds(pooled)?;
        let (training, held_out) = split(&folds, 0);
        // The same rows and the same seed as the first fold of a cross-validation, so a checkpoint of it will do.
        let partly = self.model(&self.train(pooled, &training, "fold-0")?, pooled, UNCALIBRATED)?;
        let judged = logits(&partly.inference, &pooled.flows, &held_out);
        let judgement = Self::judgement(&judged, pooled, &held_out);
        let rows: Vec<usize> = (0..pooled.flows.len()).collect();
        let fitted = self.train(pooled, &rows, "all")?;
        Ok(fitted.to_file(self.metadata(&fitted, pooled, judgement)))
    }

    /// The fold of every flow.
    ///
    /// # Errors
    /// [`TrainError::Unsuitable`] with too few groups.
    pub fn folds(&self, pooled: &Pooled) -> Result<Vec<u8>, TrainError> {
        // Set and class together are what is spread evenly.
        let strata: Vec<usize> =
            pooled.flows.truth.iter().zip(&pooled.origin).map(|(class, origin)| 2 * origin + class).collect();
        grouped_stratified_folds(&strata, &pooled.flows.group, FOLDS, self.seed)
    }

    /// A trained network as one that judges.
    ///
    /// # Errors
    /// [`TrainError::Model`].
    pub fn model(&self, fitted: &Fitted, pooled: &Pooled, judgement: Judgement) -> Result<TrafficModel, TrainError> {
        let file = fitted.to_file(self.metadata(fitted, pooled, judgement));
        TrafficModel::read(&file).map_err(|error| TrainError::Model { reason: error.to_string() })
    }

    fn metadata(&self, fitted: &Fitted, pooled: &Pooled, judgement: Judgement) -> Metadata {
        let named = pooled.flows.names.iter().zip(&pooled.flows.columns);
        let columns = named.map(|(name, holds)| NamedColumn { name: name.clone(), holds: *holds }).collect();
        let settings = Settings { shape: fitted.shape, columns, judgement };
        Metadata {
            name: NAME.to_owned(),
            kind: DetectorKind::Traffic,
            classes: pooled.flows.classes.clone(),
            settings: serde_json::to_value(settings).expect("settings are plain JSON"),
            data: pooled.flows.sources.clone(),
            seed: self.seed,
            metrics_sha256: None,
        }
    }
}

/// No calibration yet.
pub(super) const UNCALIBRATED: Judgement = Judgement::UNCALIBRATED;

/// The rows by set and class, those that there are.
fn strata(pooled: &Pooled, rows: &[usize]) -> Vec<Vec<usize>> {
    let mut strata = vec![Vec::new(); 2 * SETS.len()];
    for row in rows {
        strata[2 * pooled.origin[*row] + pooled.flows.truth[*row]].push(*row);
    }
    strata.retain(|stratum| !stratum.is_empty());
    strata
}

/// Windows for a batch of training: as captured where there is an order, repeated or invented where there is none.
fn invented_windows(pooled: &Pooled, benign: &[Vec<usize>], batch: &[usize], window: usize, seed: u64) -> Windows {
    let key = batch.iter().fold(seed, |key, row| key.wrapping_mul(0x0100_0000_01B3) ^ *row as u64);
    let mut rng = generator(key, 1);
    let pools: Vec<Vec<usize>> =
        benign.iter().map(|rows| (0..POOL).filter_map(|_| rows.choose(&mut rng).copied()).collect()).collect();
    let flows = &pooled.flows;
    let members: Vec<Vec<usize>> = batch
        .iter()
        .map(|row| {
            let ordered = flows.sequence[*row] != *row || pooled.origin[*row] == 0;
            let repeated = rng.gen_bool(if ordered { 0.25 } else { 0.5 });
            let pool = &pools[pooled.origin[*row]];
            let before = |back: usize, rng: &mut ChaCha8Rng| match back {
                0 => *row,
                _ if repeated => *row,
                _ if ordered => row.saturating_sub(back).max(flows.sequence[*row]),
                _ => pool.choose(rng).copied().unwrap_or(*row),
            };
            (0..window).map(|back| before(back, &mut rng)).collect()
        })
        .collect();
    Windows::of(batch.len(), window, |flow, back| members[flow][back])
}
