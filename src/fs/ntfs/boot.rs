//! The boot sector of NTFS and its copy in the volume's last sector.

use crate::bytes::Fields;
use crate::image::View;

/// What the boot sector tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// Sectors of the volume; behind them stands the copy of the boot sector.
    pub(super) sectors: u64,
    /// Clusters of the volume.
    pub(super) clusters: u64,
    /// First cluster of `$MFT`.
    pub(super) mft: u64,
    /// First cluster of `$MFTMirr`.
    pub(super) mirror: u64,
    /// Bytes of an MFT record.
    pub(super) record: u64,
    /// Bytes of an index block.
    pub(super) index: u64,
    /// Serial number of the volume.
    pub(super) serial: u64,
    /// True where the copy at the volume's end was used.
    pub(super) from_backup: bool,
}

/// Reads the boot sector or, where that is damaged, its copy.
pub(super) fn read(view: View<'_>) -> Option<Boot> {
    let backup = || {
        let at = [512u64, 4096].map(|sector| view.size().checked_sub(sector));
        let copy = at.into_iter().flatten().find_map(|at| parse(&view.read(at, 512).ok()?))?;
        Some(Boot { from_backup: true, ..copy })
    };
    view.read(0, 512).ok().and_then(|bytes| parse(&bytes)).or_else(backup)
}

fn parse(bytes: &[u8]) -> Option<Boot> {
    if bytes.span(3, 8)? != b"NTFS    " {
        return None;
    }
    let sector = u64::from(bytes.le16(11)?);
    // 0 to 128 count sectors; above that it is the negative exponent of large clusters.
    let per_cluster = match bytes.byte(13)? {
        n @ 1..=128 if n.is_power_of_two() => u64::from(n),
        n @ 244..=248 => 1u64.checked_shl(256u32.checked_sub(n.into())?)?,
        _ => return None,
    };
    if !matches!(sector, 256 | 512 | 1024 | 2048 | 4096) {
        return None;
    }
    let cluster = sector.checked_mul(per_cluster)?;
    let sectors = bytes.le64(40)?;
    let record = unit_size(bytes.byte(64)?, cluster)?;
    let clusters = sectors.checked_div(per_cluster)?;
    let (mft, mirror) = (bytes.le64(48)?, bytes.le64(56)?);
    let index = unit_size(bytes.byte(68)?, cluster).filter(|size| (512..=1 << 20).contains(size)).unwrap_or(4096);
    let sound = (256..=65536).contains(&record) && clusters > 0 && clusters.checked_mul(cluster).is_some();
    sound.then_some(Boot {
        sector,
        cluster,
        sectors,
        clusters,
        mft,
        mirror,
        record,
        index,
        serial: bytes.le64(72)?,
        from_backup: false,
    })
}

/// Clusters where positive, else the exponent of a number of bytes.
fn unit_size(field: u8, cluster: u64) -> Option<u64> {
    match field {
        0 => None,
        n @ 1..=127 => cluster.checked_mul(n.into()),
        n => 1u64.checked_shl(256u32.checked_sub(n.into())?),
    }
}
