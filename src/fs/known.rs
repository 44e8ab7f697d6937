//! File systems, volume managers and encryption that are recognised by their signature where none is read: what they hold is
//! carved and searched all the same, and nobody has to wonder whether a volume is empty or only foreign.
//!
//! Signatures and their places: the formats' own headers, as listed in the magic tables of `libblkid` (util-linux 2.42) and
//! `file`. Checked against blkid's own test images.

use crate::bytes::Fields;
use crate::image::View;

/// What a volume was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its usual name: `ReiserFS`.
    pub name: &'static str,
    /// The name that `blkid` gives it: `reiserfs`.
    pub tag: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What kind of thing was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file system.
    FileSystem,
    /// A member of an array, or a volume manager's disk.
    Member,
    /// An encrypted volume.
    Encrypted,
    /// Swap, journals, caches.
    Other,
}

impl Kind {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileSystem => "file system",
            Self::Member => "member",
            Self::Encrypted => "encrypted",
            Self::Other => "other",
        }
    }
}

/// Bytes that stand at an offset; before the end of the volume or of its last whole sector where it is negative.
type Mark = (i64, &'static [u8]);

struct Row {
    known: Known,
    /// It is recognised where all marks of one of these groups stand.
    marks: &'static [&'static [Mark]],
    /// What must hold besides, where the marks are short.
    check: Option<fn(View<'_>) -> bool>,
}

const fn row(kind: Kind, name: &'static str, tag: &'static str, marks: &'static [&'static [Mark]]) -> Row {
    Row { known: Known { name, tag, kind }, marks, check: None }
}

