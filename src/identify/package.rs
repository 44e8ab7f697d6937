//! What a ZIP or an OLE2 compound file holds: told by its first members' names.
//!
//! Sources: PKWARE APPNOTE 6.3.10 section 4.3.7 (local headers), ECMA-376 part 2 (OPC), ODF 1.3 part 2 section 3.3
//! (`mimetype` first and stored), EPUB 3.3 OCF section 4.3, [MS-CFB] 2.2 and 2.6.

use super::{Identity, id};
use crate::bytes::Fields;

const ZIP: Identity = id("application/zip", &["zip"]);
const DOCX: Identity =
    id("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx", "docm", "dotx", "dotm"]);
const XLSX: Identity = id(
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    &["xlsx", "xlsm", "xltx", "xltm", "xlam", "xlsb"],
);
const PPTX: Identity = id(
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    &["pptx", "pptm", "potx", "ppsx", "potm", "ppsm", "ppam"],
);
const JAR: Identity = id("application/java-archive", &["jar", "war", "ear"]);
const APK: Identity = id("application/vnd.android.package-archive", &["apk"]);
const XPS: Identity = id("application/vnd.ms-xpsdocument", &["xps", "oxps"]);

/// Packages whose first member is a stored `mimetype`.
static MIMETYPES: &[(&[u8], Identity)] = &[
    (b"application/epub+zip", id("application/epub+zip", &["epub"])),
    (b"application/vnd.oasis.opendocument.text", id("application/vnd.oasis.opendocument.text", &["odt", "ott", "odm"])),
    (
        b"application/vnd.oasis.opendocument.spreadsheet",
        id("application/vnd.oasis.opendocument.spreadsheet", &["ods", "ots"]),
    ),
    (
        b"application/vnd.oasis.opendocument.presentation",
        id("application/vnd.oasis.opendocument.presentation", &["odp", "otp"]),
    ),
    (
        b"application/vnd.oasis.opendocument.graphics",
        id("application/vnd.oasis.opendocument.graphics", &["odg", "otg"]),
    ),
    (b"application/vnd.oasis.opendocument.formula", id("application/vnd.oasis.opendocument.formula", &["odf"])),
    (b"application/vnd.sun.xml.writer", id("application/vnd.sun.xml.writer", &["sxw", "stw"])),
    (b"application/vnd.sun.xml.calc", id("application/vnd.sun.xml.calc", &["sxc", "stc"])),
    (b"application/vnd.sun.xml.impress", id("application/vnd.sun.xml.impress", &["sxi", "sti"])),
];

/// What kind of ZIP begins with `head`; `None` where it is none.
pub(super) fn zip(head: &[u8]) -> Option<Identity> {
    match head.span(0, 4)? {
        b"PK\x03\x04" => {}
        b"PK\x05\x06" => return (head.len() <= 22 + 65535 && head.le16(8) == Some(0)).then_some(ZIP),
        b"PK\x07\x08" if head.span(4, 4) == Some(b"PK\x03\x04") => return Some(ZIP),
        _ => return None,
    }
    Some(mimetype(head).or_else(|| by_members(head)).unwrap_or(ZIP))
}

/// The member `mimetype`, stored, at its fixed place. Where it is deflated the names decide.
fn mimetype(head: &[u8]) -> Option<Identity> {
    let name_len = usize::from(head.le16(26)?);
    let extra = usize::from(head.le16(28)?);
    if head.span(30, name_len)? != b"mimetype" {
        return None;
    }
    let data = head.get(30usize.checked_add(name_len)?.checked_add(extra)?..)?;
    // Longest first: `…opendocument.text` begins `…opendocument.text-master`, too.
    MIMETYPES.iter().find(|(mime, _)| data.starts_with(mime)).map(|(_, identity)| *identity)
}

/// Names in local headers, wherever in the head they stand; a few members say what the package is.
fn by_members(head: &[u8]) -> Option<Identity> {
    let mut office = false;
    let mut jar = false;
    for at in memchr::memmem::find_iter(head, b"PK\x03\x04") {
        let Some(name) = name_at(head, at) else { continue };
        match name {
            b"AndroidManifest.xml" | b"classes.dex" | b"resources.arsc" => return Some(APK),
            b"META-INF/MANIFEST.MF" => jar = true,
            b"[Content_Types].xml" => office = true,
            b"FixedDocSeq.fdseq" => return Some(XPS),
            name if name.starts_with(b"word/") => return Some(DOCX),
            name if name.starts_with(b"xl/") => return Some(XLSX),
            name if name.starts_with(b"ppt/") => return Some(PPTX),
            _ => {}
        }
    }
    match (office, jar) {
        (true, _) => by_directory(head),
        (_, true) => Some(JAR),
        _ => by_directory(head),
    }
}

