//! The list of files of logical evidence: the section `ltree` (libewf's "Expert Witness Compression Format", section 3.17).
//!
//! Text in UTF-16 without a mark: categories, each with a line of the names of its fields and then, for each entry, a line with
//! the number of entries below it and one with its values between tabs. Numbers are decimal, but for `be`, the place of the content.

use crate::bytes::{unhex, utf16_le};
use crate::image::about::{Algorithm, Stored};
use crate::time::Timestamp;

/// Entries that are kept.
const MOST: usize = 1 << 24;
/// Folders in folders.
const MAX_DEPTH: usize = 1024;
/// Bytes of a path.
const MAX_PATH: usize = 1 << 16;
/// Bytes of all paths for each byte of the list, which has more values of an entry than its name.
const PATHS: usize = 16;
/// Values of an entry: some thirty are known.
const MAX_FIELDS: usize = 256;

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Path, starting with `/`.
    pub(super) path: String,
    /// True for a folder.
    pub(super) is_folder: bool,
    /// Its identifier.
    pub(super) id: u64,
    /// Bytes that it has.
    pub(super) size: u64,
    /// Where its content stands, and how long it is there.
    pub(super) place: Option<(u64, u64)>,
    /// True where it was deleted.
    pub(super) deleted: bool,
    /// Modified, entry modified, created, accessed.
    pub(super) times: [Option<Timestamp>; 4],
    /// The hashes of its content.
    pub(super) hashes: Vec<Stored>,
}

/// The list.
#[derive(Default)]
pub(super) struct Tree {
    /// Bytes of all contents.
    pub(super) total: Option<u64>,
    /// In order.
    pub(super) leaves: Vec<Leaf>,
    /// What of it is damaged.
    pub(super) damaged: Option<String>,
}

/// Reads the list.
pub(super) fn read(data: &[u8]) -> Tree {
    let text = utf16_le(data);
    let mut tree = Tree { total: records(&text), ..Tree::default() };
    let mut lines =
        text.split('\n').map(|line| line.trim_end_matches('\r')).skip_while(|line| *line != "entry").skip(2);
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').take(MAX_FIELDS).collect();
    let mut room = data.len().saturating_mul(PATHS).saturating_add(MAX_PATH);
    // How many entries are still to come at each level, and the path that they are below.
    let mut open: Vec<(u64, String)> = vec![(1, String::new())];
    let mut is_root = true;
    while let Some((left, parent)) = open.last_mut() {
        let Some(next) = left.checked_sub(1) else {
            open.pop();
            continue;
        };
        *left = next;
        let (counts, values) = (lines.next().unwrap_or_default(), lines.next());
        let below = counts.split_whitespace().nth(1).and_then(|count| count.parse::<u64>().ok());
        let Some((below, values)) = below.zip(values).filter(|_| tree.leaves.len() < MOST) else {
            tree.damaged =
                Some(format!("the list of its files breaks off, or is damaged, behind {} entries", tree.leaves.len()));
            break;
        };
        let values: Vec<&str> = values.split('\t').take(MAX_FIELDS).collect();
        let value = |name: &str| {
            let column = names.iter().position(|known| *known == name)?;
            values.get(column).copied().filter(|value| !value.is_empty())
        };
        // The root has no name of its own.
        let path = if is_root { String::new() } else { format!("{parent}/{}", value("n").unwrap_or("NoName")) };
        let fits = path.len() <= MAX_PATH && open.len().saturating_sub(1) <= MAX_DEPTH;
        let Some(rest) = room.checked_sub(path.len()).filter(|_| fits) else {
            let read = tree.leaves.len();
            tree.damaged =
                Some(format!("the list of its files is not read behind {read} entries: its paths are too long"));
            break;
        };
        room = rest;
        if !is_root {
            tree.leaves.push(leaf(path.clone(), value));
        }
        is_root = false;
        open.push((below, path));
    }
    tree
}

/// The number of bytes that the category `rec` gives.
fn records(text: &str) -> Option<u64> {
    let mut lines = text.split('\n').skip_while(|line| line.trim_end() != "rec").skip(1);
    let column = lines.next()?.split('\t').position(|name| name.trim_end() == "tb")?;
    lines.next()?.split('\t').nth(column)?.trim().parse().ok()
}

