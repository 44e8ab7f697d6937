//! What is read of the volumes that `fixtures/hfsplus/make.py` writes, whole and damaged.

use super::{open, probe};
use crate::content::Content;
use crate::fs::{Certainty, Entry, EntryKind, Facts, Origin, Recovered, entries};
use crate::image::View;
use proptest::prelude::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const BLOCK: usize = 4096;
/// Where the catalog begins.
const CATALOG: usize = 4 * BLOCK;

fn fixture(name: &str) -> std::io::Result<Vec<u8>> {
    let path = format!("{}/fixtures/hfsplus/{name}.img.zst", env!("CARGO_MANIFEST_DIR"));
    zstd::decode_all(std::fs::File::open(path)?)
}

/// An entry with its content, or what keeps it from being read.
type Read = (Entry, Result<Vec<u8>, String>);

fn read(bytes: &[u8]) -> Result<(Facts, Vec<Read>), Box<dyn std::error::Error>> {
    let image = crate::image::raw::of_bytes(bytes)?;
    let view = View::whole(image.as_ref());
    let fs = open(view).map_err(|fault| fault.to_string())?;
    let read = |entry: Entry| {
        let content = Content::new(view, &entry.stream);
        let parts: Result<Vec<_>, _> = content.parts().collect();
        let bytes = parts.map(|parts| parts.concat()).map_err(|fault| fault.to_string());
        (entry, bytes)
    };
    let (all, faults) = entries(fs.as_ref());
    assert!(faults.is_empty(), "{faults:?}");
    Ok((fs.facts().clone(), all.into_iter().map(read).collect()))
}

fn of<'a>(all: &'a [Read], path: &str) -> Result<&'a Read, String> {
    let mut found = all.iter().filter(|(entry, _)| entry.path == path);
    let one = found.next().ok_or_else(|| format!("no {path}"))?;
    assert!(found.next().is_none(), "{path} is there twice");
    Ok(one)
}

fn paths(all: &[Read]) -> Vec<String> {
    let mut paths: Vec<String> = all.iter().filter(|(e, _)| e.allocated).map(|(e, _)| e.path.clone()).collect();
    paths.sort_unstable();
    paths
}

/// A text that the recipe repeats.
fn text(name: &str, times: usize) -> Vec<u8> {
    format!("{name}\n").repeat(times).into_bytes()
}

#[test]
fn files_links_forks_and_compressed_content_are_read() -> Outcome {
    let (facts, all) = read(&fixture("clean")?)?;
    assert_eq!((facts.name.as_str(), facts.label.as_str(), facts.id.as_str()), ("HFS+", "Sample", "0123456789abcdef"));
    assert!(facts.faults.is_empty() && facts.anomalies.is_empty(), "{facts:?}");
    let mut fragmented: Vec<u8> = (b'A'..=b'L').flat_map(|letter| vec![letter; BLOCK]).collect();
    fragmented.truncate(12 * BLOCK - 5);
    let wide: String = (0..4000).map(|i| format!("line {i:06} of a file that is compressed\n")).collect();
    let expected = [
        ("/sub/plain.txt", text("plain", 3)),
        ("/frag.bin", fragmented),
        ("/one name", text("shared", 7)),
        ("/sub/another name", text("shared", 7)),
        ("/alias a/inside.txt", text("inside", 2)),
        ("/with resource:rsrc", text("resource", 4)),
        ("/packed inline", b"text that is compressed, and short; ".repeat(5)),
        ("/packed blocks", wide.into_bytes()),
        ("/attributed:big", (0..=255).cycle().take(5120).collect()),
        ("/a:b", text("colon", 1)),
    ];
    for (path, content) in expected {
        let (entry, bytes) = of(&all, path)?;
        assert!(bytes.as_ref() == Ok(&content), "{path}");
        assert!(entry.faults.is_empty() && entry.allocated, "{entry:?}");
    }
    let (link, _) = of(&all, "/link")?;
    assert_eq!((link.kind, link.target.as_deref()), (EntryKind::Symlink, Some("sub/plain.txt")));
    let (one, other) = (of(&all, "/one name")?, of(&all, "/sub/another name")?);
    assert!(one.0.linked && other.0.linked && one.0.inode == other.0.inode && one.0.stream == other.0.stream);
    let (attributed, _) = of(&all, "/attributed")?;
    assert!(attributed.attributes.contains(&("user.note".to_owned(), "a note".to_owned())));
    let times = &of(&all, "/sub/plain.txt")?.0.times;
    let times = [times.btime, times.mtime, times.ctime, times.atime].map(|time| time.map(|t| t.seconds));
    let first = 3_700_000_000i64 - 2_082_844_800;
    assert_eq!(times, [0, 1, 2, 3].map(|n| Some(first + n)));
    let (alias, _) = of(&all, "/sub/alias b")?;
    assert!(alias.kind == EntryKind::Directory && alias.note.as_deref().is_some_and(|n| n.ends_with("below /alias a")));
    assert!(!all.iter().any(|(entry, _)| entry.path == "/packed blocks:rsrc"), "it is the content");
    Ok(())
}

