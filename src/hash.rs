//! BLAKE3, SHA-256, SHA-1 and MD5 of the same bytes in one pass, while they are in cache; of evidence whose container carries
//! them, SHA-512 and BLAKE2b, too.
//!
//! The crates choose the machine's own instructions at run time (SHA-NI, AVX2, AVX-512, ARMv8 crypto).

use crate::bytes::hex;
use blake2::Blake2b512;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

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
    /// SHA-512.
    Sha512,
    /// BLAKE2b, 512 bits.
    Blake2b,
}

impl Algorithm {
    /// Those that are taken of items.
    pub const ALL: [Self; 4] = [Self::Blake3, Self::Sha256, Self::Sha1, Self::Md5];

    /// Those of evidence alone, where its container carries them.
    pub const CARRIED: [Self; 2] = [Self::Sha512, Self::Blake2b];

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Sha512 => "sha512",
            Self::Blake2b => "blake2b",
        }
    }

    /// One of items by name; `None` for one that is not known.
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
    /// SHA-512.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha512: Option<String>,
    /// BLAKE2b.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake2b: Option<String>,
}

impl Hashes {
    /// The hash by `algorithm`.
    pub fn get(&self, algorithm: Algorithm) -> Option<&str> {
        match algorithm {
            Algorithm::Blake3 => self.blake3.as_deref(),
            Algorithm::Sha256 => self.sha256.as_deref(),
            Algorithm::Sha1 => self.sha1.as_deref(),
            Algorithm::Md5 => self.md5.as_deref(),
            Algorithm::Sha512 => self.sha512.as_deref(),
            Algorithm::Blake2b => self.blake2b.as_deref(),
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
            sha512: self.sha512.or(other.sha512),
            blake2b: self.blake2b.or(other.blake2b),
        }
    }
}

/// Several hashes under way.
pub struct Hasher {
    blake3: Option<Box<blake3::Hasher>>,
    sha256: Option<Sha256>,
    sha1: Option<Sha1>,
    md5: Option<Md5>,
    sha512: Option<Sha512>,
    blake2b: Option<Blake2b512>,
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
            sha512: wanted(Algorithm::Sha512).then(Sha512::new),
            blake2b: wanted(Algorithm::Blake2b).then(Blake2b512::new),
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
            if let Some(h) = &mut self.sha512 {
                h.update(block);
            }
            if let Some(h) = &mut self.blake2b {
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
            sha512: self.sha512.map(|h| hex(&h.finalize())),
            blake2b: self.blake2b.map(|h| hex(&h.finalize())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, RFC 7693, FIPS 180-4 and the BLAKE3 test vectors for the empty input; "abc" for the others.
    #[test]
    fn published_vectors_hold() {
        let mut hasher = Hasher::new(&[Algorithm::ALL.as_slice(), &Algorithm::CARRIED].concat());
        hasher.update(b"a");
        hasher.update(b"bc");
        let hashes = hasher.finish();
        assert_eq!(hashes.md5.as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(hashes.sha1.as_deref(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hashes.sha256.as_deref(), Some(sha256));
        assert!(hashes.sha512.is_some_and(|hex| hex.starts_with("ddaf35a193617abacc417349ae204131")));
        assert!(hashes.blake2b.is_some_and(|hex| hex.starts_with("ba80a53f981c4d0d6a2797b69f12f6e9")));
        let empty = Hasher::new(&[Algorithm::Blake3]).finish();
        let blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(empty, Hashes { blake3: Some(blake3.to_owned()), ..Hashes::default() });
    }
}