const fn checked(row: Row, check: fn(View<'_>) -> bool) -> Row {
    Row { check: Some(check), ..row }
}

/// The first that fits holds: members of arrays go before what they hold, as their first bytes may be its.
static ROWS: &[Row] = &[
    row(
        Kind::Member,
        "LVM2 physical volume",
        "LVM2_member",
        &[
            &[(0, b"LABELONE"), (24, b"LVM2 001")],
            &[(512, b"LABELONE"), (536, b"LVM2 001")],
            &[(1024, b"LABELONE"), (1048, b"LVM2 001")],
            &[(1536, b"LABELONE"), (1560, b"LVM2 001")],
        ],
    ),
    row(Kind::Member, "LVM1 physical volume", "LVM1_member", &[&[(0, b"HM\x01\0")], &[(0, b"HM\x02\0")]]),
    checked(row(Kind::Member, "Linux RAID member", "linux_raid_member", &[&[]]), is_md),
    row(
        Kind::Member,
        "DDF RAID member",
        "ddf_raid_member",
        &[&[(-512, b"\xde\x11\xde\x11")], &[(-512, b"\x11\xde\x11\xde")], &[(-(257 << 9), b"\xde\x11\xde\x11")]],
    ),
    row(Kind::Member, "Adaptec RAID member", "adaptec_raid_member", &[&[(-512, b"\x37\xfc\x4d\x1e"), (-256, b"DPTM")]]),
    row(Kind::Member, "Intel Matrix RAID member", "isw_raid_member", &[&[(-1024, b"Intel Raid ISM Cfg Sig. ")]]),
    row(
        Kind::Member,
        "HighPoint HPT45x RAID member",
        "hpt45x_raid_member",
        &[&[(-(11 << 9), b"\xf3\x16\x78\x5a")], &[(-(11 << 9), b"\xfd\x16\x78\x5a")]],
    ),
    row(
        Kind::Member,
        "HighPoint HPT37x RAID member",
        "hpt37x_raid_member",
        &[&[(4640, b"\xf0\x16\x78\x5a")], &[(4640, b"\xfd\x16\x78\x5a")]],
    ),
    row(Kind::Member, "JMicron RAID member", "jmicron_raid_member", &[&[(-512, b"JM\x01\0")]]),
    row(Kind::Member, "LSI MegaRAID member", "lsi_mega_raid_member", &[&[(-512, b"$XIDE$")]]),
    row(Kind::Member, "NVIDIA RAID member", "nvidia_raid_member", &[&[(-1024, b"NVIDIA")]]),
    row(
        Kind::Member,
        "Promise FastTrack RAID member",
        "promise_fasttrack_raid_member",
        &[
            &[(-(63 << 9), b"Promise Technology, Inc.")],
            &[(-(255 << 9), b"Promise Technology, Inc.")],
            &[(-(256 << 9), b"Promise Technology, Inc.")],
            &[(-(16 << 9), b"Promise Technology, Inc.")],
            &[(-(399 << 9), b"Promise Technology, Inc.")],
        ],
    ),
    row(
        Kind::Member,
        "DRBD device",
        "drbd",
        &[
            &[(-4036, b"\x83\x74\x02\x6d")],
            &[(-4036, b"\x83\x74\x02\x67")],
            &[(-4036, b"\x83\x74\x02\x6b")],
            &[(-4048, b"DRBDmago")],
        ],
    ),
    row(
        Kind::Member,
        "Windows Storage Spaces pool member",
        "storage_spaces_member",
        &[&[(4096, b"SPACEDB \0")], &[(4096, b"SPACEDB ")]],
    ),
    row(
        Kind::Member,
        "Windows dynamic disk database",
        "ldm_member",
        &[&[(3072, b"PRIVHEAD")], &[(-1_048_576, b"VMDB")], &[(-512, b"PRIVHEAD")]],
    ),
    row(
        Kind::Member,
        "bcache device",
        "bcache",
        &[&[(4114, &[0; 6]), (4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")]],
    ),
    row(Kind::Member, "VMFS volume member", "VMFS_volume_member", &[&[(1 << 20, b"\x0d\xd0\x01\xc0")]]),
    row(
        Kind::Member,
        "Stratis pool member",
        "stratis",
        &[&[(516, b"!Stra0tis\x86\xff\x02^\x41rh")], &[(4612, b"!Stra0tis\x86\xff\x02^\x41rh")]],
    ),
    row(Kind::Member, "Ceph BlueStore", "ceph_bluestore", &[&[(0, b"bluestore block device")]]),
    row(Kind::Member, "Oracle ASM disk", "oracleasm", &[&[(32, b"ORCLDISK")]]),
    row(Kind::Member, "UBI image", "ubi", &[&[(0, b"UBI#")]]),
    row(Kind::Member, "device-mapper snapshot store", "DM_snapshot_cow", &[&[(0, b"SnAp")]]),
    row(Kind::Other, "VDO volume", "vdo", &[&[(0, b"dmvdo001")]]),
    row(Kind::Other, "dm-verity hash tree", "DM_verity_hash", &[&[(0, b"verity\0\0")]]),
    row(Kind::Other, "dm-integrity device", "DM_integrity", &[&[(0, b"integrt\0")]]),
    row(Kind::Encrypted, "LUKS", "crypto_LUKS", &[&[(0, b"LUKS\xba\xbe")], &[(0x4000, b"SKUL\xba\xbe")]]),
    row(
        Kind::Encrypted,
        "BitLocker",
        "BitLocker",
        &[
            &[(3, b"-FVE-FS-")],
            &[(3, b"MSWIN4.1"), (424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01")],
        ],
    ),
    row(Kind::Encrypted, "FileVault 2 (Core Storage)", "cs_fvault2", &[&[(10, b"\x10\0"), (88, b"CS")]]),
    row(
        Kind::FileSystem,
        "bcachefs",
        "bcachefs",
        &[
            &[(4120, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef")],
            &[(4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")],
        ],
    ),
    row(
        Kind::FileSystem,
        "ReiserFS",
        "reiserfs",
        &[
            &[(65_588, b"ReIsEr2Fs")],
            &[(65_588, b"ReIsErFs")],
            &[(65_588, b"ReIsEr3Fs")],
            &[(8244, b"ReIsErFs")],
            &[(8212, b"ReIsErFs")],
        ],
    ),
    row(Kind::FileSystem, "btrfs", "btrfs", &[&[(65_600, b"_BHRfS_M")]]),
    row(Kind::FileSystem, "XFS", "xfs", &[&[(0, b"XFSB")]]),
    row(Kind::FileSystem, "APFS", "apfs", &[&[(32, b"NXSB")]]),
    row(Kind::FileSystem, "HFS+", "hfsplus", &[&[(1024, b"H+\0\x04")], &[(1024, b"HX\0\x05")]]),
    row(Kind::FileSystem, "Reiser4", "reiser4", &[&[(65_536, b"ReIsEr4")]]),
    row(Kind::FileSystem, "JFS", "jfs", &[&[(32_768, b"JFS1")]]),
    row(Kind::FileSystem, "NILFS2", "nilfs2", &[&[(1030, b"\x34\x34")]]),
    row(Kind::FileSystem, "BeFS", "befs", &[&[(544, b"BFS1")], &[(544, b"1SFB")], &[(32, b"BFS1")], &[(32, b"1SFB")]]),
    row(Kind::FileSystem, "cramfs", "cramfs", &[&[(0, b"\x45\x3d\xcd\x28")], &[(0, b"\x28\xcd\x3d\x45")]]),
    row(Kind::FileSystem, "EROFS", "erofs", &[&[(1024, b"\xe2\xe1\xf5\xe0")]]),
    row(Kind::FileSystem, "F2FS", "f2fs", &[&[(1024, b"\x10\x20\xf5\xf2")]]),
    row(Kind::FileSystem, "GFS2", "gfs2", &[&[(65_536, b"\x01\x16\x19\x70\0\0\0\x01"), (65_560, b"\0\0\x07\x09")]]),
    row(Kind::FileSystem, "GFS", "gfs", &[&[(65_536, b"\x01\x16\x19\x70\0\0\0\x01"), (65_560, b"\0\0\x05\x1d")]]),
    row(Kind::FileSystem, "HPFS", "hpfs", &[&[(54, b"HPFS    ")], &[(8192, b"\x49\xe8\x95\xf9")]]),
    row(Kind::FileSystem, "Novell NSS", "nss", &[&[(4096, b"SPB5")]]),
    row(
        Kind::FileSystem,
        "OCFS2",
        "ocfs2",
        &[&[(1024, b"OCFSV2")], &[(2048, b"OCFSV2")], &[(4096, b"OCFSV2")], &[(8192, b"OCFSV2")]],
    ),
    row(Kind::FileSystem, "OCFS", "ocfs", &[&[(8, b"OracleCFS")]]),
    row(Kind::FileSystem, "romfs", "romfs", &[&[(0, b"-rom1fs-")]]),
    row(Kind::FileSystem, "ScoutFS (metadata device)", "scoutfs_meta", &[&[(65_540, b"\x8b\x42\x3c\x10")]]),
    row(Kind::FileSystem, "SquashFS", "squashfs", &[&[(0, b"hsqs")], &[(0, b"sqsh")]]),
    row(Kind::FileSystem, "UBIFS", "ubifs", &[&[(0, b"\x31\x18\x10\x06")]]),
    checked(row(Kind::FileSystem, "UDF", "udf", &[&[]]), is_udf),
    row(Kind::FileSystem, "ISO 9660", "iso9660", &[&[(32_769, b"CD001")]]),
    row(Kind::FileSystem, "High Sierra", "iso9660", &[&[(32_777, b"CDROM")]]),
    row(
        Kind::FileSystem,
        "UFS",
        "ufs",
        &[
            &[(9564, b"\x54\x19\x01\0")],
            &[(9564, b"\0\x01\x19\x54")],
            &[(66_908, b"\x19\x01\x54\x19")],
            &[(66_908, b"\x19\x54\x01\x19")],
            &[(9564, b"\x19\x01\x54\x19")],
            &[(263_516, b"\x19\x01\x54\x19")],
        ],
    ),
    row(Kind::FileSystem, "VMFS", "VMFS", &[&[(0x20_0000, b"\x5e\xf1\xab\x2f")]]),
    row(Kind::FileSystem, "VxFS", "vxfs", &[&[(1024, b"\xf5\xfc\x01\xa5")], &[(8192, b"\xa5\x01\xfc\xf5")]]),
    row(
        Kind::FileSystem,
        "ZFS pool member",
        "zfs_member",
        &[
            &[(128 << 10, b"\x0c\xb1\xba\0\0\0\0\0")],
            &[(132 << 10, b"\x0c\xb1\xba\0\0\0\0\0")],
            &[(160 << 10, b"\x0c\xb1\xba\0\0\0\0\0")],
            &[(128 << 10, b"\0\0\0\0\0\xba\xb1\x0c")],
        ],
    ),
    row(Kind::FileSystem, "zonefs", "zonefs", &[&[(0, b"SFOZ")]]),
    row(Kind::FileSystem, "ReFS", "ReFS", &[&[(3, b"ReFS\0\0\0\0"), (16, b"FSRS")], &[(3, b"ReFS\0\0\0\0")]]),
    row(Kind::FileSystem, "QNX4", "qnx4", &[&[(4, b"QNX4FS")], &[(528, b"/\0\0\0")]]),
    row(Kind::FileSystem, "exFS", "exfs", &[&[(0, b"EXFS")]]),
    row(Kind::FileSystem, "XIAFS", "xiafs", &[&[(572, b"\x3c\x1f\x48\x20")]]),
    row(Kind::FileSystem, "mpool", "mpool", &[&[(8, b"mpoolDev")]]),
    checked(row(Kind::FileSystem, "HFS", "hfs", &[&[(1024, b"BD")]]), is_hfs),
    checked(row(Kind::FileSystem, "Minix", "minix", &[&[]]), is_minix),
    checked(row(Kind::Other, "journal of ext3 or ext4", "jbd", &[&[(1080, b"\x53\xef")]]), is_jbd),
    checked(row(Kind::Other, "swap", "swap", &[&[]]), is_swap),
    row(
        Kind::Other,
        "hibernated swap",
        "swsuspend",
        &[&[(4086, b"S1SUSPEND")], &[(4086, b"S2SUSPEND")], &[(4086, b"ULSUSPEND")]],
    ),
    checked(row(Kind::Encrypted, "random bytes throughout (as of VeraCrypt)", "random", &[&[]]), is_random),
];

/// What a volume is recognised as, where it is none that is read.
pub fn recognise(volume: View<'_>) -> Option<Known> {
    let fits = |row: &&Row| {
        let marked = row.marks.iter().any(|group| group.iter().all(|mark| stands(volume, *mark)));
        marked && row.check.is_none_or(|check| check(volume))
    };
    ROWS.iter().find(fits).map(|row| row.known)
}

fn stands(volume: View<'_>, (offset, bytes): Mark) -> bool {
    let at = |at: u64| stands_at(volume, at, bytes);
    let behind = |end: u64| end.checked_sub(offset.unsigned_abs()).is_some_and(at);
    u64::try_from(offset).map_or_else(|_| behind(volume.size()) || behind(volume.size() & !511), at)
}

fn stands_at(volume: View<'_>, at: u64, bytes: &[u8]) -> bool {
    volume.read(at, bytes.len() as u64).is_ok_and(|found| found.as_ref() == bytes)
}

/// Superblocks of Linux RAID: 1.1 at the start, 1.2 at 4 KiB, 1.0 in the last 8 to 12 KiB, 0.90 in the last 64 to 128.
fn is_md(volume: View<'_>) -> bool {
    let magic = |at: u64| volume.read(at, 8).ok().and_then(|head| Some((head.le32(0)?, head.be32(0)?, head.le32(4)?)));
    let is =
        |at: u64, major: u32| magic(at).is_some_and(|(le, be, m)| (le == MD && m == major) || (be == MD && major == 0));
    let aligned = |behind: u64, to: u64| volume.size().checked_sub(behind).map(|at| at & !to.saturating_sub(1));
    is(0, 1)
        || is(4096, 1)
        || aligned(8192, 4096).is_some_and(|at| is(at, 1))
        || aligned(65_536, 65_536).is_some_and(|at| is(at, 0))
}

const MD: u32 = 0xa92b_4efc;

/// The descriptors that begin at 32 KiB, 2 KiB each, name it.
fn is_udf(volume: View<'_>) -> bool {
    (16..64u64).any(|number| stands_at(volume, number.saturating_mul(2048), b"\x00NSR0"))
}

/// Allocation blocks are whole sectors, and there are some.
fn is_hfs(volume: View<'_>) -> bool {
    let head = volume.read_up_to(1024, 162);
    let block = head.be32(20).unwrap_or(0);
    block != 0 && block.is_multiple_of(512) && head.be16(18).is_some_and(|blocks| blocks != 0)
}

/// The magic has two bytes: the counts beside it must be such as `mkfs.minix` writes.
fn is_minix(volume: View<'_>) -> bool {
    let head = volume.read_up_to(1024, 32);
    let field = |at: usize, swapped: bool| if swapped { head.be16(at) } else { head.le16(at) }.unwrap_or(0);
    let old = |swapped: bool| {
        let magic = matches!(field(16, swapped), 0x137f | 0x138f | 0x2468 | 0x2478);
        magic && field(0, swapped) != 0 && field(4, swapped) != 0 && field(6, swapped) != 0 && field(10, swapped) < 8
    };
    let third = |swapped: bool| field(24, swapped) == 0x4d5a && field(28, swapped).is_power_of_two();
    [false, true].into_iter().any(|swapped| old(swapped) || third(swapped))
}

/// A superblock of ext whose device only holds a journal.
fn is_jbd(volume: View<'_>) -> bool {
    volume.read_up_to(1024, 128).le32(0x60).is_some_and(|incompatible| incompatible & 8 != 0)
}

/// The signature ends the first page; pages have 4 to 64 KiB.
fn is_swap(volume: View<'_>) -> bool {
    let marks: [&[u8]; 2] = [b"SWAP-SPACE", b"SWAPSPACE2"];
    let ends = |page: u32| marks.iter().any(|mark| stands(volume, (i64::from(page).saturating_sub(10), mark)));
    [4096, 8192, 16_384, 32_768, 65_536].into_iter().any(ends)
}

/// Bytes of a sample, and where the smallest container of VeraCrypt ends.
const SAMPLE: u64 = 64 << 10;
const LEAST: u64 = 256 << 10;

/// VeraCrypt leaves no signature: beginning, middle and end of its volumes are evenly spread bytes, which compressed files are not
/// from their first byte on.
fn is_random(volume: View<'_>) -> bool {
    let last = volume.size().saturating_sub(SAMPLE);
    let places = [0, last.checked_div(2).unwrap_or(0) & !511, last];
    volume.size() >= LEAST && places.into_iter().all(|at| is_even(&volume.read_up_to(at, SAMPLE)))
}

/// Whether all values of a byte are about as frequent: chi-squared with 255 degrees of freedom, within six deviations.
fn is_even(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let expected = (bytes.len() as u64).checked_div(256).unwrap_or(0).max(1);
    let squares = counts.iter().map(|count| count.abs_diff(expected).saturating_pow(2));
    let sum = squares.fold(0, u64::saturating_add).checked_div(expected).unwrap_or(0);
    (120..=390).contains(&sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_volumes_are_told_from_text_and_zeros() -> Result<(), Box<dyn std::error::Error>> {
        let mut state = 1u64;
        let mut random: Vec<u8> = Vec::new();
        while random.len() < 1 << 20 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random.push((state >> 33) as u8);
        }
        let told = |bytes: &[u8]| -> Result<Option<&str>, crate::image::ImageError> {
            let image = crate::image::raw::of_bytes(bytes)?;
            Ok(recognise(View::whole(image.as_ref())).map(|known| known.tag))
        };
        assert_eq!(told(&random)?, Some("random"));
        random.splice(..4096, vec![0; 4096]);
        assert_eq!((told(&random)?, told(&[7; 1 << 20])?), (None, None));
        Ok(())
    }
}
