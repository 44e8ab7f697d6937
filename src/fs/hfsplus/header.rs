//! The volume header, its alternate at the volume's end, and the HFS wrapper that may stand around both; the master directory
//! block of HFS, which stands in the same places.
//!
//! Apple TN1150, "Volume Header" and "HFS Wrapper"; Inside Macintosh: Files, "Master Directory Blocks".

use super::fork::ForkData;
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fs::disk::Disk;
use crate::image::View;

/// Bytes of a volume header, and where it stands from the volume's begin; the alternate as far from its end.
const SIZE: u64 = 512;
const AT: u64 = 1024;

/// What the file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hfs,
    HfsPlus,
    HfsX,
}

/// A volume header.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it stands.
    pub(super) at: u64,
    /// Where the volume begins: behind the wrapper, if it has one.
    start: u64,
    /// Where its blocks begin.
    pub(super) base: u64,
    /// True where it is the alternate that is used, since the first one is destroyed.
    pub(super) is_alternate: bool,
    pub(super) kind: Kind,
    /// Where the bitmap of HFS is, which is no file there.
    pub(super) bitmap: Option<Extent>,
    /// The attributes' bits.
    attributes: u32,
    pub(super) journal_info: u32,
    pub(super) created: u32,
    pub(super) block: u64,
    pub(super) blocks: u32,
    pub(super) next_id: u32,
    pub(super) id: [u8; 8],
    pub(super) allocation: ForkData,
    pub(super) extents: ForkData,
    pub(super) catalog: ForkData,
    pub(super) attributes_file: ForkData,
    pub(super) startup: ForkData,
}

impl Header {
    /// The header of a volume, or its alternate.
    pub(super) fn find(view: View<'_>) -> Option<Self> {
        let inner = wrapped(view).unwrap_or_else(|| Extent::new(0, view.size()));
        let first = Self::read(view, inner, inner.start.checked_add(AT)?);
        first.or_else(|| Some(Self { is_alternate: true, ..Self::alternate(view, inner)? }))
    }

    /// The other copy, where it can be read.
    pub(super) fn other(&self, view: View<'_>) -> Option<Self> {
        let covered = u64::from(self.blocks).checked_mul(self.block)?;
        let covered = self.base.checked_sub(self.start)?.checked_add(covered)?.checked_add(self.behind())?;
        let ends = [view.size().checked_sub(self.start)?, covered];
        ends.into_iter().find_map(|len| Self::alternate(view, Extent::new(self.start, len)))
    }

    fn alternate(view: View<'_>, inner: Extent) -> Option<Self> {
        // Of a partition whose end is not the end of its last sector, too.
        let end = inner.end().min(view.size());
        let ats = [end.saturating_sub(end % SIZE).checked_sub(AT)?, end.checked_sub(AT)?];
        ats.into_iter().filter(|at| *at > inner.start.saturating_add(AT)).find_map(|at| Self::read(view, inner, at))
    }

    fn read(view: View<'_>, inner: Extent, at: u64) -> Option<Self> {
        Self::parse(&view.read(at, SIZE).ok()?, inner.start, at)
    }

    /// The same header as the journal would write it back; `None` where it would not.
    pub(super) fn again(&self, disk: &Disk<'_>) -> Option<Self> {
        let changes = !self.is_alternate && disk.changes(self.at, SIZE);
        changes.then(|| Self::parse(&disk.read(self.at, SIZE)?, self.start, self.at))?
    }

    fn parse(b: &[u8], base: u64, at: u64) -> Option<Self> {
        let kind = match b.span(0, 2)? {
            b"H+" => Kind::HfsPlus,
            b"HX" => Kind::HfsX,
            b"BD" => return Self::parse_classic(b, base, at),
            _ => return None,
        };
        let block = b.be32(40)?;
        let sound = matches!(b.be16(2)?, 4 | 5) && block.is_power_of_two() && block >= 512 && b.be32(44)? > 0;
        sound.then_some(())?;
        Some(Self {
            at,
            start: base,
            base,
            is_alternate: false,
            kind,
            bitmap: None,
            attributes: b.be32(4)?,
            journal_info: b.be32(12)?,
            created: b.be32(16)?,
            block: block.into(),
            blocks: b.be32(44)?,
            next_id: b.be32(64)?,
            id: b.array(104)?,
            allocation: ForkData::parse(b, 112)?,
            extents: ForkData::parse(b, 192)?,
            catalog: ForkData::parse(b, 272)?,
            attributes_file: ForkData::parse(b, 352)?,
            startup: ForkData::parse(b, 432)?,
        })
    }

