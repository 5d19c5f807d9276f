//! The public sets as rows for a model that sees no labels: features, benign or not, groups, and the protocol's part of every row.
//!
//! Each set comes in two schemas: its own columns, and the serving schema that a sensor can fill. Guarantees: the protocol is the set's own
//! (five grouped folds; the official parts of `nsl_kdd`); rows keep the set's order. Must not: hand a label to a model.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::catalogue::TrainError;
use crate::data::folds::grouped_stratified_folds;
use crate::data::table::TableError;
use crate::data::traffic_set::{Feature, FeatureKind, Order, TrafficSet};
use crate::data::{cicids2017, nsl_kdd, unsw_nb15, wustl_ehms};
use crate::measure::Part;
use crate::model_file::DataSource;
use crate::traffic::serving::{History, SERVING_COLUMNS, SERVING_FEATURES};

/// Folds of a set without official parts.
const FOLDS: u8 = 5;
/// The sets by the names of their folders.
pub(crate) const SETS: [&str; 4] = ["wustl_ehms_2020", "cicids2017_improved", "unsw_nb15_82k", "nsl_kdd"];

/// Which columns a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The set's own.
    Own,
    /// What a sensor can fill.
    Serving,
}

/// Rows of one or several sets in one schema.
#[derive(Clone, Debug)]
pub(crate) struct Labelled {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
    pub(crate) categorical: Vec<bool>,
    pub(crate) values: Array2<f32>,
    pub(crate) attack: Vec<bool>,
    /// Index into `kinds` per row: which attack, or benign.
    pub(crate) kind: Vec<usize>,
    pub(crate) kinds: Vec<String>,
    pub(crate) groups: Vec<u64>,
    pub(crate) part: Vec<Part>,
    pub(crate) sources: Vec<DataSource>,
}

impl Labelled {
    /// The features of a row.
    pub(crate) fn row(&self, at: usize) -> &[f32] {
        let width = self.features.len();
        let values = self.values.as_slice().expect("rows are kept in standard layout");
        &values[at * width..(at + 1) * width]
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.attack.len()
    }

    /// Training and tested rows of every part that is tested.
    pub(crate) fn splits(&self) -> Vec<(Vec<usize>, Vec<usize>)> {
        let mut parts: Vec<Part> = self.part.iter().copied().filter(|part| *part != Part::Train).collect();
        parts.sort_unstable();
        parts.dedup();
        let trains = |tested: Part, row: Part| match tested {
            Part::Fold(_) => row != tested && row != Part::Test,
            Part::Train | Part::Test => row == Part::Train,
        };
        let rows = |wanted: &dyn Fn(Part) -> bool| (0..self.len()).filter(|row| wanted(self.part[*row])).collect();
        parts.iter().map(|part| (rows(&|row| trains(*part, row)), rows(&|row| row == *part))).collect()
    }