/// The central directory, where the package is so small that the head holds it.
fn by_directory(head: &[u8]) -> Option<Identity> {
    let names = memchr::memmem::find_iter(head, b"PK\x01\x02").filter_map(|at| {
        let len = usize::from(head.le16(at.checked_add(28)?)?);
        head.span(at.checked_add(46)?, len)
    });
    let part = |name: &[u8]| match name {
        b"word/document.xml" => Some(DOCX),
        b"xl/workbook.xml" | b"xl/workbook.bin" => Some(XLSX),
        b"ppt/presentation.xml" => Some(PPTX),
        _ => None,
    };
    names.filter_map(part).next()
}

fn name_at(head: &[u8], at: usize) -> Option<&[u8]> {
    let len = usize::from(head.le16(at.checked_add(26)?)?);
    head.span(at.checked_add(30)?, len)
}

const OLE2: Identity = id(
    "application/x-ole-storage",
    &["doc", "xls", "ppt", "msg", "msi", "db", "mpp", "vsd", "pub", "dot", "xlt", "pps", "pot"],
);
const DOC: Identity = id("application/msword", &["doc", "dot", "wiz"]);
const XLS: Identity = id("application/vnd.ms-excel", &["xls", "xlt", "xla"]);
const PPT: Identity = id("application/vnd.ms-powerpoint", &["ppt", "pps", "pot"]);
const MSG: Identity = id("application/vnd.ms-outlook", &["msg", "oft"]);

/// Names of streams that only one program writes, as the directory stores them in UTF-16.
static STREAMS: &[(&str, Identity)] = &[
    ("WordDocument", DOC),
    ("Workbook", XLS),
    ("Book", XLS),
    ("PowerPoint Document", PPT),
    ("__properties_version1.0", MSG),
    ("__nameid_version1.0", MSG),
    ("VisioDocument", id("application/vnd.visio", &["vsd", "vst"])),
    ("Catalog", id("application/x-thumbs-db", &["db"])),
];

/// What kind of OLE2 compound file begins with `head`; the directory's first sectors decide where the head holds them.
pub(super) fn ole2(head: &[u8]) -> Option<Identity> {
    if !head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return None;
    }
    Some(directory(head).unwrap_or(OLE2))
}

/// [MS-CFB] 2.6.1: entries of 128 bytes in the chain that starts at the header's offset 48.
fn directory(head: &[u8]) -> Option<Identity> {
    let shift = u32::from(head.le16(30)?).min(16);
    let first = usize::try_from(head.le32(48)?).ok()?;
    let sector = 1usize.checked_shl(shift)?;
    let start = first.checked_add(1)?.checked_mul(sector)?;
    // The chain is mostly contiguous; entries are looked for a few sectors on, where they still look like entries.
    let entries = head.get(start..)?.chunks_exact(128).take(64);
    let mut found = None;
    for entry in entries {
        let len = usize::from(entry.le16(64)?).saturating_sub(2);
        let name = crate::bytes::utf16_le(entry.span(0, len.min(62))?);
        found = found.or_else(|| STREAMS.iter().find(|(stream, _)| *stream == name).map(|(_, identity)| *identity));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, data: &[u8]) -> Vec<u8> {
        let mut out = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(name.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn packages_are_told_by_their_members() {
        assert_eq!(zip(&member("a.txt", b"x")), Some(ZIP));
        let odt = member("mimetype", b"application/vnd.oasis.opendocument.text");
        assert_eq!(zip(&odt).map(|i| i.extensions.first().copied()), Some(Some("odt")));
        let docx = [member("[Content_Types].xml", b"x"), member("word/document.xml", b"y")].concat();
        assert_eq!(zip(&docx), Some(DOCX));
        let jar = [member("META-INF/MANIFEST.MF", b"x"), member("a.class", b"y")].concat();
        assert_eq!(zip(&jar), Some(JAR));
    }
}
