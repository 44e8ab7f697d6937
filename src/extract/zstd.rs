//! Zstandard: the content of all its frames.
//!
//! Source: RFC 8878. A window of more than 128 MiB is refused.
//! Checked only against what the same library packs.

use super::{Findings, packed};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use std::io::BufReader;

/// True for Zstandard.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/zstd"
}

/// Tells what is compressed.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no member is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    match ::zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(256 << 10, content.reader())) {
        Ok(from) => packed::tell(from, "zstd", None, None, found, fuel),
        Err(e) => {
            found.fault(Fault::new(0, "zstd", e.to_string()));
            Ok(())
        }
    }
}