    /// All sets in one; their schemas are the same. The official test rows of a set stay out: folds and official parts do not mix.
    pub(crate) fn pooled(sets: &[Self], seed: u64) -> Result<Self, TrainError> {
        let first = sets.first().ok_or_else(|| TrainError::Unsuitable { reason: "no set was found".to_owned() })?;
        if sets.iter().any(|set| set.features != first.features) {
            return Err(TrainError::Unsuitable { reason: "the sets have different columns".to_owned() });
        }
        let mut all = Self {
            name: sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>().join(" + "),
            features: first.features.clone(),
            categorical: first.categorical.clone(),
            values: Array2::zeros((0, first.features.len())),
            attack: Vec::new(),
            kind: Vec::new(),
            kinds: Vec::new(),
            groups: Vec::new(),
            part: Vec::new(),
            sources: Vec::new(),
        };
        let mut values = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let kept: Vec<usize> = (0..set.len()).filter(|row| set.part[*row] != Part::Test).collect();
            let truth: Vec<usize> = kept.iter().map(|row| set.kind[*row]).collect();
            // The number of the set in the top bits keeps groups of different sets apart.
            let groups: Vec<u64> = kept.iter().map(|row| (set.groups[*row] >> 3) | (number as u64) << 61).collect();
            let folds = grouped_stratified_folds(&truth, &groups, FOLDS, seed)?;
            let before = all.kinds.len();
            all.kinds.extend(set.kinds.iter().map(|kind| format!("{}: {kind}", set.name)));
            kept.iter().for_each(|row| values.extend_from_slice(set.row(*row)));
            all.attack.extend(kept.iter().map(|row| set.attack[*row]));
            all.kind.extend(truth.iter().map(|kind| before + kind));
            all.groups.extend(groups);
            all.part.extend(folds.into_iter().map(Part::Fold));
            // Of a set with official parts only the first is for teaching.
            let official = set.part.contains(&Part::Train);
            all.sources.extend(set.sources.iter().take(if official { 1 } else { usize::MAX }).cloned());
        }
        all.values = Array2::from_shape_vec((all.attack.len(), all.features.len()), values)
            .expect("every row has as many values as there are features");
        Ok(all)
    }
}

/// The folders of the sets at `data`: `data` itself when it is one of them, else those inside it.
pub(crate) fn folders(data: &Path) -> Vec<(&'static str, PathBuf)> {
    let own = SETS.iter().find(|name| data.file_name().is_some_and(|folder| folder == **name));
    match own {
        Some(name) => vec![(*name, data.to_owned())],
        None => SETS.iter().map(|name| (*name, data.join(name))).filter(|(_, path)| path.is_dir()).collect(),
    }
}

/// Reads a set in a schema.
///
/// # Errors
/// [`TrainError`].
pub(crate) fn load(name: &str, folder: &Path, schema: Schema, seed: u64) -> Result<Labelled, TrainError> {
    let sets = match name {
        "wustl_ehms_2020" => vec![wustl_ehms::load(folder, wustl_ehms::Options::default())?],
        "cicids2017_improved" => vec![cicids2017::load(folder, cicids2017::Options::default())?],
        "unsw_nb15_82k" => vec![unsw_nb15::load(folder, unsw_nb15::Options::default())?],
        _ => {
            vec![nsl_kdd::load(folder, nsl_kdd::Part::Train)?, nsl_kdd::load(folder, nsl_kdd::Part::Test)?]
        }
    };
    let official = sets.len() > 1;
    let mut parts = Vec::new();
    for (number, set) in sets.into_iter().enumerate() {
        let mut labelled = labelled(name, set, schema)?;
        labelled.part = match (official, number) {
            (true, 0) => vec![Part::Train; labelled.len()],
            (true, _) => vec![Part::Test; labelled.len()],
            (false, _) => grouped_stratified_folds(&labelled.kind, &labelled.groups, FOLDS, seed)?
                .into_iter()
                .map(Part::Fold)
                .collect(),
        };
        parts.push(labelled);
    }
    Ok(one_after_the_other(parts))
}

/// Reads any file that has the columns of one of the sets, in the serving schema; all its rows are [`Part::Test`].
///
/// # Errors
/// [`TrainError`]; when it has the columns of no set, what is missing is said for the set that it is closest to.
pub(crate) fn load_file(file: &Path) -> Result<Labelled, TrainError> {
    type Reader = fn(&Path) -> Result<TrafficSet, TableError>;
    let readers: [(&str, Reader); 4] = [
        (SETS[0], |file| wustl_ehms::load(file, wustl_ehms::Options::default())),
        (SETS[1], |file| cicids2017::load(file, cicids2017::Options::default())),
        (SETS[2], |file| unsw_nb15::load(file, unsw_nb15::Options::default())),
        (SETS[3], |file| nsl_kdd::load(file, nsl_kdd::Part::Test)),
    ];
    let mut closest: Option<(usize, TableError)> = None;
    for (name, read) in readers {
        let error = match read(file) {
            Ok(set) => return labelled(name, set, Schema::Serving),
            Err(error) => error,
        };
        let lacking = match &error {
            TableError::WrongColumns { missing, .. } => missing.len(),
            // Its columns are there, something else is wrong: that is the set, and that is to be said.
            _ => 0,
        };
        if closest.as_ref().is_none_or(|(least, _)| lacking < *least) {
            closest = Some((lacking, error));
        }
    }
    Err(closest.expect("there are sets, and all failed").1.into())
}

