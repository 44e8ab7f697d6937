//! Signatures of the formats that evidex reads or carves, by their first bytes.
//!
//! Sources: the formats' own specifications; the brands of ISO/IEC 14496-12 as registered at mp4ra.org.

use super::{Identity, id, package};
use crate::bytes::Fields;

type Row = (&'static [u8], Identity);

/// What begins with these bytes is of this format.
static STARTS: &[Row] = &[
    (b"\xff\xd8\xff", id("image/jpeg", &["jpg", "jpeg", "jpe", "jfif"])),
    (b"\x89PNG\r\n\x1a\n", id("image/png", &["png"])),
    (b"GIF87a", id("image/gif", &["gif"])),
    (b"GIF89a", id("image/gif", &["gif"])),
    (b"II*\0", id("image/tiff", &["tif", "tiff", "dng", "nef", "cr2", "arw"])),
    (b"MM\0*", id("image/tiff", &["tif", "tiff", "nef"])),
    (b"%PDF-", id("application/pdf", &["pdf", "ai"])),
    (b"{\\rtf", id("text/rtf", &["rtf", "doc"])),
    (b"\x1f\x8b\x08", id("application/gzip", &["gz", "tgz", "svgz", "emz", "wmz"])),
    (b"\xfd7zXZ\0", id("application/x-xz", &["xz", "txz"])),
    (b"\x28\xb5\x2f\xfd", id("application/zstd", &["zst", "tzst"])),
    (b"7z\xbc\xaf\x27\x1c", id("application/x-7z-compressed", &["7z"])),
    (b"Rar!\x1a\x07", id("application/vnd.rar", &["rar"])),
    (b"SQLite format 3\0", id("application/vnd.sqlite3", &["sqlite", "sqlite3", "db"])),
    (b"\x7fELF", id("application/x-elf", &["elf", "so", "o", "ko", "bin"])),
    (b"\x1f\x9d", id("application/x-compress", &["z"])),
    (b"!BDN", id("application/vnd.ms-outlook-pst", &["pst", "ost"])),
];

const BMP: Identity = id("image/bmp", &["bmp", "dib"]);
const WEBP: Identity = id("image/webp", &["webp"]);
const WAV: Identity = id("audio/x-wav", &["wav"]);
const AVI: Identity = id("video/x-msvideo", &["avi"]);
const BZIP2: Identity = id("application/x-bzip2", &["bz2", "tbz", "tbz2"]);
const TAR: Identity = id("application/x-tar", &["tar"]);
const PE: Identity = id("application/vnd.microsoft.portable-executable", &["exe", "dll", "sys", "ocx", "scr", "cpl"]);
const DOS: Identity = id("application/x-dosexec", &["exe", "com"]);
const MP4: Identity = id("video/mp4", &["mp4", "m4v", "m4a"]);
const M4A: Identity = id("audio/mp4", &["m4a", "m4b", "mp4"]);
const MOV: Identity = id("video/quicktime", &["mov", "qt"]);
const THREE_GP: Identity = id("video/3gpp", &["3gp", "3g2", "mp4"]);
const HEIC: Identity = id("image/heic", &["heic", "heif", "hif"]);
const AVIF: Identity = id("image/avif", &["avif"]);

/// The format whose signature `head` bears.
pub(super) fn known(head: &[u8]) -> Option<Identity> {
    if let Some((_, identity)) = STARTS.iter().find(|(start, _)| head.starts_with(start)) {
        return Some(*identity);
    }
    match *head.first()? {
        b'P' => package::zip(head),
        0xd0 => package::ole2(head),
        b'R' => riff(head),
        b'B' => bzip2(head).or_else(|| bmp(head)),
        b'M' => executable(head),
        _ => None,
    }
    .or_else(|| brand(head))
    .or_else(|| tar(head))
}

fn riff(head: &[u8]) -> Option<Identity> {
    match (head.span(0, 4)?, head.span(8, 4)?) {
        (b"RIFF", b"WEBP") => Some(WEBP),
        (b"RIFF", b"WAVE") => Some(WAV),
        (b"RIFF", b"AVI ") => Some(AVI),
        _ => None,
    }
}

/// The block's magic is pi, the empty stream's that of its end the square root of pi.
fn bzip2(head: &[u8]) -> Option<Identity> {
    let level = head.byte(3)?;
    let block = matches!(head.span(4, 6)?, [0x31, 0x41, 0x59, 0x26, 0x53, 0x59] | [0x17, 0x72, 0x45, 0x38, 0x50, 0x90]);
    (head.starts_with(b"BZh") && (b'1'..=b'9').contains(&level) && block).then_some(BZIP2)
}

/// Two letters are no signature: the header's own length and the reserved fields must fit too.
fn bmp(head: &[u8]) -> Option<Identity> {
    let sound = matches!(head.le32(14)?, 12 | 40 | 52 | 56 | 64 | 108 | 124) && head.le32(6)? == 0;
    (head.starts_with(b"BM") && sound).then_some(BMP)
}

fn executable(head: &[u8]) -> Option<Identity> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let at = usize::try_from(head.le32(0x3c)?).ok()?;
    if head.span(at, 4) == Some(b"PE\0\0") {
        return Some(PE);
    }
    let pages = head.le16(4)?;
    (pages > 0 && head.le16(8)? >= 2).then_some(DOS)
}

