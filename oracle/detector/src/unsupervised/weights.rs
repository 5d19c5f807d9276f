//! The model as a file and back.
//!
//! Guarantees: what was written and read judges the same, bit by bit; a file of another kind, with sizes that disagree, or beyond the
//! limits of [`super::ensemble`] is refused with its reason. Must not: hold a number that is not finite; where a prototype knows no value,
//! a second matrix says so.

use ndarray::Array2;
use pulsegate_rules::registry::DetectorKind;
use serde::{Deserialize, Serialize};

use super::autoencoder::Autoencoder;
use super::codebook::Codebook;
use super::ensemble::{Ensemble, Level, MEMBERS_MAX, WIDTH_MAX};
use super::model::{Mix, Model};
use super::scale::{CODES_MAX, Column, KNOTS, Scale};
use super::tail::{TAIL_POINTS, Tail};
use crate::catalogue::TrainError;
use crate::model_file::{DataSource, Metadata, ModelFile, ModelFileError};
use crate::nn::Parameters;

/// Name of the model in the catalogue and of its file.
pub const NAME: &str = "traffic-unsupervised";
/// Class names, in the order of the probabilities.
pub(super) const CLASSES: [&str; 2] = ["benign", "attack"];

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    features: Vec<Feature>,
    clusters: Vec<Cluster>,
    output_hidden: usize,
    prototypes: usize,
    mix: Mix,
    /// Share of benign flows at which an alarm is raised, and the assumed shape of attacks: for the reader, the code has them too.
    alarm_share: f64,
    attack_shape: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    name: String,
    /// Whether the model reads it.
    read: bool,
    /// For a category: how many codes are known, and which have a column of their own.
    codes: Option<(usize, Vec<usize>)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    columns: Vec<usize>,
    hidden: usize,
}

fn row(values: &[f32]) -> Array2<f32> {
    Array2::from_shape_vec((1, values.len()), values.to_vec()).expect("one row of as many values")
}

impl Model {
    /// The model as a file.
    pub(crate) fn to_file(&self, data: Vec<DataSource>, seed: u64) -> ModelFile {
        let ensemble = &self.ensemble;
        let metadata = Metadata {
            name: NAME.to_owned(),
            kind: DetectorKind::TrafficUnsupervised,
            classes: CLASSES.map(str::to_owned).to_vec(),
            settings: serde_json::to_value(self.settings()).expect("settings are plain JSON"),
            data,
            seed,
            metrics_sha256: None,
        };
        let mut file = ModelFile::new(metadata, &Parameters::new());
        for (at, column) in ensemble.scale.columns.iter().enumerate() {
            match column {
                Column::Unused => {}
                Column::Number { knots } => file.insert(&format!("scale.{at}"), row(knots)),
                Column::Category { rarity, .. } => file.insert(&format!("scale.{at}"), row(rarity)),
            }
        }
        for (at, member) in ensemble.members.iter().enumerate() {
            file.insert(&format!("member.{at}"), row(member.weights()));
        }
        file.insert("output", row(ensemble.output.weights()));
        let levels = ensemble.levels.iter().chain([&ensemble.output_level, &ensemble.codebook_level]);
        let levels: Vec<f32> = levels.flat_map(|level| [level.mean, level.spread]).collect();
        file.insert("levels", row(&levels));
        let prototypes = ensemble.codebook.prototypes();
        let known: Vec<f32> = prototypes.iter().map(|value| if value.is_nan() { 0.0 } else { 1.0 }).collect();
        let values: Vec<f32> = prototypes.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect();
        file.insert("codebook.known", row(&known));
        file.insert("codebook.values", row(&values));
        file.insert("tail.scores", row(&self.tail.scores));
        file.insert("tail.log_shares", row(&self.tail.log_shares));
        file.insert("tail.slope", row(&[self.tail.slope]));
        file
    }

    fn settings(&self) -> Settings {
        let ensemble = &self.ensemble;
        let codes = |column: &Column| match column {
            Column::Unused | Column::Number { .. } => None,
            Column::Category { rarity, frequent } => Some((rarity.len(), frequent.clone())),
        };
        let features = self.features.iter().zip(&ensemble.scale.columns);
        let clusters = ensemble.clusters.iter().zip(&ensemble.members);
        Settings {
            features: features
                .map(|(name, column)| Feature {
                    name: name.clone(),
                    read: *column != Column::Unused,
                    codes: codes(column),
                })
                .collect(),
            clusters: clusters
                .map(|(columns, member)| Cluster { columns: columns.clone(), hidden: member.hidden() })
                .collect(),
            output_hidden: ensemble.output.hidden(),
            prototypes: ensemble.codebook.count(),
            mix: self.mix,
            alarm_share: super::ALARM_SHARE,
            attack_shape: super::ATTACK_SHAPE,
        }
    }

