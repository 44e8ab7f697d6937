//! bzip2: the content of all its streams.
//!
//! Source: the format as bzip2 1.0.8 writes it. Checked against 7-Zip 16.02 by the corpus' archive truth.

use super::{Findings, packed};
use crate::content::Content;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use std::io::BufReader;

/// True for bzip2.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/x-bzip2"
}

/// Tells what is compressed.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no member is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let from = ::bzip2::bufread::MultiBzDecoder::new(BufReader::with_capacity(256 << 10, content.reader()));
    packed::tell(from, "bzip2", None, None, found, fuel)
}
