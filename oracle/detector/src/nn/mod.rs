//! Own neural layers: a tape with gradients for training, kernels without allocation for serving.
//!
//! Training and serving share the kernels of their forward pass. Every layer's gradient is checked against finite differences.

mod backward;
mod fit;
pub mod kernel;
mod parameters;
mod tape;

pub use backward::Gradients;
pub use fit::{Schedule, fit, generator};
pub use kernel::Conv;
pub use parameters::{Param, Parameters, glorot, he};
pub use tape::{Tape, Var};
