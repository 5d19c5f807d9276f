//! The configuration file: where the chain, the block store, the contracts and the oracle are. One TOML file serves
//! `pulsegate up` and the people who use it.
//!
//! Unknown keys are refused, everything is checked once when the file is read, and every complaint names its key.
//! Relative paths count from the file's own folder. The file holds no secret.

use std::path::{Path, PathBuf};

use pulsegate_oracle::config::OracleConfig;
use serde::Deserialize;

use crate::failure::{Failure, Outcome};
use crate::oracle_client::is_loopback;

/// Longest configuration file, bytes.
const CONFIG_BYTES_MAX: u64 = 256 * 1_024;
/// How long a node or a Kubo may take over one request unless configured, milliseconds.
const DEADLINE_MS: u64 = 30_000;

/// A whole configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where clients find the oracle, and its keystore.
    pub(crate) oracle: OracleSection,
    /// How the oracle's service runs; read by `pulsegate up` alone.
    #[serde(default)]
    pub(crate) service: OracleConfig,
    /// Which chain.
    pub(crate) ledger: LedgerSection,
    /// Which block store.
    pub(crate) blocks: BlocksSection,
    /// Which contracts on the chain.
    pub(crate) contracts: ContractsSection,
}

/// `[oracle]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OracleSection {
    /// Base URL at which clients reach the oracle; plain `http` is taken for loopback hosts only.
    pub(crate) url: String,
    /// The oracle's encrypted keystore; only the operator's file needs it.
    #[serde(default)]
    pub(crate) keystore: Option<PathBuf>,
    /// PEM certificate of the authority that signed the oracle's, when it is not a public one.
    #[serde(default)]
    pub(crate) certificate_authority: Option<PathBuf>,
}

/// `[ledger]`
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum LedgerSection {
    /// The chain inside the process of `pulsegate up`; others reach it through the oracle's loopback address.
    Embedded {
        /// Where its state is.
        data_dir: PathBuf,
    },
    /// A contracts node.
    Node {
        /// WebSocket URL of its RPC.
        url: String,
        /// Longest wait for one answer or one finalised transaction, milliseconds.
        #[serde(default = "deadline_ms")]
        deadline_ms: u64,
    },
}

/// `[blocks]`
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum BlocksSection {
    /// The store inside the process of `pulsegate up`; others reach it through the oracle's loopback address.
    Embedded {
        /// Where its blocks are.
        data_dir: PathBuf,
    },
    /// A Kubo (IPFS) node.
    Kubo {
        /// URL of its RPC.
        api_url: String,
        /// Longest wait for one answer, milliseconds.
        #[serde(default = "deadline_ms")]
        deadline_ms: u64,
    },
}

/// `[contracts]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContractsSection {
    /// The file that names the three contracts and their chain.
    pub(crate) deployment: PathBuf,
    /// The administrator's keystore. With the embedded chain `pulsegate up` makes it on the first start.
    #[serde(default)]
    pub(crate) operator_keystore: Option<PathBuf>,
}

fn deadline_ms() -> u64 {
    DEADLINE_MS
}

