//! The four models that read a public set's own columns, for comparison with what others published on those sets.
//!
//! Guarantees: no model sees a column that its set's provenance forbids; ablations are trained on the same rows in the same folds; what is
//! judged by given weights has the columns that they were trained on. Must not: be deployed, for no hospital's sensor has these columns.

use std::path::Path;

use ndarray::{Array2, concatenate};

use super::full_columns_text;
use super::model::{BENIGN, Rule, TrafficModel};
use super::protocol::{Experiment, cross_fitted, predict};
use super::recipes;
use super::sets::{Set, labelled};
use super::training::{LabelledFlows, Recipe};
use crate::catalogue::{Description, EvaluateOptions, TrainError, TrainOptions, Trainable};
use crate::data::nsl_kdd::Part as NslPart;
use crate::measure::{Evaluation, Part, Predictions, Rows};
use crate::model_file::ModelFile;
use crate::progress::Progress;
use crate::report::Section;

/// Preceding flows beside each flow in the rows for the baselines, where a set has an order: the reference figures use as many.
const PRECEDING: usize = 5;

/// A model on a set's own columns.
pub struct FullColumns {
    name: &'static str,
    set: Set,
    recipe: Recipe,
    rule: Rule,
    ablations: &'static [Ablation],
    describe: fn() -> Description,
}

/// The same network with something taken away.
pub struct Ablation {
    name: &'static str,
    without_columns: &'static [&'static str],
    change: fn(Recipe) -> Recipe,
}

/// The model of `wustl_ehms_2020`.
pub static WUSTL_EHMS: FullColumns = FullColumns {
    name: "traffic-wustl-ehms-2020",
    set: Set::WustlEhms,
    recipe: recipes::WUSTL_EHMS,
    rule: Rule::MostProbable,
    ablations: &[
        Ablation {
            name: "without history (window of one flow)",
            without_columns: &[],
            change: |recipe| Recipe { window: 1, block: 1, ..recipe },
        },
        Ablation { name: "without the flags", without_columns: &["Flgs"], change: |recipe| recipe },
    ],
    describe: full_columns_text::wustl_ehms,
};

/// The model of `cicids2017_improved`.
pub static CICIDS2017: FullColumns = FullColumns {
    name: "traffic-cicids2017",
    set: Set::Cicids2017,
    recipe: recipes::CICIDS2017,
    rule: Rule::MostProbable,
    ablations: &[
        Ablation { name: "without the recurrent part", without_columns: &[], change: WITHOUT_LSTM },
        Ablation { name: "without Dst Port", without_columns: &["Dst Port"], change: |recipe| recipe },
    ],
    describe: full_columns_text::cicids2017,
};

/// The model of `unsw_nb15_82k`.
pub static UNSW_NB15: FullColumns = FullColumns {
    name: "traffic-unsw-nb15",
    set: Set::UnswNb15,
    recipe: recipes::UNSW_NB15,
    rule: Rule::Weighted(recipes::UNSW_NB15_ACCURACY),
    ablations: &[Ablation { name: "without the recurrent part", without_columns: &[], change: WITHOUT_LSTM }],
    describe: full_columns_text::unsw_nb15,
};

/// The model of `nsl_kdd`.
pub static NSL_KDD: FullColumns = FullColumns {
    name: "traffic-nsl-kdd",
    set: Set::NslKdd(NslPart::Train),
    recipe: recipes::NSL_KDD,
    rule: Rule::BenignShare(recipes::NSL_KDD_BENIGN_SHARE),
    ablations: &[Ablation { name: "without the recurrent part", without_columns: &[], change: WITHOUT_LSTM }],
    describe: full_columns_text::nsl_kdd,
};

const WITHOUT_LSTM: fn(Recipe) -> Recipe = |recipe| Recipe { units: 0, ..recipe };
/// How the whole model is called in tables.
const DEEP: &str = "sparse autoencoder → BiLSTM";
/// The same outputs, decided without weights of the classes.
const UNWEIGHTED: &str = "the same, most probable class";