/// Official parts of one set in one.
fn one_after_the_other(parts: Vec<Labelled>) -> Labelled {
    let mut parts = parts.into_iter();
    let mut all = parts.next().expect("every set has a part");
    for part in parts {
        let mut names = all.kinds.clone();
        let kind = |kind: &usize| names.iter().position(|known| *known == part.kinds[*kind]);
        let known: Vec<Option<usize>> = (0..part.kinds.len()).map(|at| kind(&at)).collect();
        let place: Vec<usize> = known
            .iter()
            .zip(&part.kinds)
            .map(|(known, name)| {
                known.unwrap_or_else(|| {
                    names.push(name.clone());
                    names.len() - 1
                })
            })
            .collect();
        all.kind.extend(part.kind.iter().map(|kind| place[*kind]));
        all.kinds = names;
        all.attack.extend(part.attack);
        let after = all.groups.iter().max().map_or(0, |last| last + 1);
        all.groups.extend(part.groups.iter().map(|group| group.wrapping_add(after)));
        all.part.extend(part.part);
        all.sources.extend(part.sources);
        all.values.append(ndarray::Axis(0), part.values.view()).expect("parts of one set have the same columns");
    }
    all
}

/// A set as rows, all of them [`Part::Test`].
pub(crate) fn labelled(name: &str, set: TrafficSet, schema: Schema) -> Result<Labelled, TrainError> {
    let (kind, kinds) = match &set.attack {
        None => (set.truth.clone(), set.classes.clone()),
        Some(attack) => {
            let mut kinds: Vec<String> = Vec::new();
            let mut code = |word: &str| {
                kinds.iter().position(|known| known == word).unwrap_or_else(|| {
                    kinds.push(word.to_owned());
                    kinds.len() - 1
                })
            };
            let codes = attack.iter().map(&mut code).collect();
            (codes, kinds)
        }
    };
    let (values, features) = match schema {
        Schema::Own => (set.features, set.columns),
        Schema::Serving => serving(&set),
    };
    Ok(Labelled {
        name: name.to_owned(),
        categorical: features.iter().map(|feature| feature.kind != FeatureKind::Numeric).collect(),
        features: features.into_iter().map(|feature| feature.name).collect(),
        values: values.as_standard_layout().into_owned(),
        attack: set.truth.iter().map(|class| *class != set.benign).collect(),
        kind,
        kinds,
        part: vec![Part::Test; set.truth.len()],
        groups: set.groups,
        sources: vec![set.source],
    })
}

/// The serving schema of a set: history only where the set's order is that of time.
fn serving(set: &TrafficSet) -> (Array2<f32>, Vec<Feature>) {
    let columns = SERVING_COLUMNS.iter().map(|column| Feature {
        name: column.name.to_owned(),
        kind: column.codes.map_or(FeatureKind::Numeric, |codes| FeatureKind::Categorical { codes }),
    });
    let mut history = History::new();
    let mut values = Vec::with_capacity(set.len() * SERVING_FEATURES);
    for flow in &set.flows {
        let features = match set.order {
            Order::Capture => history.observe(flow),
            Order::None => history.features(flow),
        };
        values.extend_from_slice(&features);
    }
    let values = Array2::from_shape_vec((set.len(), SERVING_FEATURES), values).expect("one row of features per flow");
    (values, columns.collect())
}
