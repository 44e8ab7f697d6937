//! Metadata: sizes, identifiers, and where the disk below is ([MS-VHDX] 2.6).

use super::log::Overlay;
use crate::bytes::{Fields, guid, index, utf16_le};
use crate::extent::Extent;
use crate::image::about::About;

const FILE_PARAMETERS: &str = "caa16737-fa36-4d43-b3b6-33f0aa44e76b";
const DISK_SIZE: &str = "2fa54224-cd1b-4876-b211-5dbed83bf4b8";
const DISK_ID: &str = "beca12ab-b2e6-4523-93ef-c309e000c746";
const LOGICAL_SECTOR: &str = "8141bf1d-a96f-4709-ba47-f233a8faab5f";
const PHYSICAL_SECTOR: &str = "cda348c7-445d-4471-9cc9-e9885251c556";
const PARENT_LOCATOR: &str = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c";
const VHDX_LOCATOR: &str = "b04aefb7-d19e-4a81-b789-25b8e9445913";

/// The most metadata that is read; items are far smaller.
const MOST: u64 = 4 << 20;
/// More entries no table may have.
const MOST_ITEMS: u16 = 2047;

/// What the metadata says.
pub(super) struct Metadata {
    pub(super) size: u64,
    /// Bytes of a block.
    pub(super) block: u64,
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// True where all blocks were to be allocated.
    fixed: bool,
    id: Option<[u8; 16]>,
    /// Where the disk below is.
    pub(super) parent: Option<Locator>,
}

/// How to find the disk below: keys and values.
pub(super) struct Locator(Vec<(String, String)>);

impl Metadata {
    /// Reads the metadata region.
    ///
    /// # Errors
    /// Why the disk cannot be read.
    pub(super) fn read(bytes: &[u8], overlay: &Overlay, region: Extent) -> Result<Self, String> {
        let region =
            Extent::new(region.start, region.len.min(MOST).min((bytes.len() as u64).saturating_sub(region.start)));
        let region = overlay.read(bytes, region).filter(|region| region.starts_with(b"metadata"));
        let region = region.ok_or("its metadata is damaged")?;
        let items = items(&region)?;
        let item = |id: &str| {
            let (_, place) = items.iter().find(|(known, _)| known == id)?;
            region.span(index(place.start), index(place.len))
        };
        let missing = |what: &str| format!("its metadata does not say {what}");
        let parameters = item(FILE_PARAMETERS).and_then(|p| Some((p.le32(0)?, p.le32(4)?)));
        let (block, flags) = parameters.ok_or_else(|| missing("how large its blocks are"))?;
        let size = item(DISK_SIZE).and_then(|s| s.le64(0)).ok_or_else(|| missing("how large the disk is"))?;
        let sector =
            item(LOGICAL_SECTOR).and_then(|s| s.le32(0)).ok_or_else(|| missing("how large its sectors are"))?;
        if !block.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block) || !matches!(sector, 512 | 4096) {
            return Err(format!("has blocks of {block} and sectors of {sector} bytes"));
        }
        let parent = (flags & 2 != 0).then(|| item(PARENT_LOCATOR).and_then(Locator::read));
        let parent = parent.map(|locator| locator.ok_or("does not say which disk it is based on")).transpose()?;
        let id = item(DISK_ID).and_then(|id| id.array(0));
        Ok(Self { size, block: block.into(), sector: sector.into(), fixed: flags & 1 != 0, id, parent })
    }

    /// Adds what it says.
    pub(super) fn describe(&self, bytes: &[u8], about: &mut About) {
        let kind = match (&self.parent, self.fixed) {
            (Some(_), _) => "differencing",
            (None, true) => "fixed",
            (None, false) => "dynamic",
        };
        let blocks = format!("blocks of {} bytes, sectors of {} bytes", self.block, self.sector);
        about.fact("container", format!("VHDX, {kind}, {blocks}"));
        let creator = bytes.span(8, 512).map(utf16_le).unwrap_or_default();
        about.fact("made with", creator.split('\0').next().unwrap_or_default());
        about.fact("id", self.id.map(guid).unwrap_or_default());
    }
}

/// Items by their identifier, and where they lie in the region.
fn items(region: &[u8]) -> Result<Vec<(String, Extent)>, String> {
    const KNOWN: [&str; 6] = [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR];
    let mut items = Vec::new();
    for n in 0..region.le16(10).unwrap_or(0).min(MOST_ITEMS) {
        let at = usize::from(n).saturating_mul(32).saturating_add(32);
        let Some(entry) = region.span(at, 32) else { break };
        let id = guid(entry.array(0).unwrap_or_default());
        let place = Extent::new(entry.le32(16).unwrap_or(0).into(), entry.le32(20).unwrap_or(0).into());
        let required = entry.le32(24).unwrap_or(0) & 4 != 0;
        if required && !KNOWN.contains(&id.as_str()) {
            return Err(format!("needs metadata {id}, which is not known"));
        }
        items.push((id, place));
    }
    Ok(items)
}

impl Locator {
    fn read(item: &[u8]) -> Option<Self> {
        if guid(item.array(0)?) != VHDX_LOCATOR {
            return None;
        }
        let text = |at: u32, len: u16| Some(utf16_le(item.span(usize::try_from(at).ok()?, len.into())?));
        let pair = |n: u16| {
            let entry = item.span(usize::from(n).checked_mul(12)?.checked_add(20)?, 12)?;
            Some((text(entry.le32(0)?, entry.le16(8)?)?, text(entry.le32(4)?, entry.le16(10)?)?))
        };
        Some(Self((0..item.le16(18)?).map_while(pair).collect()))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The names of the disk below, the relative one first.
    pub(super) fn names(&self) -> Vec<&str> {
        ["relative_path", "absolute_win32_path", "volume_path"].iter().filter_map(|key| self.value(key)).collect()
    }

    /// True where it links to a disk whose last write is `id`.
    pub(super) fn links(&self, id: &str) -> bool {
        let same = |key| self.value(key).is_some_and(|value| value.trim_matches(['{', '}']).eq_ignore_ascii_case(id));
        same("parent_linkage") || same("parent_linkage2")
    }
}
