//! The stretch of text that a textual file consists of: shared by the carvers of HTML and of mail.

use crate::bytes::offset;
use crate::fuel::{Fuel, Spent};

/// No text file that is carved is larger.
const LONGEST: usize = 64 << 20;

/// Length of the text at the start: up to the first control character that text does not have.
pub(super) fn text_len(bytes: &[u8], fuel: &mut Fuel) -> Result<usize, Spent> {
    let limit = bytes.get(..bytes.len().min(LONGEST)).unwrap_or(bytes);
    let nul = memchr::memchr(0, limit).unwrap_or(limit.len());
    let text = limit.get(..nul).unwrap_or_default();
    let len = text.iter().position(|b| (*b < 0x20 && !matches!(b, 9 | 10 | 12 | 13 | 27)) || *b == 0x7f).unwrap_or(nul);
    fuel.burn(offset(len))?;
    Ok(len)
}
