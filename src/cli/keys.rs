//! Keys of encrypted volumes, as the command line takes them.

use crate::bytes::unhex;
use crate::volume::vault::Keys;
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

/// A key file is no larger.
const MAX_FILE: u64 = 16 << 20;

#[derive(Args)]
pub(super) struct KeyArgs {
    /// A key of an encrypted volume: its own in hexadecimal, or a file that holds one (.BEK, key file of LUKS)
    #[arg(long, value_name = "HEX|FILE")]
    key: Vec<String>,
    /// A file with passwords of encrypted volumes, one a line; as a whole it is tried as a key file, too
    #[arg(long, value_name = "FILE")]
    password_file: Vec<PathBuf>,
    /// A recovery password of BitLocker: eight groups of six digits
    #[arg(long, value_name = "DIGITS")]
    recovery_key: Vec<String>,
}

impl KeyArgs {
    /// Reads what the arguments name.
    pub(super) fn read(&self) -> Result<Keys> {
        let mut keys = Keys::default();
        for key in &self.key {
            match unhex(key).filter(|key| key.len() >= 16) {
                Some(own) => keys.keys.push(own),
                None => keys.keys.push(file(&PathBuf::from(key))?),
            }
        }
        for path in &self.password_file {
            let bytes = file(path)?;
            let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            keys.passwords.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
            keys.keys.push(bytes);
        }
        keys.passwords.extend(self.recovery_key.iter().map(|digits| digits.trim().as_bytes().to_vec()));
        Ok(keys)
    }
}

fn file(path: &PathBuf) -> Result<Vec<u8>> {
    let told = || format!("{}: cannot be read: give a key in hexadecimal or the path of a file", path.display());
    let size = std::fs::metadata(path).with_context(told)?.len();
    anyhow::ensure!(size <= MAX_FILE, "{}: is too large to be a key file", path.display());
    std::fs::read(path).with_context(told)
}
