//! The volume header, its alternate at the volume's end, and the HFS wrapper that may stand around both.
//!
//! Apple TN1150, "Volume Header" and "HFS Wrapper".

use super::fork::ForkData;
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fs::disk::Disk;
use crate::image::View;

/// Bytes of a volume header, and where it stands from the volume's begin; the alternate as far from its end.
const SIZE: u64 = 512;
const AT: u64 = 1024;

/// A volume header.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it stands.
    pub(super) at: u64,
    /// Where the volume begins: behind the wrapper, if it has one.
    pub(super) base: u64,
    /// True where it is the alternate that is used, since the first one is destroyed.
    pub(super) is_alternate: bool,
    /// HFSX.
    pub(super) is_x: bool,
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
        let ends = [view.size().checked_sub(self.base)?, covered];
        ends.into_iter().find_map(|len| Self::alternate(view, Extent::new(self.base, len)))
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
        changes.then(|| Self::parse(&disk.read(self.at, SIZE)?, self.base, self.at))?
    }

    fn parse(b: &[u8], base: u64, at: u64) -> Option<Self> {
        let is_x = match b.span(0, 2)? {
            b"H+" => false,
            b"HX" => true,
            _ => return None,
        };
        let block = b.be32(40)?;
        let sound = matches!(b.be16(2)?, 4 | 5) && block.is_power_of_two() && block >= 512 && b.be32(44)? > 0;
        sound.then_some(())?;
        Some(Self {
            at,
            base,
            is_alternate: false,
            is_x,
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
        if self.is_x { "HFSX" } else { "HFS+" }
    }

    /// Whether it says that there is a journal.
    pub(super) const fn has_journal(&self) -> bool {
        self.attributes & 1 << 13 != 0
    }

    /// Bytes that the volume covers.
    pub(super) const fn size(&self) -> u64 {
        (self.blocks as u64).saturating_mul(self.block)
    }

    /// The fields that differ from those of another copy, of those that both keep alike.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("the kind of file system", self.is_x != other.is_x),
            ("the block size", self.block != other.block),
            ("the number of blocks", self.blocks != other.blocks),
            ("the date of creation", self.created != other.created),
            ("the identifier", self.id != other.id),
            ("the journal's place", self.journal_info != other.journal_info),
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
