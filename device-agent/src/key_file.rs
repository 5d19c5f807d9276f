//! The device key's file: 32 seed bytes as 64 hex digits, readable by its owner alone.
//!
//! Guarantees: a key file that others may read is refused; a new one is written with mode 0600 and never over an existing file; the seed is
//! wiped from memory. Must not: be given on a command line or in the environment.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use pulsegate_reading::DeviceKey;
use rand::RngCore;
use zeroize::Zeroizing;

use crate::error::AgentError;

/// Longest key file that is read, bytes: the digits and a line end.
const KEY_FILE_BYTES_MAX: u64 = 70;

/// Reads a device key.
///
/// # Errors
/// [`AgentError::File`] when it cannot be read, others may read it, or it is not 64 hex digits.
pub fn read_key_file(path: &Path) -> Result<DeviceKey, AgentError> {
    let problem = |problem: String| AgentError::File { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|error| problem(format!("{error}; create it with `pulsegate-agent key`")))?;
    refuse_open_mode(&file, path)?;
    let mut text = Zeroizing::new(String::new());
    let read = file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| problem("is not a key file; it holds 64 hex digits".to_owned()))?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_end(), seed.as_mut())
        .map_err(|_| problem("is not a key file; it holds 64 hex digits".to_owned()))?;
    Ok(DeviceKey::from_seed(&seed))
}

/// Makes a random device key and its file.
///
/// # Errors
/// [`AgentError::File`] when the file exists or cannot be written.
pub fn create_key_file(path: &Path) -> Result<DeviceKey, AgentError> {
    let problem = |error: std::io::Error| AgentError::File {
        path: path.to_owned(),
        problem: format!("{error}; a key file is never overwritten, choose another path"),
    };
    let mut seed = Zeroizing::new([0; 32]);
    rand::rngs::OsRng.fill_bytes(seed.as_mut());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(problem)?;
    let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(seed.as_ref()))));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(problem)?;
    Ok(DeviceKey::from_seed(&seed))
}

#[cfg(unix)]
fn refuse_open_mode(file: &File, path: &Path) -> Result<(), AgentError> {
    use std::os::unix::fs::PermissionsExt;
    let problem = |problem: String| AgentError::File { path: path.to_owned(), problem };
    let mode = file.metadata().map_err(|error| problem(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(problem("others may read this key; chmod 600 it, and consider a new key".to_owned()));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_open_mode(_: &File, _: &Path) -> Result<(), AgentError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.key");
        let made = create_key_file(&path).unwrap();
        assert_eq!(read_key_file(&path).unwrap().device_id(), made.device_id());
        assert_eq!(create_key_file(&path).err().map(|error| error.code()), Some("FILE_UNUSABLE"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.key");
        create_key_file(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_key_file(&path).err().map(|error| error.code()), Some("FILE_UNUSABLE"));
    }
}
