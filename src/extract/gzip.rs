//! gzip: the content of all its members, under the name that the first one bears.
//!
//! Source: RFC 1952. Checked against 7-Zip 16.02 by the corpus' archive truth.

use super::{Findings, packed};
use crate::bytes::Fields;
use crate::content::Content;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::time::Timestamp;
use std::io::BufReader;

/// True for gzip.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/gzip"
}

/// Tells what is compressed.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no member is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let head = content.prefix(1024);
    let mtime = head.le32(4).filter(|seconds| *seconds > 0).map(|seconds| Timestamp::unix(i64::from(seconds)));
    let from = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(256 << 10, content.reader()));
    packed::tell(from, "gzip", name(&head), mtime, found, fuel)
}

/// RFC 1952, 2.3.1: FNAME, in ISO 8859-1, behind the extra field.
fn name(head: &[u8]) -> Option<String> {
    let flags = head.byte(3)?;
    let extra = if flags & 4 != 0 { usize::from(head.le16(10)?).checked_add(2)? } else { 0 };
    let text = head.get(extra.checked_add(10)?..)?;
    let len = memchr::memchr(0, text).filter(|len| flags & 8 != 0 && *len > 0)?;
    Some(text.get(..len)?.iter().map(|b| char::from(*b)).collect())
}