    /// The model of a file.
    ///
    /// # Errors
    /// [`TrainError::Model`] says what does not fit.
    pub(crate) fn from_file(file: &ModelFile) -> Result<Self, TrainError> {
        let refused = |reason: String| TrainError::Model { reason };
        if file.metadata.kind != DetectorKind::TrafficUnsupervised {
            return Err(refused(format!("it judges {:?}, not traffic without labels", file.metadata.kind)));
        }
        let settings: Settings =
            serde_json::from_value(file.metadata.settings.clone()).map_err(|error| refused(error.to_string()))?;
        let mut read = Reader { file };
        let scale = Scale::new(read.columns(&settings.features)?);
        let width = scale.width();
        let columns_fit = settings.clusters.iter().flat_map(|cluster| &cluster.columns).all(|column| *column < width);
        if !(1..=WIDTH_MAX).contains(&width) || settings.clusters.len() > MEMBERS_MAX || !columns_fit {
            return Err(refused(format!("{width} columns and {} clusters do not fit", settings.clusters.len())));
        }
        let members: Result<Vec<_>, _> = settings
            .clusters
            .iter()
            .enumerate()
            .map(|(at, cluster)| read.autoencoder(&format!("member.{at}"), cluster.columns.len(), cluster.hidden))
            .collect();
        let members = members?;
        let output = read.autoencoder("output", members.len(), settings.output_hidden)?;
        let mut levels = read.levels(members.len() + 2)?;
        let codebook_level = levels.pop().expect("two more levels than members were read");
        let output_level = levels.pop().expect("two more levels than members were read");
        let codebook = read.codebook(settings.prototypes, width)?;
        let clusters = settings.clusters.into_iter().map(|cluster| cluster.columns).collect();
        let ensemble =
            Ensemble::new(scale, clusters, (members, levels), (output, output_level), (codebook, codebook_level));
        let features = settings.features.into_iter().map(|feature| feature.name).collect();
        Ok(Self { features, ensemble, mix: settings.mix, tail: read.tail()? })
    }
}

/// Reads the matrices, checking what they have to obey.
struct Reader<'a> {
    file: &'a ModelFile,
}

impl Reader<'_> {
    fn row(&mut self, name: &str, length: usize) -> Result<Vec<f32>, TrainError> {
        let found = self.file.tensor(name, [1, length]);
        found
            .map(|matrix| matrix.iter().copied().collect())
            .map_err(|error: ModelFileError| TrainError::Model { reason: error.to_string() })
    }

    fn columns(&mut self, features: &[Feature]) -> Result<Vec<Column>, TrainError> {
        let column = |(at, feature): (usize, &Feature)| {
            let name = format!("scale.{at}");
            match &feature.codes {
                _ if !feature.read => Ok(Column::Unused),
                None => {
                    let knots = self.row(&name, KNOTS)?;
                    if !knots.is_sorted() {
                        return Err(TrainError::Model { reason: format!("the quantiles of {:?} fall", feature.name) });
                    }
                    Ok(Column::Number { knots })
                }
                Some((known, frequent)) if *known <= CODES_MAX && frequent.len() <= CODES_MAX => {
                    Ok(Column::Category { rarity: self.row(&name, *known)?, frequent: frequent.clone() })
                }
                Some((known, _)) => Err(TrainError::Model { reason: format!("{:?} has {known} codes", feature.name) }),
            }
        };
        features.iter().enumerate().map(column).collect()
    }

    fn autoencoder(&mut self, name: &str, inputs: usize, hidden: usize) -> Result<Autoencoder, TrainError> {
        let unfit = || TrainError::Model { reason: format!("{name}: {inputs} inputs and {hidden} hidden units") };
        // Sizes are held small before they are multiplied.
        if inputs > MEMBERS_MAX || hidden > MEMBERS_MAX {
            return Err(unfit());
        }
        let weights = self.row(name, Autoencoder::weights_of(inputs, hidden))?;
        Autoencoder::from_weights(inputs, hidden, weights).ok_or_else(unfit)
    }

    fn levels(&mut self, count: usize) -> Result<Vec<Level>, TrainError> {
        let values = self.row("levels", 2 * count)?;
        let levels: Vec<Level> = values.chunks_exact(2).map(|pair| Level { mean: pair[0], spread: pair[1] }).collect();
        match levels.iter().all(|level| level.spread > 0.0) {
            true => Ok(levels),
            false => Err(TrainError::Model { reason: "a spread is not above zero".to_owned() }),
        }
    }

    fn codebook(&mut self, prototypes: usize, width: usize) -> Result<Codebook, TrainError> {
        let unfit = || TrainError::Model { reason: format!("{prototypes} prototypes do not fit") };
        let length = prototypes.checked_mul(width).ok_or_else(unfit)?;
        let (known, values) = (self.row("codebook.known", length)?, self.row("codebook.values", length)?);
        let value = |(known, value): (&f32, &f32)| if *known == 1.0 { *value } else { f32::NAN };
        Codebook::from_prototypes(width, known.iter().zip(&values).map(value).collect()).ok_or_else(unfit)
    }

    fn tail(&mut self) -> Result<Tail, TrainError> {
        let (scores, log_shares) = (self.row("tail.scores", TAIL_POINTS)?, self.row("tail.log_shares", TAIL_POINTS)?);
        let slope = self.row("tail.slope", 1)?[0];
        let rises = scores.windows(2).all(|pair| pair[0] < pair[1]);
        let falls = log_shares.windows(2).all(|pair| pair[0] > pair[1]) && log_shares[0] <= 0.0;
        match rises && falls && slope > 0.0 {
            true => Ok(Tail { scores, log_shares, slope }),
            false => Err(TrainError::Model { reason: "the shares of benign flows do not fall".to_owned() }),
        }
    }
}