#[test]
fn deleted_records_are_found_and_judged() -> Outcome {
    let (_, all) = read(&fixture("clean")?)?;
    let (gone, bytes) = of(&all, "/gone.txt")?;
    let inferred = |size| (Some(Recovered::Partial), vec![(size, Certainty::Inferred)]);
    assert_eq!((gone.recovered, gone.certainty.clone()), inferred(45));
    assert_eq!(gone.origin, Origin::Slack);
    assert_eq!(bytes.as_ref(), Ok(&text("gone", 9)));
    let (over, _) = of(&all, "/sub/over.txt")?;
    assert_eq!((over.recovered, over.certainty.len()), (Some(Recovered::Partial), 0));
    assert_eq!(over.note.as_deref(), Some("clusters of it belong to /sub/plain.txt now"));
    let (older, bytes) = of(&all, "/sub/older.txt")?;
    assert_eq!((older.recovered, older.certainty.clone()), inferred(66));
    assert_eq!(older.origin, Origin::Journal);
    assert_eq!(bytes.as_ref(), Ok(&text("older", 11)));
    Ok(())
}

#[test]
fn a_journal_that_was_not_written_back_is_taken_into_account() -> Outcome {
    let (facts, all) = read(&fixture("dirty")?)?;
    assert!(facts.anomalies.iter().any(|a| a.sign.what.starts_with("the journal was not written back: 56 sectors")));
    let (late, bytes) = of(&all, "/late.txt")?;
    assert!(late.allocated && bytes.as_ref() == Ok(&text("late", 5)));
    // On the clean volume it is what the journal alone still tells of.
    let (_, all) = read(&fixture("clean")?)?;
    assert_eq!(of(&all, "/late.txt")?.0.recovered, Some(Recovered::Overwritten), "its block is in use");
    Ok(())
}

#[test]
fn a_destroyed_volume_header_is_replaced_by_its_alternate() -> Outcome {
    let mut bytes = fixture("clean")?;
    let (_, whole) = read(&bytes)?;
    bytes[1024..1536].fill(0);
    let (facts, all) = read(&bytes)?;
    assert!(facts.faults.iter().any(|fault| fault.what.contains("its alternate is used")));
    assert_eq!(paths(&all), paths(&whole));
    let mut bytes = fixture("clean")?;
    let end = bytes.len();
    bytes[end - 1024 + 47] ^= 1;
    assert!(read(&bytes)?.0.anomalies.iter().any(|a| a.sign.what.ends_with("differs in the number of blocks")));
    Ok(())
}

#[test]
fn a_broken_tree_is_read_leaf_by_leaf() -> Outcome {
    let (_, whole) = read(&fixture("clean")?)?;
    // The chain leads from the first leaf to the index; and the header node is gone.
    for (at, what) in [(CATALOG + BLOCK + 3, "is no leaf node"), (CATALOG + 8, "header node is destroyed")] {
        let mut bytes = fixture("clean")?;
        bytes[at] = 8;
        let (facts, all) = read(&bytes)?;
        assert!(facts.faults.iter().any(|fault| fault.what.contains(what)), "{:?}", facts.faults);
        assert_eq!(paths(&all), paths(&whole));
    }
    Ok(())
}

#[test]
fn a_volume_in_a_wrapper_is_found() -> Outcome {
    let inner = fixture("clean")?;
    let (_, whole) = read(&inner)?;
    let mut bytes = vec![0; 16 * 512];
    let blocks = u16::try_from(inner.len() / BLOCK)?;
    bytes.extend_from_slice(&inner);
    bytes.extend_from_slice(&[0; BLOCK]);
    let mut put = |at: usize, field: &[u8]| bytes[1024 + at..1024 + at + field.len()].copy_from_slice(field);
    put(0, b"BD");
    put(0x14, &4096u32.to_be_bytes());
    put(0x1c, &8u16.to_be_bytes());
    put(0x7c, b"H+\0\x01");
    put(0x80, &blocks.to_be_bytes());
    let (_, all) = read(&bytes)?;
    assert_eq!(paths(&all), paths(&whole));
    for (path, content) in [("/one name", text("shared", 7)), ("/sub/older.txt", text("older", 11))] {
        assert!(of(&all, path)?.1.as_ref() == Ok(&content), "{path}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn changed_bytes_are_survived(changes in prop::collection::vec((0usize..40 * BLOCK, any::<u8>()), 1..40), cut in 0usize..160) {
        let mut bytes = fixture("dirty")?;
        for (at, byte) in changes {
            // Most of a node is empty: what is changed lies at its ends.
            let within = at % BLOCK;
            let at = if within.is_multiple_of(2) { at - within + within % 256 } else { at - within + BLOCK - 1 - within % 64 };
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - if cut < 40 { cut * BLOCK } else { 0 });
        let image = crate::image::raw::of_bytes(&bytes)?;
        let view = View::whole(image.as_ref());
        if probe(view).is_some() && let Ok(fs) = open(view) {
            for entry in entries(fs.as_ref()).0 {
                let _ = Content::new(view, &entry.stream).slice(0, 1 << 16).parts().count();
            }
            prop_assert!(fs.unallocated().flatten().all(|extent| extent.end() <= view.size()));
        }
    }
}
