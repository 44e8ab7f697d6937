//! What the targets share: evidence in memory, base volumes, and how an input changes one.
//!
//! A volume is too large to be an input. An input of a few dozen bytes names one of the target's base volumes and a list
//! of changes to it; most places that it can name are near bytes that the base has written, so that nearly every change
//! meets metadata. See `README.md` for the format.

use evidex::content::Content;
use evidex::extent::Extent;
use evidex::image::{Image, ImageError, View};
use std::borrow::Cow;
use std::path::PathBuf;

/// Evidence in memory.
pub struct Bytes(pub Vec<u8>);

impl Image for Bytes {
    fn format(&self) -> &'static str {
        "bytes"
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        let (at, len, size) = (extent.start, extent.len, self.size());
        let outside = || ImageError::Outside { at, len, size };
        let end = at.checked_add(len).ok_or_else(outside)?;
        self.0.get(at as usize..end as usize).map(Cow::Borrowed).ok_or_else(outside)
    }

    fn unreadable(&self) -> Vec<Extent> {
        Vec::new()
    }

    fn release(&self) {}

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// An input, read from its front; zeros behind its end.
pub struct Tape<'a>(pub &'a [u8]);

impl<'a> Tape<'a> {
    pub fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// A little-endian number of `len` bytes.
    pub fn number(&mut self, len: usize) -> u64 {
        self.take(len).iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// Bytes to a line, the unit in which inputs name places.
const LINE: usize = 32;

/// A volume as a formatter and a driver left it.
pub struct Base {
    image: Bytes,
    /// Offsets of the lines with anything in them, and of one behind each.
    lines: Vec<usize>,
}

impl Base {
    /// Unpacks it.
    pub fn new(packed: &[u8]) -> Self {
        Self::of(zstd::decode_all(packed).expect("a base volume is zstd"))
    }

    /// Takes it as it is.
    pub fn of(bytes: Vec<u8>) -> Self {
        let written = |at: &usize| bytes[*at..].iter().take(LINE).any(|b| *b != 0);
        let plain = |at: &usize| {
            let line = &bytes[*at..(*at + LINE).min(bytes.len())];
            // Long stretches of one byte (0xff of a journal, letters of a test file) are of little interest.
            *at >= LINE && line.iter().all(|b| *b == line[0]) && bytes[*at - LINE..*at] == *line
        };
        let near = |at: &usize| written(at) || (*at >= LINE && written(&(at - LINE)));
        let lines = (0..bytes.len()).step_by(LINE).filter(|at| near(at) && !plain(at)).collect();
        Self { image: Bytes(bytes), lines }
    }

    fn line(&self, tape: &mut Tape<'_>) -> usize {
        self.lines[tape.number(2) as usize % self.lines.len()]
    }

    /// Changes the volume as `input` says, calls `look` on what comes of it, and changes it back.
    pub fn changed(&mut self, input: &[u8], look: impl FnOnce(&mut Bytes, u64)) {
        let (mut tape, mut undo) = (Tape(input), Vec::new());
        let mut end = self.image.size();
        while !tape.0.is_empty() {
            let op = tape.byte();
            let line = self.line(&mut tape);
            let at = (line + usize::from(op >> 3)).min(self.image.0.len());
            let new = match op & 7 {
                few @ 0..=3 => tape.take(1 << few).to_vec(),
                4 => tape.take(LINE).to_vec(),
                5 => {
                    let from = self.line(&mut tape);
                    let to = (from + LINE * usize::from(1 + (tape.byte() & 31))).min(self.image.0.len());
                    self.image.0[from..to].to_vec()
                }
                6 => vec![tape.byte(); LINE * usize::from(1 + (op >> 3))],
                _ => {
                    // Cut off; rarely, since little is left then.
                    if tape.byte() == 0xcc {
                        end = at as u64;
                    }
                    continue;
                }
            };
            let to = (at + new.len()).min(self.image.0.len());
            undo.push((at, self.image.0[at..to].to_vec()));
            self.image.0[at..to].copy_from_slice(&new[..to - at]);
        }
        look(&mut self.image, end);
        for (at, old) in undo.iter().rev() {
            self.image.0[*at..*at + old.len()].copy_from_slice(old);
        }
    }
}

/// Reads all of a content.
pub fn drain(content: &Content<'_>) {
    let total: u64 = content.parts().map_while(Result::ok).map(|part| part.len() as u64).sum();
    assert!(total <= content.size(), "more bytes than the content has");
}

/// Lists a changed volume with the file system `name`, reads the beginning of every content, and drains free space.
pub fn file_system(name: &str, bases: &mut [Base], input: &[u8]) {
    let (number, changes) = input.split_first().unwrap_or((&0, &[]));
    let count = bases.len();
    bases[usize::from(*number) % count].changed(changes, |image, end| list(name, image, end));
}

/// Lists the first `end` bytes of a volume with the file system `name`, and reads what it tells of.
pub fn list(name: &str, image: &Bytes, end: u64) {
    let row = evidex::registry::FILE_SYSTEMS.iter().find(|row| row.name == name).expect("it is registered");
    let view = View::whole(image).sub(Extent::new(0, end));
    let _ = (row.probe)(view);
    let Ok(fs) = (row.open)(view) else { return };
    let (entries, _) = evidex::fs::entries(fs.as_ref());
    for entry in &entries {
        drain(&Content::new(view, &entry.stream).slice(0, 1 << 16));
        assert!(entry.stream.slack().len() <= entry.stream.runs.len(), "more slack than runs");
    }
    for extent in fs.unallocated().flatten() {
        assert!(extent.end() <= view.size(), "free space ends behind the volume");
    }
}

/// The target of a file system: its registered name, then its base volumes, which an input names by their number.
#[macro_export]
macro_rules! fs_target {
    ($name:literal: $($base:literal),+ $(,)?) => {
        thread_local! {
            static BASES: std::cell::RefCell<Vec<$crate::Base>> = std::cell::RefCell::new(vec![
                $($crate::Base::new(include_bytes!(concat!("../bases/", $base, ".zst")))),+
            ]);
        }
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            BASES.with_borrow_mut(|bases| $crate::file_system($name, bases, data));
        });
    };
}
