//! Finding files by their structure where no file system names them.
//!
//! A carver is one file below `carve/` and one row of [`crate::registry::CARVERS`]. A header starts it; it then walks
//! the format's own structure to the true end. A header alone is not a find.

pub mod bzip2;
pub mod eml;
pub mod gif;
pub mod gzip;
pub mod html;
pub mod jpeg;
pub mod mp4;
pub mod pdf;
pub mod png;
mod prose;
pub mod sqlite;
pub mod zip;

use crate::fuel::{Fuel, Spent};

/// What a carver found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carved {
    /// Length in bytes, from the header's first byte to the format's last.
    pub len: u64,
    /// Usual extension, without the dot: `jpg`, `docx`.
    pub extension: &'static str,
    /// Media type.
    pub mime: &'static str,
    /// True where the structure was followed to its proper end; false where it breaks off, and `len` is what held.
    pub whole: bool,
}

/// A row of the table of carvers.
pub struct Carver {
    /// Its name: `jpeg`.
    pub name: &'static str,
    /// Where in the file the headers stand, in bytes from its start.
    pub offset: usize,
    /// The headers, any of which starts it; none is empty.
    pub headers: &'static [&'static [u8]],
    /// Measures the file that starts at the first byte. The slice goes on to the end of the unallocated stretch: more
    /// than the file, or less than it where it was cut. `None`: no such file.
    pub measure: fn(&[u8], &mut Fuel) -> Result<Option<Carved>, Spent>,
    /// What the format has against bytes of another file in it.
    pub seal: Seal,
}

/// Checksums over all that a file holds.
#[derive(Clone, Copy, Debug)]
pub enum Seal {
    /// None: a file that is whole by its structure may hold clusters of another.
    None,
    /// [`Carver::measure`] checks them.
    Measured,
    /// This checks them, of a file that is whole by its structure.
    Checked(fn(&[u8], &mut Fuel) -> bool),
}

/// The carver whose format's checksums confirm that these bytes are one file, from the first to the last.
pub fn confirmed(bytes: &[u8]) -> Option<&'static str> {
    let mut fuel = Fuel::new(FUEL);
    let starts = |carver: &&Carver| {
        let head = bytes.get(carver.offset..).unwrap_or_default();
        carver.headers.iter().any(|header| head.starts_with(header))
    };
    let carver = crate::registry::CARVERS.iter().find(starts)?;
    let check = match carver.seal {
        Seal::None => return None,
        Seal::Measured => |_: &[u8], _: &mut Fuel| true,
        Seal::Checked(check) => check,
    };
    let carved = (carver.measure)(bytes, &mut fuel).ok().flatten()?;
    let whole = carved.whole && carved.len == crate::bytes::offset(bytes.len());
    (whole && check(bytes, &mut fuel)).then_some(carver.name)
}

/// A carver and one of its headers.
type Start<'t> = (&'t Carver, &'t [u8]);

/// The search for headers: at each place it looks at one byte for every offset at which headers stand (0 for most, 4
/// for MP4), and only where a header begins with that byte does it compare.
pub struct Scan<'t> {
    /// For every such offset, the rows by the first byte of their header.
    offsets: Vec<(usize, Vec<Vec<Start<'t>>>)>,
    align: usize,
}

/// A find and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Offset of its first byte in the scanned bytes.
    pub at: usize,
    /// The carver's name.
    pub by: &'static str,
    /// What it is.
    pub carved: Carved,
}

/// Steps and bytes that one header may cost: enough for a file of a gigabyte, not for a disk of lies.
const FUEL: u64 = 4 << 30;

impl<'t> Scan<'t> {
    /// A scan for `carvers` at multiples of `align` bytes (0 is taken as 1).
    pub fn new(carvers: impl IntoIterator<Item = &'t Carver>, align: usize) -> Self {
        let mut offsets: Vec<(usize, Vec<Vec<Start<'t>>>)> = Vec::new();
        for carver in carvers {
            if !offsets.iter().any(|(offset, _)| *offset == carver.offset) {
                offsets.push((carver.offset, vec![Vec::new(); 256]));
            }
            let Some((_, rows)) = offsets.iter_mut().find(|(offset, _)| *offset == carver.offset) else { continue };
            for header in carver.headers {
                let row = header.first().and_then(|first| rows.get_mut(usize::from(*first)));
                row.into_iter().for_each(|row| row.push((carver, *header)));
            }
        }
        Self { offsets, align: align.max(1) }
    }

    /// All finds whose first byte lies in `bytes[..limit]`, in order; they may go on behind it. What lies inside a whole
    /// find is not looked at.
    pub fn run(&self, bytes: &[u8], limit: usize) -> Vec<Find> {
        let mut finds = Vec::new();
        let mut at = 0usize;
        while at < limit.min(bytes.len()) {
            let found = self.find_at(bytes, at);
            let skip = match &found {
                Some(find) if find.carved.whole => crate::bytes::index(find.carved.len),
                _ => 1,
            };
            finds.extend(found);
            let next = at.saturating_add(skip.max(1));
            at = next.checked_next_multiple_of(self.align).unwrap_or(usize::MAX);
        }
        finds
    }

    fn find_at(&self, bytes: &[u8], at: usize) -> Option<Find> {
        self.offsets.iter().find_map(|(offset, rows)| {
            let header_at = at.checked_add(*offset)?;
            let starts = rows.get(usize::from(*bytes.get(header_at)?))?;
            starts.iter().find_map(|(carver, header)| {
                bytes.get(header_at..)?.starts_with(header).then_some(())?;
                let carved = (carver.measure)(bytes.get(at..)?, &mut Fuel::new(FUEL)).ok().flatten()?;
                Some(Find { at, by: carver.name, carved })
            })
        })
    }
}
