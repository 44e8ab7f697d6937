//! xz: the content of all its streams.
//!
//! Source: the .xz file format, 1.2.1. Checked only against what the same library packs.

use super::{Findings, packed};
use crate::content::Content;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use std::io::BufReader;

/// The decoder's window at most: `xz -9` needs 65 MiB.
const MEMORY_KIB: u32 = 128 << 10;

/// True for xz.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/x-xz"
}

/// Tells what is compressed.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no member is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let from =
        lzma_rust2::XzReader::new_mem_limit(BufReader::with_capacity(256 << 10, content.reader()), true, MEMORY_KIB);
    packed::tell(from, "xz", None, None, found, fuel)
}
