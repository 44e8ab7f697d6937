//! BLAKE3, SHA-256, SHA-1 and MD5 of the same bytes in one pass, while they are in cache.
//!
//! The crates choose the machine's own instructions at run time (SHA-NI, AVX2, AVX-512, ARMv8 crypto).

use crate::bytes::hex;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;

/// A block small enough that the second hash finds it in the first-level cache's neighbour.
const BLOCK: usize = 64 << 10;

/// An algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// BLAKE3, 256 bits.
    Blake3,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Blake3, Self::Sha256, Self::Sha1, Self::Md5];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
        }
    }

    /// By name; `None` for one that is not known.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// Hashes in lower-case hexadecimal; one that was not asked for is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hashes {
    /// MD5.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub md5: Option<String>,
    /// SHA-1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha1: Option<String>,
    /// SHA-256.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    /// BLAKE3.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake3: Option<String>,
}

impl Hashes {
    /// The hash by `algorithm`.
    pub fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Blake3 => self.blake3.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Md5 => self.md5.as_deref(),
        }
    }

    /// These, and where one is missing, the other's.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            md5: self.md5.or(other.md5),
            sha1: self.sha1.or(other.sha1),
            sha256: self.sha256.or(other.sha256),
            blake3: self.blake3.or(other.blake3),
        }
    }
}

/// Several hashes under way.
pub struct Hasher {
    blake3: Option<Box<blake3::Hasher>>,
    sha256: Option<Sha256>,
    sha1: Option<Sha1>,
    md5: Option<Md5>,
}

impl Hasher {
    /// Starts the hashes of `algorithms`.
    pub fn new(algorithms: &[Algorithm]) -> Self {
        let wanted = |a| algorithms.contains(&a);
        Self {
            blake3: wanted(Algorithm::Blake3).then(Box::default),
            sha256: wanted(Algorithm::Sha256).then(Sha256::new),
            sha1: wanted(Algorithm::Sha1).then(Sha1::new),
            md5: wanted(Algorithm::Md5).then(Md5::new),
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            if let Some(h) = &mut self.blake3 {
                h.update(block);
            }
            if let Some(h) = &mut self.sha256 {
                h.update(block);
            }
            if let Some(h) = &mut self.sha1 {
                h.update(block);
            }
            if let Some(h) = &mut self.md5 {
                h.update(block);
            }
        }
    }

    /// The hashes of all that was taken.
    pub fn finish(self) -> Hashes {
        Hashes {
            md5: self.md5.map(|h| hex(&h.finalize())),
            sha1: self.sha1.map(|h| hex(&h.finalize())),
            sha256: self.sha256.map(|h| hex(&h.finalize())),
            blake3: self.blake3.map(|h| h.finalize().to_hex().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, FIPS 180-4 and the BLAKE3 test vectors for the empty input; "abc" for the others.
    #[test]
    fn published_vectors_hold() {
        let mut hasher = Hasher::new(&Algorithm::ALL);
        hasher.update(b"a");
        hasher.update(b"bc");
        let hashes = hasher.finish();
        assert_eq!(hashes.md5.as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(hashes.sha1.as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hashes.sha256.as_deref(), Some(sha256));
        let empty = Hasher::new(&[Algorithm::Blake3]).finish();
        let blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(empty, Hashes { blake3: Some(blake3.to_owned()), ..Hashes::default() });
    }
}