fn leaf<'v>(path: String, value: impl Fn(&str) -> Option<&'v str>) -> Leaf {
    const DELETED: u64 = 0x80;
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let time =
        |name: &str| value(name).and_then(|text| text.parse::<i64>().ok()).filter(|s| *s > 0).map(Timestamp::unix);
    let hash = |name: &str, algorithm, len| {
        let bytes =
            value(name).and_then(unhex).filter(|bytes| bytes.len() == len && bytes.iter().any(|byte| *byte != 0))?;
        Some(Stored { algorithm, hex: crate::bytes::hex(&bytes) })
    };
    let place = value("be").and_then(|text| {
        let mut parts = text.split_whitespace().skip(1).map(|part| u64::from_str_radix(part, 16).ok());
        Some((parts.next()??, parts.next()??))
    });
    let size = number("ls").unwrap_or(0);
    // Content that another entry has, too.
    let place = number("du").map(|at| (at, size)).or(place);
    Leaf {
        path,
        is_folder: value("p") == Some("1"),
        id: number("id").unwrap_or(0),
        size,
        place,
        deleted: number("opr").is_some_and(|flags| flags & DELETED != 0),
        times: [time("wr"), time("mo"), time("cr"), time("ac")],
        hashes: [hash("ha", Algorithm::Md5, 16), hash("sha", Algorithm::Sha1, 20)].into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn entries_stand_below_those_that_count_them() {
        let text = "5\nrec\ntb\tcl\n900\t0\n\nentry\n4\t1\np\tn\tid\topr\twr\tha\tls\tdu\tbe\n26\t1\n1\tLogicalEntries\t0\n\
                    0\t2\n1\tC\t1\n0\t1\n1\tfolder\t2\n0\t0\n\ta.txt\t3\t128\t1142163845\t900150983cd24fb0d6963f7d28e17f72\t3\t\t1 1f 3\n\
                    0\t0\n\tb\t4\t\t\t00000000000000000000000000000000\t5\t7\t1 0 1\n\n";
        let tree = read(&utf16(text));
        let paths: Vec<&str> = tree.leaves.iter().map(|leaf| leaf.path.as_str()).collect();
        assert_eq!(paths, ["/C", "/C/folder", "/C/folder/a.txt", "/C/b"]);
        assert_eq!((tree.total, &tree.damaged), (Some(900), &None));
        let a = &tree.leaves[2];
        assert_eq!((a.size, a.place, a.deleted, a.is_folder), (3, Some((31, 3)), true, false));
        assert_eq!((a.hashes.len(), a.times[0]), (1, Some(Timestamp::unix(1_142_163_845))));
        assert_eq!((tree.leaves[3].place, tree.leaves[3].hashes.len()), (Some((7, 5)), 0));
        assert!(read(&utf16(&text[..text.len() - 60])).damaged.is_some());
    }

    #[test]
    fn paths_have_a_bound() {
        let list = |entries: &str| read(&utf16(&format!("entry\n1\t1\np\tn\n0\t1\n1\tX\n{entries}")));
        let deep = list(&"0\t1\n1\ta\n".repeat(50_000));
        assert_eq!(deep.leaves.len(), MAX_DEPTH);
        assert!(deep.damaged.unwrap().ends_with("its paths are too long"));
        // Many files below a folder of a long name.
        let wide = list(&format!("0\t60000\n1\t{}\n{}", "b".repeat(60_000), "0\t0\n\tc\n".repeat(60_000)));
        assert!((200..300).contains(&wide.leaves.len()) && wide.damaged.is_some(), "{}", wide.leaves.len());
    }

    proptest! {
        #[test]
        fn any_list_is_survived(text in "(entry|rec|[0-9\tpnbe\n]){0,80}") {
            let tree = read(&utf16(&format!("entry\n1\t1\np\tn\tbe\n{text}")));
            prop_assert!(tree.leaves.iter().all(|leaf| leaf.path.starts_with('/')));
        }
    }
}
