//! Detectors at work: who sits at the table, where models come from, and how the chain's word about them is followed.

mod models;
mod panel;
mod panics;
mod watch;

pub use models::{MODEL_FILES_MAX, ModelError, ModelLoader, Models, served};
pub(crate) use panel::Panel;
pub use panics::end_process_on_panic;
pub use watch::{MODELS_POLL_MS, ModelInUse, ModelState};
pub(crate) use watch::{START_MS_MAX, Watch, watch_loop};