impl Config {
    /// Reads and checks a file.
    pub(crate) fn load(path: &Path) -> Outcome<Self> {
        let unreadable = |error: std::io::Error| {
            Failure::new("CONFIG_UNREADABLE", format!("cannot read the configuration {}: {error}", path.display())).next(
                "name yours with --config FILE or PULSEGATE_CONFIG; cli/examples/ has one for every kind of installation",
            )
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > CONFIG_BYTES_MAX {
            return Err(Failure::new(
                "CONFIG_INVALID",
                format!("{} is larger than {CONFIG_BYTES_MAX} bytes", path.display()),
            )
            .next("name a configuration file with --config FILE"));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder)
            .map_err(|failure| Failure { message: format!("{}: {}", path.display(), failure.message), ..failure })
    }

    /// Reads and checks the text of a file that lies in `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Outcome<Self> {
        let mut config: Self = toml::from_str(text).map_err(|error| {
            Failure::new("CONFIG_INVALID", error.to_string()).next("correct the key that the message shows")
        })?;
        for path in config.paths_mut() {
            if path.is_relative() {
                *path = folder.join(&*path);
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// Whether the chain or the blocks live inside the process of `pulsegate up`.
    pub(crate) const fn is_embedded(&self) -> bool {
        matches!(self.ledger, LedgerSection::Embedded { .. }) || matches!(self.blocks, BlocksSection::Embedded { .. })
    }

    /// A path that `pulsegate up` or an operator's command needs, by its key.
    pub(crate) fn required<'a>(path: Option<&'a PathBuf>, key: &str) -> Outcome<&'a Path> {
        path.map(PathBuf::as_path).ok_or_else(|| {
            Failure::new("CONFIG_KEY_MISSING", format!("the configuration lacks `{key}`"))
                .next(format!("add `{key}` to the configuration file"))
        })
    }

    fn validate(&self) -> Outcome<()> {
        let wrong = |key: &str, why: &str| {
            Err(Failure::new("CONFIG_INVALID", format!("`{key}` {why}"))
                .next(format!("correct `{key}` in the configuration file")))
        };
        let url_is = |url: &str, schemes: &[&str]| {
            schemes.iter().any(|scheme| {
                url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
            })
        };
        if !url_is(&self.oracle.url, &["http://", "https://"]) {
            return wrong("oracle.url", "must begin with http:// or https://");
        }
        if self.oracle.url.starts_with("http://") && !is_loopback(&self.oracle.url) {
            return wrong("oracle.url", "must begin with https://, because its host is not this machine (loopback)");
        }
        if let LedgerSection::Node { url, deadline_ms } = &self.ledger {
            if !url_is(url, &["ws://", "wss://"]) {
                return wrong("ledger.url", "must begin with ws:// or wss://");
            }
            if *deadline_ms == 0 {
                return wrong("ledger.deadline_ms", "must be above zero");
            }
        }
        if let BlocksSection::Kubo { api_url, deadline_ms } = &self.blocks {
            if !url_is(api_url, &["http://", "https://"]) {
                return wrong("blocks.api_url", "must begin with http:// or https://");
            }
            if *deadline_ms == 0 {
                return wrong("blocks.deadline_ms", "must be above zero");
            }
        }
        self.service.validate().map_err(|error| {
            Failure::new(error.code(), format!("[service] {error}"))
                .next("correct the key in the [service] part of the file")
        })
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.contracts.deployment, &mut self.service.data_dir];
        paths.extend(self.oracle.keystore.as_mut());
        paths.extend(self.service.models_dir.as_mut());
        paths.extend(self.oracle.certificate_authority.as_mut());
        paths.extend(self.contracts.operator_keystore.as_mut());
        if let Some(tls) = &mut self.service.tls {
            paths.extend([&mut tls.certificate, &mut tls.key]);
        }
        if let LedgerSection::Embedded { data_dir } = &mut self.ledger {
            paths.push(data_dir);
        }
        if let BlocksSection::Embedded { data_dir } = &mut self.blocks {
            paths.push(data_dir);
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMBEDDED: &str = include_str!("../examples/embedded.toml");
    const REAL_PARTS: &str = include_str!("../examples/real-parts.toml");

    #[test]
    fn example_configurations_are_valid() {
        let embedded = Config::parse(EMBEDDED, Path::new("/etc/pulsegate")).unwrap();
        assert!(embedded.is_embedded());
        assert!(embedded.contracts.deployment.starts_with("/etc/pulsegate"));
        let real = Config::parse(REAL_PARTS, Path::new("/etc/pulsegate")).unwrap();
        assert!(!real.is_embedded());
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for (section, key) in
            [("[oracle]", "ulr"), ("[service]", "batch_cuont_max"), ("[ledger]", "port"), ("[contracts]", "registry")]
        {
            let text = EMBEDDED.replace(section, &format!("{section}\n{key} = 1"));
            let failure = Config::parse(&text, Path::new(".")).unwrap_err();
            assert_eq!(failure.code, "CONFIG_INVALID", "{section}");
            assert!(failure.message.contains(key), "{}", failure.message);
        }
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_key() {
        for (from, to, key) in [
            ("url = \"http://127.0.0.1:7400\"", "url = \"127.0.0.1:7400\"", "oracle.url"),
            ("url = \"http://127.0.0.1:7400\"", "url = \"http://oracle.example:7400\"", "oracle.url"),
            ("batch_count_max = 256", "batch_count_max = 0", "batch_count_max"),
            ("adapter = \"embedded\"", "adapter = \"memory\"", "memory"),
        ] {
            let failure = Config::parse(&EMBEDDED.replacen(from, to, 1), Path::new(".")).unwrap_err();
            assert!(failure.message.contains(key), "{key}: {}", failure.message);
        }
        let https = EMBEDDED.replacen("url = \"http://127.0.0.1:7400\"", "url = \"https://oracle.example\"", 1);
        assert!(Config::parse(&https, Path::new(".")).is_ok());
        let failure = Config::parse(&REAL_PARTS.replace("ws://", "http://"), Path::new(".")).unwrap_err();
        assert!(failure.message.contains("ledger.url"), "{}", failure.message);
    }
}