impl FullColumns {
    fn experiment<'a>(
        &'a self,
        name: &'a str,
        recipe: Recipe,
        options: &'a EvaluateOptions,
        progress: &'a dyn Progress,
    ) -> Experiment<'a> {
        Experiment {
            name,
            recipe,
            rule: self.rule,
            seed: options.seed,
            epochs: options.epochs,
            checkpoint: options.checkpoint.as_deref(),
            progress,
        }
    }

    /// The whole model first, then its ablations: what is trained for a comparison.
    fn variants(&self) -> impl Iterator<Item = (String, &'static str, Recipe, &'static [&'static str])> {
        let whole = (self.name.to_owned(), DEEP, self.recipe, &[] as &[&str]);
        let ablated = self.ablations.iter().enumerate().map(|(number, ablation)| {
            let recipe = (ablation.change)(self.recipe);
            (format!("{}-ablation-{number}", self.name), ablation.name, recipe, ablation.without_columns)
        });
        std::iter::once(whole).chain(ablated)
    }

    fn cross_validate(
        &self,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        let set = self.set.read(data)?;
        let flows = labelled(&set);
        let folds = self.experiment(self.name, self.recipe, options, progress).folds(&flows)?;
        let mut models = Vec::new();
        for (name, title, recipe, without) in self.variants() {
            let seen = flows.without(without);
            let logits = self.experiment(&name, recipe, options, progress).out_of_fold(&seen, &folds)?;
            models.push(cross_fitted(title, &logits, &flows.truth, &folds, self.rule));
            if models.len() == 1 && matches!(self.rule, Rule::Weighted(_)) {
                models.push(cross_fitted(UNWEIGHTED, &logits, &flows.truth, &folds, Rule::MostProbable));
            }
        }
        let mut rows = rows_of(&flows, folds.iter().map(|fold| Part::Fold(*fold)).collect());
        if self.set == Set::WustlEhms {
            let (features, columns) = set.with_preceding(PRECEDING)?;
            rows.features = features;
            rows.feature_names = columns.into_iter().map(|column| column.name).collect();
        }
        Ok(self.evaluation(rows, models, full_columns_text::FOLDS_PROTOCOL))
    }

    /// The official parts of NSL-KDD: trained on one, tested on the other.
    fn official_parts(
        &self,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        let training = Set::NslKdd(NslPart::Train).flows(data)?;
        let test_set = Set::NslKdd(NslPart::Test).read(data)?;
        let tested = labelled(&test_set);
        let test_rows: Vec<usize> = (0..tested.len()).collect();
        let mut models = Vec::new();
        for (name, title, recipe, without) in self.variants() {
            let experiment = self.experiment(&name, recipe, options, progress);
            let seen = training.without(without);
            let (fitted, judgement) = experiment.train_for_use(&seen)?;
            let model = experiment.model(&fitted, &seen, judgement)?;
            let mut predictions = predict(title, &model, &tested.without(without), &test_rows);
            predictions.row.iter_mut().for_each(|row| *row += training.len());
            models.push(predictions);
        }
        let parts = [vec![Part::Train; training.len()], vec![Part::Test; tested.len()]].concat();
        let new_attacks = new_attacks(&test_set, &Set::NslKdd(NslPart::Train).read(data)?, &models[0]);
        let rows = rows_of(&joined(&training, &tested), parts);
        let mut evaluation = self.evaluation(rows, models, full_columns_text::PARTS_PROTOCOL);
        evaluation.sections.push(new_attacks);
        Ok(evaluation)
    }

    fn judge_file(&self, model: &ModelFile, data: &Path) -> Result<Evaluation, TrainError> {
        let set = match self.set {
            Set::NslKdd(_) => Set::NslKdd(NslPart::Test),
            set => set,
        };
        let flows = set.flows(data)?;
        let trained = TrafficModel::read(model).map_err(|error| TrainError::Model { reason: error.to_string() })?;
        let known = trained.settings.columns.iter().map(|column| &column.name);
        if !known.eq(&flows.names) || trained.classes != flows.classes {
            return Err(TrainError::Model { reason: "it was trained on other columns or classes".to_owned() });
        }
        let rows: Vec<usize> = (0..flows.len()).collect();
        let models = vec![predict(DEEP, &trained, &flows, &rows)];
        let parts = vec![Part::Test; flows.len()];
        Ok(self.evaluation(rows_of(&flows, parts), models, full_columns_text::GIVEN_WEIGHTS_PROTOCOL))
    }

    fn evaluation(&self, rows: Rows, models: Vec<Predictions>, protocol: &str) -> Evaluation {
        let description = (self.describe)();
        Evaluation {
            title: description.title.to_owned(),
            protocol: protocol.to_owned(),
            rows,
            benign_class: Some(BENIGN),
            models,
            sections: Vec::new(),
            boosting: None,
        }
    }
}

