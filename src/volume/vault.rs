//! Encrypted volumes: what is told of one that is locked, and how one is unlocked.
//!
//! A kind of encryption is one file below `volume/` and one row of [`crate::registry::VAULTS`]. It reads headers and tries keys;
//! `open.rs` lays what it says over the evidence.

use super::crypt::Sectors;
use crate::fault::Fault;
use crate::image::View;
use std::sync::Arc;

/// What volumes are tried to be unlocked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Passwords, and recovery passwords of eight groups of six digits.
    pub passwords: Vec<Vec<u8>>,
    /// Volume keys, and the contents of key files.
    pub keys: Vec<Vec<u8>>,
}

impl Keys {
    /// All that may be typed or held in a file.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.passwords.iter().chain(&self.keys).map(Vec::as_slice)
    }
}

/// A volume that is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    /// UUID.
    pub id: String,
    /// Label or description.
    pub name: String,
    /// What it is: `LUKS2, aes-xts-plain64`.
    pub what: String,
    /// What opens it: `2 passwords`, `recovery password`.
    pub by: Vec<String>,
    /// What is damaged.
    pub faults: Vec<Fault>,
}

impl Locked {
    /// One sentence for whoever has no key.
    pub fn sentence(&self) -> String {
        let by = if self.by.is_empty() { "nothing that is known".to_owned() } else { self.by.join(", ") };
        format!("encrypted ({}), opened by {by}: give --password-file or --key to read it", self.what)
    }
}

/// How the bytes of a stretch come about.
#[derive(Clone)]
pub enum Sheet {
    /// Decoded; the first sector has this number.
    Decoded(Arc<Sectors>, u64),
    /// As they stand.
    Plain,
    /// Zeros.
    Zeros,
    /// These bytes.
    Given(Vec<u8>),
}

/// A stretch of an unlocked volume.
#[derive(Clone)]
pub struct Layer {
    /// Where in the locked volume it is shown.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where in the locked volume its bytes stand.
    pub from: u64,
    /// How they come about.
    pub sheet: Sheet,
}

/// A volume that is no longer locked.
pub struct Unlocked {
    /// Where in the locked volume its first byte is shown.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its stretches; none overlap.
    pub layers: Vec<Layer>,
    /// The volume's own key, which opens it again.
    pub key: Vec<u8>,
    /// What opened it.
    pub by: String,
}

/// A row of the table of encryption.
pub struct Vault {
    /// Its name: `luks`, `bitlocker`.
    pub name: &'static str,
    /// Looks at a volume's headers; `None` where it is none of this kind.
    pub probe: fn(View<'_>) -> Option<Locked>,
    /// Tries keys; `None` where none fits.
    pub unlock: fn(View<'_>, &Keys) -> Option<Unlocked>,
}

/// What a volume is that is encrypted, by the first row that knows it.
pub fn locked(volume: View<'_>) -> Option<(&'static Vault, Locked)> {
    crate::registry::VAULTS.iter().find_map(|vault| Some((vault, (vault.probe)(volume)?)))
}
