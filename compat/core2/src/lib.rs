//! Stands in for the yanked `core2` 0.4: on a platform with `std` that crate only re-exports these two modules.
pub use std::{error, io};
