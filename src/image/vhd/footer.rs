//! The footer, at the end of the file and, but of a fixed disk, copied to its front.

use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::ImageError;
use crate::image::about::About;
use crate::image::file::Source;
use crate::time::Timestamp;
use std::path::Path;

pub(super) const COOKIE: &[u8; 8] = b"conectix";
const LEN: usize = 512;
/// 2000-01-01, from which times are counted, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// What kind of disk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fixed,
    Dynamic,
    Differencing,
}

/// What the footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) kind: Kind,
    pub(super) size: u64,
    /// Where the header of a disk that is not fixed is.
    pub(super) header: u64,
    pub(super) id: [u8; 16],
    stamp: u32,
    creator: String,
    /// Bytes by cylinders, heads and sectors.
    geometry: u64,
    saved: bool,
    sum_holds: bool,
}

impl Footer {
    /// The footer, or its copy where it is damaged; `None` where the file is no VHD.
    pub(super) fn find(bytes: &[u8], about: &mut About) -> Option<Self> {
        let at_end = [LEN, LEN - 1].into_iter().find_map(|back| Self::at(bytes, bytes.len().checked_sub(back)?));
        let at_front = Self::at(bytes, 0).filter(|footer| footer.kind != Kind::Fixed);
        let end_holds = at_end.as_ref().is_some_and(|footer| footer.sum_holds);
        let front_holds = at_front.as_ref().is_some_and(|footer| footer.sum_holds);
        let chosen = match (&at_end, &at_front) {
            (Some(end), None) if !end.fits(bytes) => return None,
            (Some(end), _) if end_holds => end,
            (_, Some(front)) if front_holds => {
                about.fault("its footer at the end is missing or damaged: the copy at the front is read");
                return Some(front.clone());
            }
            (Some(either), _) | (None, Some(either)) => return Some(either.told(about)),
            (None, None) => return None,
        };
        if front_holds && at_front.as_ref() != Some(chosen) {
            about.fault("its footer and the copy at the front differ: the footer is read");
        } else if !front_holds && chosen.kind != Kind::Fixed {
            about.fault("the copy of its footer at the front is missing or damaged");
        }
        Some(chosen.clone())
    }

    /// A raw disk may end in what was the end of a VHD on it: a footer without a copy is the file's own where its disk is as
    /// long as the file, or its header is where it says.
    fn fits(&self, bytes: &[u8]) -> bool {
        const PADDING: u64 = 1 << 20;
        let there = (bytes.len() as u64).saturating_sub(LEN as u64);
        match self.kind {
            Kind::Fixed => there.abs_diff(self.size) <= PADDING,
            Kind::Dynamic | Kind::Differencing => bytes.span(index(self.header), 8) == Some(super::header::COOKIE),
        }
    }

    /// Itself, after saying that its checksum does not hold.
    fn told(&self, about: &mut About) -> Self {
        if !self.sum_holds {
            about.fault("the checksum of its footer does not hold");
        }
        self.clone()
    }

    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let footer = bytes.span(at, LEN).or_else(|| bytes.span(at, LEN - 1))?;
        let kind = match footer.be32(60)? {
            2 => Kind::Fixed,
            3 => Kind::Dynamic,
            4 => Kind::Differencing,
            _ => return None,
        };
        let [cylinders, heads, sectors] = [footer.be16(56)?, footer.byte(58)?.into(), footer.byte(59)?.into()];
        let sectors = u64::from(cylinders).checked_mul(u64::from(heads))?.checked_mul(u64::from(sectors))?;
        (footer.starts_with(COOKIE)).then_some(Self {
            kind,
            size: footer.be64(48)?,
            header: footer.be64(16)?,
            id: footer.array(68)?,
            stamp: footer.be32(24)?,
            creator: String::from_utf8_lossy(footer.span(28, 4)?).trim_matches(['\0', ' ']).to_owned(),
            geometry: sectors.checked_mul(512)?,
            saved: footer.byte(84)? != 0,
            sum_holds: sum_holds(footer, 64),
        })
    }

    /// Adds what it says.
    pub(super) fn describe(&self, about: &mut About) {
        let kind = match self.kind {
            Kind::Fixed => "fixed",
            Kind::Dynamic => "dynamic",
            Kind::Differencing => "differencing",
        };
        about.fact("container", format!("VHD, {kind}"));
        about.fact("made", Timestamp::unix(EPOCH.saturating_add(self.stamp.into())).rfc3339());
        about.fact("made with", self.creator.clone());
        about.fact("id", crate::bytes::hex(&self.id));
        if self.geometry < self.size {
            let less = self.size.saturating_sub(self.geometry);
            about.remark(format!("its geometry ends {less} bytes before the disk does: some programs show no more"));
        }
        if self.saved {
            about.remark("the machine was saved while it ran: its memory holds what was not written yet");
        }
    }
}

/// The identifier of a disk; `None` where it is no VHD.
pub(super) fn id_of(path: &Path) -> Result<Option<[u8; 16]>, ImageError> {
    let source = Source::open(path)?;
    Ok(Footer::find(source.bytes(), &mut About::default()).map(|footer| footer.id))
}

/// True where the complement of the sum of all bytes but its own four stands at `at`.
pub(super) fn sum_holds(structure: &[u8], at: usize) -> bool {
    let own = Extent::new(at as u64, 4);
    let counts = |(n, _): &(usize, &u8)| Extent::new(*n as u64, 1).intersect(own).is_empty();
    let sum = structure.iter().enumerate().filter(counts).fold(0u32, |sum, (_, b)| sum.wrapping_add(u32::from(*b)));
    structure.be32(index(own.start)) == Some(!sum)
}