    /// The file system's usual name.
    pub(super) const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Hfs => "HFS",
            Kind::HfsPlus => "HFS+",
            Kind::HfsX => "HFSX",
        }
    }

    /// Whether it says that there is a journal.
    pub(super) const fn has_journal(&self) -> bool {
        self.attributes & 1 << 13 != 0
    }

    /// Where the volume ends.
    pub(super) const fn end(&self) -> u64 {
        let blocks = (self.blocks as u64).saturating_mul(self.block);
        self.base.saturating_add(blocks).saturating_add(self.behind())
    }

    /// Bytes behind the last block: those of the alternate master directory block.
    const fn behind(&self) -> u64 {
        match self.kind {
            Kind::Hfs => AT,
            _ => 0,
        }
    }

    pub(super) fn is_classic(&self) -> bool {
        self.kind == Kind::Hfs
    }

    /// The master directory block of HFS.
    fn parse_classic(b: &[u8], start: u64, at: u64) -> Option<Self> {
        let block = u64::from(b.be32(20)?); // drAlBlkSiz
        let (blocks, first) = (u32::from(b.be16(18)?), u64::from(b.be16(28)?)); // drNmAlBlks, drAlBlSt
        let map = u64::from(b.be16(14)?); // drVBMSt
        let sound = block > 0 && block.is_multiple_of(512) && blocks > 0 && first > map && map >= 3;
        sound.then_some(())?;
        let bits = Extent::new(map.checked_mul(512)?.checked_add(start)?, u64::from(blocks).div_ceil(8));
        Some(Self {
            at,
            start,
            base: first.checked_mul(512)?.checked_add(start)?,
            is_alternate: false,
            kind: Kind::Hfs,
            bitmap: Some(bits),
            attributes: 0,
            journal_info: 0,
            created: b.be32(2)?,
            block,
            blocks,
            next_id: b.be32(30)?,
            id: [0; 8],
            allocation: ForkData::default(),
            extents: ForkData::parse_classic(b.be32(130)?, b, 134, block)?,
            catalog: ForkData::parse_classic(b.be32(146)?, b, 150, block)?,
            attributes_file: ForkData::default(),
            startup: ForkData::default(),
        })
    }

    /// The fields that differ from those of another copy, of those that both keep alike: an identifier or a journal may be given to a
    /// volume later, and are not in the alternate then.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("the kind of file system", self.kind != other.kind),
            ("the block size", self.block != other.block),
            ("the number of blocks", self.blocks != other.blocks),
            ("the date of creation", self.created != other.created),
            ("the allocation file", self.allocation != other.allocation),
            ("the extents file", self.extents != other.extents),
            ("the catalog", self.catalog != other.catalog),
            ("the attributes file", self.attributes_file != other.attributes_file),
            ("the startup file", self.startup != other.startup),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// Where in an HFS volume the HFS+ volume lies that it is there for.
fn wrapped(view: View<'_>) -> Option<Extent> {
    let raw = view.read(AT, SIZE).ok()?;
    let b: &[u8] = &raw;
    (b.span(0, 2)? == b"BD" && matches!(b.span(0x7c, 2)?, b"H+" | b"HX")).then_some(())?;
    let block = u64::from(b.be32(0x14)?); // drAlBlkSiz
    let first = u64::from(b.be16(0x1c)?).checked_mul(512)?; // drAlBlSt
    let start = u64::from(b.be16(0x7e)?).checked_mul(block)?.checked_add(first)?; // drEmbedExtent
    Some(Extent::new(start, u64::from(b.be16(0x80)?).checked_mul(block)?))
}
