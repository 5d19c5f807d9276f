//! What an operator may choose about the oracle: one typed struct, checked once at start.
//!
//! Unknown keys are refused, and every complaint names its key. Adapters (which chain, which block store) are not chosen here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use pulsegate_detector::vitals::Setting;
use pulsegate_rules::records::BATCH_COUNT_MAX;
use serde::{Deserialize, Serialize};

/// Longest age at which a batch may be left open, one hour in milliseconds.
pub const BATCH_AGE_MS_MAX: u64 = 3_600_000;
/// Most co-signers that one oracle asks.
pub const COSIGNERS_MAX: usize = 16;

/// The oracle's settings. `OracleConfig::default()` fits one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OracleConfig {
    /// Where the durable log lies. Created when missing.
    pub data_dir: PathBuf,
    /// Address of the HTTP service; port 0 takes a free one. Anything but loopback needs `tls`.
    pub listen: SocketAddr,
    /// Certificate chain and key in PEM; without them the service speaks plain HTTP on loopback only.
    pub tls: Option<TlsFiles>,
    /// A batch closes at this many records.
    pub batch_count_max: u32,
    /// A batch with at least one record closes at this age, milliseconds of real time.
    pub batch_age_ms: u64,
    /// A receipt waits at most this long for its batch to close, milliseconds of real time.
    pub receipt_age_ms: u64,
    /// Most readings accepted and not yet sealed, and most sealed ones not yet anchored; above it devices are told to wait.
    pub log_entries_max: u64,
    /// Most readings of one patient accepted and not yet sealed, so that a patient without epoch keys fills only this much.
    pub patient_backlog_max: u64,
    /// Most requests served at the same time; above it the answer is 503 with Retry-After.
    pub requests_in_flight_max: usize,
    /// Most release requests of one reader in one minute.
    pub releases_per_minute_max: u32,
    /// Folder with the files of detector models (`*.safetensors`); without it, those that are committed with the program. Of either, only
    /// files whose SHA-256 the registry names active are loaded.
    pub models_dir: Option<PathBuf>,
    /// Where the patients are. Only in intensive care, where the learned model of vital signs was measured, does its risk mark a patient as
    /// unwell; elsewhere it advises, and NEWS2 decides.
    pub care_setting: Setting,
    /// Base URLs of the oracles that are asked to sign with us when the threshold is above one.
    pub cosigners: Vec<String>,
}

/// Where the TLS certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

impl Default for OracleConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("oracle"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400),
            tls: None,
            batch_count_max: 256,
            batch_age_ms: 2_000,
            receipt_age_ms: 2_000,
            log_entries_max: 100_000,
            patient_backlog_max: 20_000,
            requests_in_flight_max: 256,
            releases_per_minute_max: 120,
            models_dir: None,
            care_setting: Setting::default(),
            cosigners: Vec::new(),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("`{key}` is {value}; set it between {min} and {max}")]
    OutOfRange {
        /// The setting's key.
        key: &'static str,
        /// What was given.
        value: u64,
        /// Smallest value that works.
        min: u64,
        /// Largest value that works.
        max: u64,
    },
    /// Plain HTTP would leave the machine.
    #[error(
        "`listen` is {listen}, which is not loopback, and `tls` is not set; configure a certificate and key, or listen on 127.0.0.1"
    )]
    TlsRequired {
        /// The refused address.
        listen: SocketAddr,
    },
    /// A co-signer's URL is not HTTP.
    #[error("`cosigners` holds {url}; give base URLs that begin with https:// (or http:// on loopback)")]
    CosignerUrl {
        /// The refused URL.
        url: String,
    },
}

impl ConfigError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "CONFIG_OUT_OF_RANGE",
            Self::TlsRequired { .. } => "TLS_REQUIRED",
            Self::CosignerUrl { .. } => "CONFIG_COSIGNER_URL",
        }
    }
}

impl OracleConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot work, by its key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let in_range = |key, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError::OutOfRange { key, value, min, max }) }
        };
        in_range("batch_count_max", self.batch_count_max.into(), 1, BATCH_COUNT_MAX.into())?;
        in_range("batch_age_ms", self.batch_age_ms, 1, BATCH_AGE_MS_MAX)?;
        in_range("receipt_age_ms", self.receipt_age_ms, 1, BATCH_AGE_MS_MAX)?;
        in_range("log_entries_max", self.log_entries_max, 1, 1 << 32)?;
        in_range("patient_backlog_max", self.patient_backlog_max, 1, self.log_entries_max)?;
        in_range("requests_in_flight_max", self.requests_in_flight_max as u64, 1, 1 << 16)?;
        in_range("releases_per_minute_max", self.releases_per_minute_max.into(), 1, 1 << 20)?;
        in_range("cosigners", self.cosigners.len() as u64, 0, COSIGNERS_MAX as u64)?;
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(ConfigError::TlsRequired { listen: self.listen });
        }
        match self.cosigners.iter().find(|url| !is_safe_url(url)) {
            Some(url) => Err(ConfigError::CosignerUrl { url: url.clone() }),
            None => Ok(()),
        }
    }
}

/// HTTPS anywhere, plain HTTP to this machine only.
fn is_safe_url(url: &str) -> bool {
    url.starts_with("https://")
        || ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| {
            url.strip_prefix(local)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with('/'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(OracleConfig::default().validate(), Ok(()));
    }

    #[test]
    fn plain_http_beyond_loopback_is_refused_by_its_code() {
        let config = OracleConfig { listen: "0.0.0.0:7400".parse().unwrap(), ..OracleConfig::default() };
        assert_eq!(config.validate().unwrap_err().code(), "TLS_REQUIRED");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<OracleConfig>(r#"{"batch_cuont_max": 3}"#).unwrap_err();
        assert!(error.to_string().contains("batch_cuont_max"));
    }

    #[test]
    fn a_batch_larger_than_the_chain_takes_is_refused_by_its_key() {
        let config = OracleConfig { batch_count_max: BATCH_COUNT_MAX + 1, ..OracleConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("batch_count_max"));
    }

    #[test]
    fn cosigners_over_plain_http_elsewhere_are_refused() {
        for (url, safe) in [
            ("https://oracle.example", true),
            ("http://127.0.0.1:7401", true),
            ("http://127.0.0.1.example.com", false),
            ("http://oracle.example", false),
        ] {
            let config = OracleConfig { cosigners: vec![url.to_owned()], ..OracleConfig::default() };
            assert_eq!(config.validate().is_ok(), safe, "{url}");
        }
    }
}