/// ISO/IEC 14496-12, 4.3: the major brand; QuickTime files may begin with another atom.
fn brand(head: &[u8]) -> Option<Identity> {
    let kind = head.span(4, 4)?;
    if kind != b"ftyp" {
        let next = || head.span(usize::try_from(head.be32(0)?).ok()?.checked_add(4)?, 4);
        let first = matches!(kind, b"moov" | b"wide" | b"mdat" | b"free" | b"skip" | b"pnot");
        let follows = || next().is_some_and(|k| matches!(k, b"mdat" | b"moov" | b"free" | b"wide" | b"ftyp"));
        let inside = || kind == b"moov" && head.span(12, 4) == Some(b"mvhd");
        return (first && (inside() || follows())).then_some(MOV);
    }
    Some(match head.span(8, 4)? {
        b"qt  " => MOV,
        b"M4A " | b"M4B " | b"M4P " => M4A,
        b"heic" | b"heix" | b"hevc" | b"heim" | b"heis" | b"mif1" | b"msf1" => HEIC,
        b"avif" | b"avis" => AVIF,
        [b'3', b'g', ..] => THREE_GP,
        brand if brand.iter().all(|b| (0x20..0x7f).contains(b)) => MP4,
        _ => return None,
    })
}

/// POSIX ustar and GNU bear a magic; older ones only their checksum (POSIX.1-1988, 10.1.1).
fn tar(head: &[u8]) -> Option<Identity> {
    let block = head.span(0, 512)?;
    let named = block.first().is_some_and(|b| *b != 0);
    let magic = block.span(257, 5) == Some(b"ustar");
    ((named || magic) && checksum(block)).then_some(TAR)
}

fn checksum(block: &[u8]) -> bool {
    let field = block.span(148, 8).unwrap_or_default();
    let digits = field.iter().skip_while(|b| **b == b' ').take_while(|b| (b'0'..=b'7').contains(b));
    let stored = digits.fold(0u32, |n, d| n.wrapping_mul(8).wrapping_add(u32::from(d.wrapping_sub(b'0'))));
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    let own: u32 = field.iter().map(|b| u32::from(*b)).sum();
    stored != 0 && sum.saturating_sub(own).saturating_add(8 * 0x20) == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_tar_is_known_by_its_checksum() {
        let mut block = vec![0u8; 512];
        block[..5].copy_from_slice(b"a.txt");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert_eq!(known(&block), Some(TAR));
        block[0] = b'b';
        assert_eq!(known(&block), None);
    }

    #[test]
    fn brands_are_told_apart() {
        assert_eq!(known(b"\0\0\0\x18ftypheic\0\0\0\0"), Some(HEIC));
        assert_eq!(known(b"\0\0\0\x18ftypisom\0\0\0\0"), Some(MP4));
        assert_eq!(known(b"\0\0\0\x08wide\0\0\0\x10mdat"), Some(MOV));
        assert_eq!(known(b"BM and so on, words only, no picture"), None);
    }
}
