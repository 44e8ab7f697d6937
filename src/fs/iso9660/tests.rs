//! A disc made here, with what no formatter writes: hidden directories, copies that differ, files in several extents.

use super::*;
use crate::content::Content;
use crate::fs::EntryKind;
use crate::image::raw::of_bytes;
use proptest::prelude::*;

const SECTORS: usize = 40;
const ROOT: u32 = 20;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn both(n: u32) -> Vec<u8> {
    [n.to_le_bytes(), n.to_be_bytes()].concat()
}

fn record(block: u32, len: u32, flags: u8, name: &[u8], system: &[u8]) -> Vec<u8> {
    let mut raw = [vec![0, 0], both(block), both(len), vec![124, 3, 1, 12, 0, 0, 4, flags, 0, 0]].concat();
    raw.extend([1, 0, 0, 1, name.len() as u8]);
    raw.extend(name);
    raw.resize(raw.len().next_multiple_of(2), 0);
    raw.extend(system);
    raw[0] = raw.len() as u8;
    raw
}

fn directory(image: &mut [u8], block: u32, records: &[Vec<u8>]) {
    let own = [record(block, 2048, 2, &[0], &[]), record(ROOT, 2048, 2, &[1], &[])].concat();
    put(image, block as usize * 2048, &[own, records.concat()].concat());
}

fn disc() -> Vec<u8> {
    let mut image = vec![0u8; SECTORS * 2048];
    let primary = 16 * 2048;
    put(&mut image, primary, b"\x01CD001\x01");
    put(&mut image, primary + 40, b"LABEL                           ");
    put(&mut image, primary + 80, &both(SECTORS as u32));
    put(&mut image, primary + 128, &[0, 8, 8, 0]);
    put(&mut image, primary + 132, &both(36));
    put(&mut image, primary + 140, &[19, 0, 0, 0]);
    put(&mut image, primary + 156, &record(ROOT, 2048, 2, &[0], &[]));
    put(&mut image, primary + 813, b"2024030112000000");
    put(&mut image, primary + 2048, b"\xffCD001\x01");
    // The path table: the root, D, and a directory that no record names.
    put(&mut image, 19 * 2048, &[1, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1, 0, 21, 0, 0, 0, 1, 0, b'D', 0]);
    put(&mut image, 19 * 2048 + 20, &[6, 0, 22, 0, 0, 0, 1, 0, b'H', b'I', b'D', b'D', b'E', b'N']);
    let mut differs = record(24, 5, 0, b"DIFFERS.;1", &[]);
    differs[14..18].copy_from_slice(&[0, 0, 9, 9]);
    let mut interleaved = record(25, 5, 0, b"GAPS.BIN;1", &[]);
    interleaved[26..28].copy_from_slice(&[1, 1]);
    let records = [
        record(21, 2048, 2, b"D", &[]),
        differs,
        interleaved,
        record(26, 2048, 0x80, b"MANY.BIN;1", &[]),
        record(28, 10, 0, b"MANY.BIN;1", &[]),
    ];
    directory(&mut image, ROOT, &records);
    directory(&mut image, 21, &[record(29, 7, 1, b"IN.TXT;1", &[])]);
    directory(&mut image, 22, &[record(30, 8, 0, b"SECRET.TXT;1", &[])]);
    put(&mut image, ROOT as usize * 2048 + 2000, b"hidden");
    for block in 24..32 {
        put(&mut image, block * 2048, &[block as u8; 2048]);
    }
    image
}

/// Entries with their content, anomalies, and free space.
type Listed = (Vec<(Entry, Vec<u8>)>, Vec<String>, Vec<Extent>);

fn list(image: &[u8]) -> Option<Listed> {
    let image = of_bytes(image).unwrap();
    let view = View::whole(image.as_ref());
    let disc = open(view).ok()?;
    let (entries, _) = crate::fs::entries(disc.as_ref());
    let read = |entry: Entry| {
        let content = Content::new(view, &entry.stream).slice(0, 1 << 16).prefix(1 << 16).into_owned();
        (entry, content)
    };
    let signs = disc.facts().anomalies.iter().map(|anomaly| anomaly.sign.what.clone()).collect();
    Some((entries.into_iter().map(read).collect(), signs, disc.unallocated().flatten().collect()))
}

#[test]
fn what_is_hidden_or_differs_is_told() {
    let (all, signs, free) = list(&disc()).expect("it opens");
    let content = |path: &str| {
        let (entry, bytes) = all.iter().find(|(entry, _)| entry.path == path).expect("it is listed");
        (entry, bytes.clone())
    };
    assert_eq!(content("/D/IN.TXT").1, [29; 7]);
    assert_eq!(content("/D/IN.TXT").0.attributes, [("hidden".to_owned(), "yes".to_owned())]);
    assert_eq!(content("/MANY.BIN").1, [vec![26; 2048], vec![28; 10]].concat());
    assert_eq!(content("/DIFFERS").1, [24; 5]);
    assert_eq!(content("/$OrphanFiles/HIDDEN/SECRET.TXT").1, [30; 8]);
    let (gaps, bytes) = content("/GAPS.BIN");
    assert!(bytes.is_empty() && !gaps.faults.is_empty());
    assert_eq!(content("/D").0.kind, EntryKind::Directory);
    let expected = [
        "/DIFFERS: the size differs between its little-endian and its big-endian copy",
        "/: bytes behind the last record of a sector, where zeros belong",
        "the path table names a directory HIDDEN that no directory of the tree names",
    ];
    assert_eq!(signs, expected);
    // The system area, what no extent names, and the second half of the interleaved file's place.
    let sectors: Vec<(u64, u64)> = free.iter().map(|e| (e.start / 2048, e.len / 2048)).collect();
    assert_eq!(sectors, [(0, 16), (18, 1), (23, 1), (25, 1), (27, 1), (31, 9)]);
}

#[test]
fn a_directory_in_itself_ends() {
    let mut image = disc();
    directory(&mut image, 21, &[record(ROOT, 2048, 2, b"LOOP", &[])]);
    assert!(list(&image).is_some_and(|(all, ..)| all.iter().any(|(entry, _)| entry.path == "/D/LOOP")));
}

#[test]
fn fields_that_continue_in_themselves_end() {
    let mut image = disc();
    let ce = |block: u32| [b"CE\x1c\x01".to_vec(), both(block), both(0), both(28)].concat();
    put(&mut image, 31 * 2048, &ce(31));
    let sp = b"SP\x07\x01\xbe\xef\x00".to_vec();
    let own = record(ROOT, 2048, 2, &[0], &sp);
    let names = record(29, 7, 0, b"A.;1", &[b"NM\x09\x01\x00name".to_vec(), ce(31)].concat());
    put(&mut image, ROOT as usize * 2048, &[own, record(ROOT, 2048, 2, &[1], &[]), names].concat());
    let (all, ..) = list(&image).expect("it opens");
    let (entry, _) = all.iter().find(|(entry, _)| entry.path == "/name").expect("it is listed");
    assert!(entry.faults.iter().any(|fault| fault.what.contains("without an end")), "{:?}", entry.faults);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn damage_is_survived(
        changes in prop::collection::vec((16 * 2048..24 * 2048usize, any::<u8>()), 1..40),
        cut in prop::option::of(0..SECTORS * 2048),
    ) {
        let mut image = disc();
        changes.iter().for_each(|(at, byte)| image[*at] = *byte);
        image.truncate(cut.unwrap_or(image.len()).max(1));
        let size = image.len() as u64;
        if let Some((_, _, free)) = list(&image) {
            prop_assert!(free.iter().all(|extent| extent.end() <= size));
        }
    }
}
