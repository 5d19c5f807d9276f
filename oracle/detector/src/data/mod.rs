//! The public data sets, read the same way every time.
//!
//! Guarantees: only declared columns are ever loaded, so a column that leaks the label cannot reach a model by mistake; every error names
//! the file and the line or column at fault; folds never split a group. Must not: change, fill in or scale a value; what is missing is NaN,
//! and whatever is fitted is fitted by the model on its training rows.

pub mod cicids2017;
pub mod folds;
pub mod mitdb;
pub mod nsl_kdd;
pub mod physionet2012;
pub mod table;
mod table_error;
pub mod traffic_set;
pub mod unsw_nb15;
pub mod wustl_ehms;
