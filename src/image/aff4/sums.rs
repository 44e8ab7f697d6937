//! The hashes that AFF4 keeps of chunks and of segments.

use crate::bytes::hex;
use blake2::Blake2b512;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// An algorithm; in the order in which the Standard strings them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sum {
    Md5,
    Sha1,
    Sha256,
    Sha512,
    Blake2b,
}

impl Sum {
    const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512, Self::Blake2b];

    /// By the name that the metadata and the segments have for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sum| sum.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
            Self::Blake2b => "Blake2b",
        }
    }

    /// Bytes of a hash.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 | Self::Blake2b => 64,
        }
    }

    /// The hash of these bytes.
    pub(super) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Md5 => over::<Md5>(parts),
            Self::Sha1 => over::<Sha1>(parts),
            Self::Sha256 => over::<Sha256>(parts),
            Self::Sha512 => over::<Sha512>(parts),
            Self::Blake2b => over::<Blake2b512>(parts),
        }
    }

    /// True where the hash of these bytes is `said`, in hexadecimal.
    pub(super) fn holds(self, parts: &[&[u8]], said: &str) -> bool {
        hex(&self.of(parts)).eq_ignore_ascii_case(said.trim())
    }
}

fn over<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = D::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, FIPS 180-4 and RFC 7693 for "abc".
    #[test]
    fn published_vectors_hold() {
        let begins = |sum: Sum, said: &str| {
            let is = sum.of(&[b"a", b"bc"]);
            is.len() == sum.len() && hex(&is).starts_with(said) && sum.holds(&[b"abc"], &hex(&is).to_uppercase())
        };
        assert!(begins(Sum::Md5, "900150983cd24fb0"));
        assert!(begins(Sum::Sha1, "a9993e364706816a"));
        assert!(begins(Sum::Sha256, "ba7816bf8f01cfea"));
        assert!(begins(Sum::Sha512, "ddaf35a193617aba"));
        assert!(begins(Sum::Blake2b, "ba80a53f981c4d0d"));
        assert_eq!((Sum::named("blake2b"), Sum::named("SHA3")), (Some(Sum::Blake2b), None));
    }
}
