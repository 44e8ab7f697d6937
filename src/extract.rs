//! Reading text, members and properties out of content.
//!
//! An extractor is one file below `extract/` and one row of [`crate::registry::EXTRACTORS`]. It gets an item's content
//! and tells a [`Findings`] what it finds as it finds it; what was told before damage or the end of fuel is kept.

pub mod bzip2;
mod charset;
#[cfg(test)]
mod collect;
pub mod gzip;
pub mod html;
pub mod mail;
pub mod mbox;
pub mod office;
mod packed;
pub mod pdf;
pub mod plain;
pub mod strings;
pub mod tar;
pub mod xz;
pub mod zip;
pub mod zstd;

use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::text::Place;
use crate::time::Timestamp;
use std::io::Read;

/// A file inside a file.
pub struct Member<'m> {
    /// Its name or path inside its holder, as stored there.
    pub name: String,
    /// Its bytes: a slice of the holder's content where they are stored as such, else decoded. Where they cannot be
    /// read, what of them could be, with a fault.
    pub content: Content<'m>,
    /// When it was last changed, if the holder says.
    pub mtime: Option<Timestamp>,
    /// True for what was attached to a message; false for a member of an archive.
    pub attachment: bool,
    /// True where its bytes are encrypted: then `content` is empty, and `size` what the holder says.
    pub encrypted: bool,
    /// Size that the holder claims, where it is not the content's.
    pub size: Option<u64>,
    /// What is damaged.
    pub faults: Vec<Fault>,
}

impl<'m> Member<'m> {
    /// A sound member of an archive.
    pub fn new(name: String, content: Content<'m>) -> Self {
        let (mtime, attachment, encrypted, size, faults) = (None, false, false, None, Vec::new());
        Self { name, content, mtime, attachment, encrypted, size, faults }
    }
}

/// Takes what an extractor finds.
pub trait Findings {
    /// A piece of text: a paragraph, a cell, a header. At most some 64 KiB, so that large texts can be cut between
    /// pieces. `place` where it stands in the content as such, character by character.
    ///
    /// # Errors
    /// [`Spent`] where no more text is wanted.
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent>;

    /// A member. It is looked at before this returns, and its own members with it.
    ///
    /// # Errors
    /// [`Spent`] where no more members are wanted.
    fn member(&mut self, member: Member<'_>, fuel: &mut Fuel) -> Result<(), Spent>;

    /// A property by its usual name: `title`, `author`, `subject`, `from`, `to`, `date`.
    fn property(&mut self, name: &'static str, value: &str);

    /// Damage. Offsets are in the content.
    fn fault(&mut self, fault: Fault);

    /// The content, or part of it, is encrypted.
    fn encrypted(&mut self);
}

/// A row of the table of extractors.
pub struct Extractor {
    /// Its name: `pdf`, `zip`.
    pub name: &'static str,
    /// Whether it reads content of this identity. The first row that does is used.
    pub accepts: fn(&Identity) -> bool,
    /// Reads it.
    pub extract: fn(&Content<'_>, &Identity, &mut dyn Findings, &mut Fuel) -> Result<(), Spent>,
}

/// The extractor for an identity; `None` where nothing reads it but the search for strings.
pub fn extractor_for(identity: &Identity) -> Option<&'static Extractor> {
    crate::registry::EXTRACTORS.iter().find(|row| (row.accepts)(identity))
}

/// The largest member that is decoded into memory, in bytes.
pub const MEMBER_CAP: u64 = 128 << 20;

/// Reads at most [`MEMBER_CAP`] bytes of a decoded stream, burning fuel for each. Gives what was read and, where that is
/// not all, why.
///
/// # Errors
/// [`Spent`] where the fuel ends first.
pub fn decode(mut from: impl Read, by: &'static str, fuel: &mut Fuel) -> Result<(Vec<u8>, Option<Fault>), Spent> {
    const STEP: u64 = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        let outcome = from.by_ref().take(STEP).read_to_end(&mut bytes);
        let read = bytes.len().saturating_sub(before);
        fuel.burn(read as u64)?;
        match outcome {
            Ok(0) => return Ok((bytes, None)),
            Ok(_) => {}
            Err(e) => {
                let fault = Fault::new(bytes.len() as u64, by, format!("breaks off: {e}"));
                return Ok((bytes, Some(fault)));
            }
        }
        if bytes.len() as u64 > MEMBER_CAP {
            bytes.truncate(crate::bytes::index(MEMBER_CAP));
            let what = format!("is larger than {MEMBER_CAP} bytes; only so much was read");
            return Ok((bytes, Some(Fault::new(MEMBER_CAP, by, what))));
        }
    }
}
