//! What is read of the containers that `fixtures/apfs/make.py` writes, whole and damaged.

use super::{open, probe};
use crate::content::Content;
use crate::fs::{Certainty, Entry, EntryKind, Facts, Origin, Recovered, entries};
use crate::image::View;
use proptest::prelude::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const BLOCK: usize = 4096;

fn fixture(name: &str) -> std::io::Result<Vec<u8>> {
    let path = format!("{}/fixtures/apfs/{name}.img.zst", env!("CARGO_MANIFEST_DIR"));
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

fn of<'a>(all: &'a [Read], path: &str, allocated: bool) -> Result<&'a Read, String> {
    let mut found = all.iter().filter(|(entry, _)| entry.path == path && entry.allocated == allocated);
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

/// Gives a changed block the checksum that fits.
fn seal(bytes: &mut [u8], block: usize) {
    let Some(block) = bytes.get_mut(block * BLOCK..(block + 1) * BLOCK) else { return };
    let modulus = 0xffff_ffffu64;
    let (mut first, mut second) = (0u64, 0u64);
    for word in block[8..].as_chunks::<4>().0 {
        first = (first + u64::from(u32::from_le_bytes(*word))) % modulus;
        second = (second + first) % modulus;
    }
    let low = modulus - (first + second) % modulus;
    let high = modulus - (first + low) % modulus;
    block[..8].copy_from_slice(&(high << 32 | low).to_le_bytes());
}

#[test]
fn files_links_clones_and_holes_are_read() -> Outcome {
    let (facts, all) = read(&fixture("one")?)?;
    assert_eq!((facts.name.as_str(), facts.label.as_str()), ("APFS", "First"));
    assert_eq!(facts.id, "00112233-4455-6677-8899-aabbccddeeff");
    assert!(facts.faults.is_empty(), "{facts:?}");
    let sparse = [vec![b'a'; BLOCK], vec![0; 2 * BLOCK], vec![b'z'; BLOCK - 100]].concat();
    let expected = [
        ("/dir/hello.txt", text("hello", 9)),
        ("/dir/clone.txt", text("hello", 9)),
        ("/dir/clone.txt:rsrc", text("resource", 3)),
        ("/two", text("two", 5)),
        ("/dir/second", text("two", 5)),
        ("/sparse", sparse),
        ("/changed.txt", text("today", 7)),
        ("/$OrphanFiles/nameless", Vec::new()),
    ];
    for (path, content) in expected {
        let (entry, bytes) = of(&all, path, true)?;
        assert!(bytes.as_ref() == Ok(&content), "{path}");
        assert!(entry.faults.is_empty(), "{entry:?}");
    }
    let (link, _) = of(&all, "/link", true)?;
    assert_eq!((link.kind, link.target.as_deref()), (EntryKind::Symlink, Some("dir/hello.txt")));
    let (one, other) = (of(&all, "/two", true)?, of(&all, "/dir/second", true)?);
    assert!(one.0.linked && one.0.inode == other.0.inode && one.0.stream == other.0.stream);
    let (hello, _) = of(&all, "/dir/hello.txt", true)?;
    assert!(hello.attributes.contains(&("user.note".to_owned(), "a note".to_owned())));
    let times = [hello.times.btime, hello.times.mtime, hello.times.ctime, hello.times.atime];
    assert_eq!(times.map(|time| time.map(|t| t.seconds)), [0, 1, 2, 3].map(|n| Some(1_700_000_000 + n)));
    Ok(())
}

#[test]
fn what_a_snapshot_keeps_is_told() -> Outcome {
    let (facts, all) = read(&fixture("one")?)?;
    assert!(facts.anomalies.iter().any(|a| a.sign.what.starts_with("volume First has snapshot before of 2023-11-14")));
    let (gone, bytes) = of(&all, "/gone.txt", false)?;
    assert_eq!((gone.recovered, bytes.as_ref()), (Some(Recovered::Intact), Ok(&text("gone", 6))));
    let (changed, bytes) = of(&all, "/changed.txt", false)?;
    assert_eq!(bytes.as_ref(), Ok(&text("then", 8)));
    assert!(changed.note.as_deref().is_some_and(|note| note.starts_with("an earlier state, as snapshot before of")));
    Ok(())
}