impl Trainable for FullColumns {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> Description {
        (self.describe)()
    }

    fn train(&self, data: &Path, options: &TrainOptions, progress: &dyn Progress) -> Result<ModelFile, TrainError> {
        let flows = self.set.flows(data)?;
        let experiment = Experiment {
            name: self.name,
            recipe: self.recipe,
            rule: self.rule,
            seed: options.seed,
            epochs: options.epochs,
            checkpoint: options.checkpoint.as_deref(),
            progress,
        };
        let (fitted, judgement) = experiment.train_for_use(&flows)?;
        Ok(fitted.to_file(experiment.metadata(&fitted, &flows, judgement)))
    }

    fn evaluate(
        &self,
        model: Option<&ModelFile>,
        data: &Path,
        options: &EvaluateOptions,
        progress: &dyn Progress,
    ) -> Result<Evaluation, TrainError> {
        if options.cross_validate {
            return match self.set {
                Set::NslKdd(_) => self.official_parts(data, options, progress),
                _ => self.cross_validate(data, options, progress),
            };
        }
        let model = model.ok_or_else(|| TrainError::NoWeights { model: self.name.to_owned() })?;
        self.judge_file(model, data)
    }
}

fn rows_of(flows: &LabelledFlows, part: Vec<Part>) -> Rows {
    Rows {
        feature_names: flows.names.clone(),
        features: flows.features.clone(),
        classes: flows.classes.clone(),
        truth: flows.truth.clone(),
        group: flows.group.clone(),
        part,
    }
}

/// The flows of two parts one after the other, as rows of a report.
fn joined(first: &LabelledFlows, second: &LabelledFlows) -> LabelledFlows {
    let features: Array2<f32> = concatenate(ndarray::Axis(0), &[first.features.view(), second.features.view()])
        .expect("both parts have the columns of the set");
    let shift = first.group.iter().max().map_or(0, |group| group + 1);
    LabelledFlows {
        features,
        truth: [first.truth.clone(), second.truth.clone()].concat(),
        group: first.group.iter().copied().chain(second.group.iter().map(|group| group + shift)).collect(),
        sequence: (0..first.len() + second.len()).collect(),
        importance: [first.importance.clone(), second.importance.clone()].concat(),
        sources: [first.sources.clone(), second.sources.clone()].concat(),
        ..first.clone()
    }
}

/// How many of each kind of attack were found, those that training knew and those that it did not.
fn new_attacks(
    tested: &crate::data::traffic_set::TrafficSet,
    training: &crate::data::traffic_set::TrafficSet,
    predictions: &Predictions,
) -> Section {
    let mut counts: std::collections::BTreeMap<String, (bool, usize, usize)> = std::collections::BTreeMap::new();
    let known: std::collections::HashSet<&str> = training.attack.iter().flat_map(|attack| attack.iter()).collect();
    if let Some(attack) = &tested.attack {
        for (row, decided) in predictions.decided.iter().enumerate().filter(|(row, _)| tested.truth[*row] != BENIGN) {
            let name = attack.get(row);
            let entry = counts.entry(name.to_owned()).or_insert((known.contains(name), 0, 0));
            entry.1 += 1;
            entry.2 += usize::from(*decided != BENIGN);
        }
    }
    let total = |seen: bool| {
        let of = counts.values().filter(|(known, _, _)| *known == seen);
        of.fold((0, 0), |sum, (_, rows, found)| (sum.0 + rows, sum.1 + found))
    };
    let line = |name: &str, known: &str, (rows, found): (usize, usize)| {
        vec![name.to_owned(), known.to_owned(), rows.to_string(), found.to_string()]
    };
    let mut rows =
        vec![line("all that training knew", "yes", total(true)), line("all that are new", "no", total(false))];
    rows.extend(
        counts.iter().map(|(name, (known, all, found))| line(name, if *known { "yes" } else { "no" }, (*all, *found))),
    );
    Section::Table {
        heading: "Attacks by kind".to_owned(),
        caption: "Flows of the test part that were called an attack, by the kind of attack.".to_owned(),
        header: ["kind", "in the training part", "flows", "found"].map(str::to_owned).to_vec(),
        rows,
    }
}
