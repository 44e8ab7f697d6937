//! What opens a BitLocker volume: a password, a recovery password, a key in a file, or a key that lies there openly.
//!
//! A protector: GUID, time at 16, kind at 26, then properties, which are entries. The master key is one of them, encrypted with
//! AES-CCM: time and counter as its nonce of 12 bytes, the tag of 16, and what is sealed: 12 bytes of head and the key.

use super::metadata::{Entry, entries};
use crate::bytes::Fields;
use crate::volume::crypt::{ccm, digest};
use crate::volume::vault::Keys;

/// How often a password is hashed.
const ROUNDS: u64 = 0x10_0000;

/// A protector.
pub(super) struct Protector<'a> {
    id: [u8; 16],
    kind: u16,
    properties: &'a [u8],
}

impl<'a> Protector<'a> {
    pub(super) fn read(value: &'a [u8]) -> Option<Self> {
        Some(Self { id: value.array(0)?, kind: value.le16(26)?, properties: value.get(28..)? })
    }

    /// What it is called.
    pub(super) const fn name(&self) -> &'static str {
        match self.kind {
            0 => "a key that lies openly in the volume",
            0x100 => "the computer's TPM",
            0x200 => "a key file (.BEK)",
            0x400..=0x5ff => "the computer's TPM with a PIN or key file",
            0x800 => "a recovery password",
            0x1000 => "a smart card",
            0x2000 => "a password",
            _ => "a protector of unknown kind",
        }
    }

    fn property(&self, kind: u16) -> Option<Entry<'a>> {
        entries(self.properties).find(|entry| entry.value_kind == kind)
    }

    /// The master key, where one of the keys opens it.
    pub(super) fn open(&self, keys: &Keys) -> Option<Vec<u8>> {
        let sealed = self.property(5)?.data;
        let stretched = |secret: [u8; 32]| {
            let salt = self.property(3)?.data.array::<16>(4)?;
            unsealed(sealed, &stretch(secret, salt)?)
        };
        match self.kind {
            0 => unsealed(sealed, self.property(1)?.data.get(4..)?),
            0x800 => keys.passwords.iter().filter_map(|text| recovery(text)).find_map(stretched),
            0x2000 => keys.passwords.iter().filter_map(|text| password(text)).find_map(stretched),
            0x200 => keys.keys.iter().filter_map(|file| self.external(file)).find_map(|key| unsealed(sealed, key)),
            _ => None,
        }
    }

    /// The key that a key file holds for this protector: a header of 48 bytes, and an entry with the same GUID.
    fn external<'k>(&self, file: &'k [u8]) -> Option<&'k [u8]> {
        let outer = entries(file.get(48..)?).find(|entry| entry.value_kind == 9)?.data;
        if outer.array::<16>(0)? != self.id {
            return None;
        }
        entries(outer.get(24..)?).find(|entry| entry.value_kind == 1)?.data.get(4..)
    }
}

/// What an entry has sealed, without its head.
pub(super) fn unsealed(value: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let plain = ccm(key, &value.array(0)?, &value.array(12)?, value.get(28..)?)?;
    plain.get(12..).map(<[u8]>::to_vec)
}

/// SHA-256.
fn sum(bytes: &[u8]) -> Option<[u8; 32]> {
    digest("sha256", bytes)?.try_into().ok()
}

/// Of a password: its UTF-16, hashed twice.
fn password(text: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(text).ok()?;
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    sum(&sum(&units)?)
}

/// Of a recovery password: eight groups of six digits, each eleven times a number of 16 bits, hashed once.
fn recovery(text: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(text).ok()?;
    let group = |group: &str| {
        let number: u32 = (group.len() == 6).then(|| group.parse().ok())??;
        (number.is_multiple_of(11)).then(|| u16::try_from(number.checked_div(11)?).ok())?
    };
    let groups: Vec<u16> = text.trim().split('-').map(group).collect::<Option<_>>()?;
    let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_le_bytes()).collect();
    if bytes.len() == 16 { sum(&bytes) } else { None }
}

/// Hashes a secret over and over, with a salt and a counter.
fn stretch(secret: [u8; 32], salt: [u8; 16]) -> Option<[u8; 32]> {
    let mut block = [0; 88];
    block.get_mut(32..64)?.copy_from_slice(&secret);
    block.get_mut(64..80)?.copy_from_slice(&salt);
    for round in 0..ROUNDS {
        block.get_mut(80..)?.copy_from_slice(&round.to_le_bytes());
        let next = sum(&block)?;
        block.get_mut(..32)?.copy_from_slice(&next);
    }
    block.array(0)
}