#[test]
fn an_old_node_in_a_free_block_tells_of_a_deleted_file() -> Outcome {
    let (_, all) = read(&fixture("one")?)?;
    let (lost, bytes) = of(&all, "/dir/lost.txt", false)?;
    assert_eq!((lost.recovered, lost.origin), (Some(Recovered::Partial), Origin::Unallocated));
    assert_eq!(lost.certainty, [(20, Certainty::Inferred)]);
    assert_eq!(bytes.as_ref(), Ok(&text("lost", 4)));
    Ok(())
}

#[test]
fn of_several_volumes_each_has_its_folder_and_an_encrypted_one_is_told() -> Outcome {
    let (_, one) = read(&fixture("one")?)?;
    let (facts, all) = read(&fixture("two")?)?;
    assert_eq!(facts.label, "First, Secret");
    let what: Vec<&str> = facts.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert_eq!(what, ["volume Secret is encrypted (FileVault): its files are not read"]);
    assert_eq!(paths(&all), paths(&one).iter().map(|path| format!("/First{path}")).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn damaged_superblocks_are_replaced_and_said() -> Outcome {
    let whole = fixture("one")?;
    let (_, expected) = read(&whole)?;
    // The first block; the latest in the ring: the first block still has the same.
    for block in [0, 4] {
        let mut bytes = whole.clone();
        bytes[block * BLOCK + 100] ^= 1;
        let (facts, all) = read(&bytes)?;
        assert!(facts.faults.iter().any(|fault| fault.what.starts_with("the superblock in")), "{facts:?}");
        assert_eq!(paths(&all), paths(&expected));
    }
    // Both: the older checkpoint is left, and what it has.
    let mut bytes = whole;
    bytes[100] ^= 1;
    bytes[4 * BLOCK + 100] ^= 1;
    let (facts, all) = read(&bytes)?;
    assert!(facts.faults.iter().any(|fault| fault.what.contains("an older state is shown")));
    assert_eq!(of(&all, "/changed.txt", true)?.1.as_ref(), Ok(&text("then", 8)));
    Ok(())
}

#[test]
fn a_damaged_tree_is_read_by_its_object_map() -> Outcome {
    let (_, whole) = read(&fixture("one")?)?;
    let mut bytes = fixture("one")?;
    bytes[33 * BLOCK + 200] ^= 1;
    let (facts, all) = read(&bytes)?;
    assert!(facts.faults.iter().any(|fault| fault.what.starts_with("the node in block 33 is damaged")));
    assert_eq!(paths(&all), paths(&whole));
    // A damaged leaf is said, and read as far as it goes.
    let mut bytes = fixture("one")?;
    bytes[35 * BLOCK + 3000] ^= 1;
    let (facts, _) = read(&bytes)?;
    assert!(facts.faults.iter().any(|fault| fault.what == "the leaf in block 35 is damaged"));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn changed_bytes_are_survived(changes in prop::collection::vec((0usize..52, 0usize..BLOCK, any::<u8>()), 1..40), cut in 0usize..300) {
        let mut bytes = fixture("two")?;
        for (block, within, byte) in changes {
            // Most of a block is empty: what is changed lies at its ends. Checksums fit, so that it is looked at.
            let within = if within.is_multiple_of(2) { 8 + within % 300 } else { BLOCK - 1 - within % 200 };
            bytes[block * BLOCK + within] = byte;
            if block != 18 {
                seal(&mut bytes, block);
            }
        }
        bytes.truncate(bytes.len() - if cut < 100 { cut * BLOCK } else { 0 });
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
