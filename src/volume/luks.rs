//! Linux Unified Key Setup, versions 1 and 2 (LUKS On-Disk Format Specification 1.2.3 and 2: LUKS2 On-Disk Format 1.1.3).
//!
//! A key slot holds the volume's key, encrypted with a key that a password gives and split over many stripes, so that all of it is
//! needed (anti-forensic splitter). A digest of the volume's key tells whether it is right.

mod first;
mod second;

use super::crypt::{Sectors, digest, pbkdf2};
use super::vault::{Keys, Layer, Locked, Sheet, Unlocked};
use crate::bytes::index;
use crate::image::View;
use crate::image::derived::Decode;
use std::sync::Arc;

/// No slot has more material than this: 4,000 stripes of a key of 128 bytes.
const MAX_MATERIAL: u64 = 1 << 20;
/// Rounds that are done at most for one password.
const MAX_ROUNDS: u32 = 20_000_000;

/// A key slot.
struct Slot {
    kind: Kdf,
    salt: Vec<u8>,
    /// Bytes of the volume's key.
    key_len: usize,
    /// Bytes of the key of the slot's own encryption, and its name.
    area_key_len: usize,
    area_cipher: String,
    /// Where its material stands.
    material: u64,
    stripes: u32,
    /// The hash of the splitter.
    hash: String,
}

/// How a password becomes a key.
enum Kdf {
    Pbkdf2 { hash: String, rounds: u32 },
    Argon2 { kind: argon2::Algorithm, passes: u32, memory: u32, lanes: u32 },
}

/// What tells a volume's key.
struct Check {
    hash: String,
    salt: Vec<u8>,
    rounds: u32,
    digest: Vec<u8>,
}

/// A stretch of the volume.
struct Segment {
    at: u64,
    len: u64,
    /// Its encryption; none where it is plain.
    cipher: Option<String>,
    sector: u64,
    /// Number of its first sector.
    tweak: u64,
}

/// A header, either version.
struct Header {
    locked: Locked,
    slots: Vec<Slot>,
    checks: Vec<Check>,
    segments: Vec<Segment>,
}

fn header(volume: View<'_>) -> Option<Header> {
    first::read(volume).or_else(|| second::read(volume))
}

/// Whether a volume is one.
pub fn probe(volume: View<'_>) -> Option<Locked> {
    header(volume).map(|header| header.locked)
}

/// Tries keys as the volume's own, then everything as a password of each slot.
pub fn unlock(volume: View<'_>, keys: &Keys) -> Option<Unlocked> {
    let header = header(volume)?;
    let own = keys.keys.iter().find(|key| header.is_key(key));
    let found = own.map(|key| (key.clone(), "its volume key".to_owned()));
    let (key, by) = found.or_else(|| {
        keys.secrets().find_map(|secret| {
            let opens = |(number, slot): (usize, &Slot)| {
                let key = slot.key(volume, secret)?;
                header.is_key(&key).then(|| (key, format!("key slot {number}")))
            };
            header.slots.iter().enumerate().find_map(opens)
        })
    })?;
    header.unlocked(key, by)
}

impl Header {
    fn is_key(&self, key: &[u8]) -> bool {
        self.checks.iter().any(|check| {
            let len = check.digest.len();
            check.rounds <= MAX_ROUNDS
                && len > 0
                && pbkdf2(&check.hash, key, &check.salt, check.rounds, len).is_some_and(|sum| sum == check.digest)
        })
    }

    fn unlocked(self, key: Vec<u8>, by: String) -> Option<Unlocked> {
        let mut layers = Vec::new();
        let start = self.segments.iter().map(|segment| segment.at).min()?;
        let size =
            self.segments.iter().map(|segment| segment.at.saturating_add(segment.len)).max()?.saturating_sub(start);
        for segment in &self.segments {
            let sheet = match &segment.cipher {
                Some(name) => {
                    let sectors = Sectors::named(name, &key, segment.sector, false)?;
                    Sheet::Decoded(Arc::new(sectors), segment.tweak)
                }
                None => Sheet::Plain,
            };
            layers.push(Layer { at: segment.at, len: segment.len, from: segment.at, sheet });
        }
        Some(Unlocked { start, size, layers, key, by })
    }
}

impl Slot {
    /// The key that a password gives; it may be wrong.
    fn key(&self, volume: View<'_>, password: &[u8]) -> Option<Vec<u8>> {
        let key = match &self.kind {
            Kdf::Pbkdf2 { hash, rounds } if *rounds <= MAX_ROUNDS => {
                pbkdf2(hash, password, &self.salt, *rounds, self.area_key_len)?
            }
            Kdf::Pbkdf2 { .. } => return None,
            Kdf::Argon2 { kind, passes, memory, lanes } => {
                let params = argon2::Params::new(*memory, *passes, *lanes, Some(self.area_key_len)).ok()?;
                let mut key = vec![0; self.area_key_len];
                let argon = argon2::Argon2::new(*kind, argon2::Version::V0x13, params);
                argon.hash_password_into(password, &self.salt, &mut key).ok()?;
                key
            }
        };
        let len = u64::from(self.stripes).checked_mul(self.key_len as u64).filter(|len| *len <= MAX_MATERIAL)?;
        let mut material = volume.read(self.material, len.next_multiple_of(512)).ok()?.into_owned();
        let by = Sectors::named(&self.area_cipher, &key, 512, false)?;
        for (number, sector) in (0u64..).zip(material.chunks_mut(512)) {
            by.decode(number, sector);
        }
        material.truncate(index(len));
        merge(&material, self.key_len, &self.hash)
    }
}

/// Puts split stripes together: each but the last is spread over all of the key by a hash.
fn merge(material: &[u8], len: usize, hash: &str) -> Option<Vec<u8>> {
    let mut key = vec![0; len];
    let mut stripes = material.chunks_exact(len).peekable();
    while let Some(stripe) = stripes.next() {
        key.iter_mut().zip(stripe).for_each(|(byte, with)| *byte ^= with);
        if stripes.peek().is_some() {
            key = diffuse(&key, hash)?;
        }
    }
    Some(key)
}

fn diffuse(key: &[u8], hash: &str) -> Option<Vec<u8>> {
    let width = digest(hash, &[])?.len();
    let mut spread = Vec::with_capacity(key.len());
    for (number, chunk) in (0u32..).zip(key.chunks(width)) {
        let sum = digest(hash, &[&number.to_be_bytes(), chunk].concat())?;
        spread.extend_from_slice(sum.get(..chunk.len())?);
    }
    Some(spread)
}
