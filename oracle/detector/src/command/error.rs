//! Why a command stopped, with a stable code and the next step.

use std::path::{Path, PathBuf};

use crate::catalogue::TrainError;
use crate::explain::ExplainError;
use crate::model_file::ModelFileError;
use crate::report::ReportError;
use crate::timing::peer::PeerError;
use crate::traffic::zeek::ZeekError;

/// A command stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No model of that name, and no such file.
    #[error("there is no model and no file {name:?}; the models are {known}", known = known.join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Every name.
        known: Vec<&'static str>,
    },
    /// The model can be trained, but no weights come with this program.
    #[error(
        "no weights of {name:?} come with this program; train it first (`pulsegate detector train --model {name} …`) and name the file"
    )]
    NoWeights {
        /// The model.
        name: String,
    },
    /// A model file cannot be used.
    #[error("{path}: {source}", path = path.display())]
    ModelFile {
        /// The file, or the name of the committed model.
        path: PathBuf,
        /// Why.
        source: ModelFileError,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}; check the path and its permissions", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The figures of a card are not what `evaluate` writes.
    #[error("{path} is not a figures.json of `evaluate` ({reason}); write it again with `pulsegate detector evaluate`", path = path.display())]
    Figures {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The figures are of another model.
    #[error("{path} measured {measured:?}, not {asked:?}; give the figures of the model that the card is for", path = path.display())]
    ForeignFigures {
        /// The file.
        path: PathBuf,
        /// Whom it measured.
        measured: String,
        /// Whom the card is for.
        asked: String,
    },
    /// A model does not judge traffic.
    #[error("{name:?} does not judge traffic; give a traffic model, such as traffic-serving")]
    NotTraffic {
        /// The model.
        name: String,
    },
    /// No traffic model comes with this program.
    #[error(
        "no traffic model that judges live comes with this program; train one (`pulsegate detector train`) and name its file with --model"
    )]
    NoTrafficModels,
    /// No line of a log could be used.
    #[error("{path}: no connection could be read; {source}", path = path.display())]
    Zeek {
        /// The log.
        path: PathBuf,
        /// What is wrong with its first bad line.
        source: ZeekError,
    },
    /// A log is empty.
    #[error("{path} holds no connections; give a conn.log of Zeek, tab-separated with its header or JSON", path = path.display())]
    NoConnections {
        /// The log.
        path: PathBuf,
    },
    /// Training or judging failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// ONNX Runtime could not be compared with.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Nothing could be explained.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// The report was not written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl CommandError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownModel { .. } => "DETECTOR_UNKNOWN_MODEL",
            Self::NoWeights { .. } => "DETECTOR_NO_WEIGHTS",
            Self::ModelFile { source, .. } => source.code(),
            Self::File { .. } => "DETECTOR_FILE_UNREADABLE",
            Self::Figures { .. } => "DETECTOR_FIGURES_UNREADABLE",
            Self::ForeignFigures { .. } => "DETECTOR_FIGURES_FOREIGN",
            Self::NotTraffic { .. } => "DETECTOR_NOT_TRAFFIC",
            Self::NoTrafficModels => "DETECTOR_NO_TRAFFIC_MODELS",
            Self::Zeek { source, .. } => source.code(),
            Self::NoConnections { .. } => "DETECTOR_NO_CONNECTIONS",
            Self::Train(error) => error.code(),
            Self::Peer(error) => error.code(),
            Self::Explain(error) => error.code(),
            Self::Report(error) => error.code(),
        }
    }

    /// For `map_err` on what is done to a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
