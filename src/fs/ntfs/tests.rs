//! Tests of the whole reader on volumes made by hand.

use super::*;
use crate::fs::{Entry, Origin, Recovered};
use proptest::prelude::*;

const RECORD: usize = 1024;
/// Where the table begins, and how many clusters of 512 bytes a volume has.
const TABLE: usize = 2048;
const CLUSTERS: usize = 256;
const ROOT: u64 = 5 | 5 << 48;
const TIME: u64 = 133_000_000_000_000_001;

/// A volume whose MFT holds `records`.
fn volume(records: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; CLUSTERS * 512];
    bytes[3..11].copy_from_slice(b"NTFS    ");
    bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
    bytes[13] = 1;
    bytes[40..48].copy_from_slice(&(CLUSTERS as u64 - 1).to_le_bytes());
    bytes[48..56].copy_from_slice(&4u64.to_le_bytes());
    bytes[56..64].copy_from_slice(&200u64.to_le_bytes());
    bytes[64] = 0xf6;
    bytes[68] = 0xf6;
    bytes[TABLE..TABLE + records.len()].copy_from_slice(records);
    bytes
}

/// Where [`sound`] keeps the copy of its boot sector, its mirror, and a cluster that is marked as bad.
pub(super) const BACKUP: usize = (CLUSTERS - 1) * 512;
pub(super) const MIRROR: usize = 200 * 512;
pub(super) const BAD: usize = 99 * 512;

/// A volume that does not contradict itself.
pub(super) fn sound() -> Vec<u8> {
    let mut records = table(&[]);
    for number in 1..4u8 {
        let at = RECORD * usize::from(number);
        let name = file_name(ROOT, ["$MFTMirr", "$LogFile", "$Volume"][usize::from(number) - 1]);
        records[at..at + RECORD].copy_from_slice(&record(number.into(), number.into(), 1, &[name]));
    }
    let bad = elsewhere(kind::DATA, "$Bad", 99, 1, 512);
    records[8 * RECORD..9 * RECORD].copy_from_slice(&record(8, 8, 1, &[file_name(ROOT, "$BadClus"), bad]));
    let mut bytes = volume(&records);
    bytes.copy_within(TABLE..TABLE + 4 * RECORD, MIRROR);
    bytes.copy_within(0..512, BACKUP);
    bytes
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A resident attribute.
fn resident(kind: u32, name: &str, value: &[u8]) -> Vec<u8> {
    let name_bytes = padded(utf16(name));
    let at = 24 + name_bytes.len();
    let mut bytes = vec![0u8; 24];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    (bytes[9], bytes[10]) = (name.len() as u8, 24);
    bytes[16..20].copy_from_slice(&(value.len() as u32).to_le_bytes());
    bytes[20..22].copy_from_slice(&(at as u16).to_le_bytes());
    let mut bytes = padded([bytes, name_bytes, value.to_vec()].concat());
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// A non-resident attribute in one piece.
fn elsewhere(kind: u32, name: &str, first: u8, clusters: u8, size: u64) -> Vec<u8> {
    let name_bytes = padded(utf16(name));
    let mut bytes = vec![0u8; 64];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    (bytes[8], bytes[9], bytes[10]) = (1, name.len() as u8, 64);
    bytes[32..34].copy_from_slice(&(64 + name_bytes.len() as u16).to_le_bytes());
    bytes[40..48].copy_from_slice(&(u64::from(clusters) * 512).to_le_bytes());
    bytes[48..56].copy_from_slice(&size.to_le_bytes());
    bytes[56..64].copy_from_slice(&size.to_le_bytes());
    let mut bytes = padded([bytes, name_bytes, vec![0x21, clusters, first, 0, 0]].concat());
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn file_name(parent: u64, name: &str) -> Vec<u8> {
    let mut value = vec![0u8; 66];
    value[..8].copy_from_slice(&parent.to_le_bytes());
    (0..4).for_each(|n| value[8 + 8 * n..16 + 8 * n].copy_from_slice(&TIME.to_le_bytes()));
    value[48..56].copy_from_slice(&9u64.to_le_bytes());
    (value[64], value[65]) = (name.len() as u8, 1);
    resident(kind::FILE_NAME, "", &[value, utf16(name)].concat())
}

/// A record in use (1) or a directory in use (3), with what stands behind its end.
fn record_with(number: u32, sequence: u16, flags: u8, attributes: &[Vec<u8>], behind: &[Vec<u8>]) -> Vec<u8> {
    let mut r = vec![0u8; 56];
    r[..4].copy_from_slice(b"FILE");
    (r[4], r[6], r[20], r[22]) = (48, 3, 56, flags);
    r[16..18].copy_from_slice(&sequence.to_le_bytes());
    r[44..48].copy_from_slice(&number.to_le_bytes());
    r.extend(attributes.concat());
    r.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let used = r.len() as u32;
    r[24..28].copy_from_slice(&used.to_le_bytes());
    r.extend(behind.concat());
    assert!(r.len() < 1022);
    r.resize(RECORD, 0);
    // What stands where the fix-ups go is kept in their array; the number there is zero, as the array's first.
    let moved = [r[510], r[511], r[1022], r[1023]];
    r[50..54].copy_from_slice(&moved);
    (r[510], r[511], r[1022], r[1023]) = (0, 0, 0, 0);
    r
}

fn record(number: u32, sequence: u16, flags: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    record_with(number, sequence, flags, attributes, &[])
}

/// The table with `more` from record 24 on: record 0, the bitmap (clusters from 100 on are free), and the root.
fn table(more: &[Vec<u8>]) -> Vec<u8> {
    let mut records = vec![vec![0u8; RECORD]; 24];
    let clusters = 2 * (24 + more.len()) as u8;
    records[0] = record(0, 1, 1, &[elsewhere(kind::DATA, "", 4, clusters, u64::from(clusters) * 512)]);
    let bits: Vec<u8> = (0..CLUSTERS / 8).map(|byte| if byte < 12 { 0xff } else { 0 }).collect();
    records[6] = record(6, 6, 1, &[file_name(ROOT, "$Bitmap"), resident(kind::DATA, "", &bits)]);
    records[5] = record(5, 5, 3, &[file_name(ROOT, ".")]);
    records.extend(more.iter().cloned());
    records.concat()
}

fn listed(volume: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let image = crate::image::raw::of_bytes(volume).expect("an image");
    let view = View::whole(image.as_ref());
    let opened = open(view).expect("it opens");
    let read = |entry: Entry| {
        let bytes = Content::new(view, &entry.stream).prefix(1 << 16).into_owned();
        (entry, bytes)
    };
    opened.entries().flatten().flatten().map(read).collect()
}

/// The entry with this path.
#[track_caller]
fn at<'e>(entries: &'e [(Entry, Vec<u8>)], path: &str) -> &'e (Entry, Vec<u8>) {
    let paths: Vec<&str> = entries.iter().map(|(entry, _)| entry.path.as_str()).collect();
    entries.iter().find(|(entry, _)| entry.path == path).unwrap_or_else(|| panic!("{path} is not in {paths:?}"))
}

#[test]
fn names_of_one_content_say_so() {
    let names = [file_name(ROOT, "a"), file_name(ROOT, "b"), resident(kind::DATA, "", b"same")];
    let entries = listed(&volume(&table(&[record(24, 1, 1, &names)])));
    assert!(at(&entries, "/a").0.linked && at(&entries, "/b").0.linked);
    assert_eq!(at(&entries, "/a").0.inode, at(&entries, "/b").0.inode);
    assert_eq!(at(&entries, "/b").1, b"same");
}

#[test]
fn an_overlaid_file_is_decoded() {
    // A chunk as long as its content is stored; the table of one chunk is empty.
    let reparse =
        [&0x8000_0017u32.to_le_bytes()[..], &[16, 0, 0, 0], &[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]];
    let hole = {
        let mut hole = elsewhere(kind::DATA, "", 0, 1, 11);
        hole[64..67].copy_from_slice(&[0x01, 1, 0]);
        hole
    };
    let attributes = [
        file_name(ROOT, "a"),
        hole,
        resident(kind::DATA, "WofCompressedData", b"hello world"),
        resident(kind::REPARSE_POINT, "", &reparse.concat()),
    ];
    let entries = listed(&volume(&table(&[record(24, 1, 1, &attributes)])));
    assert_eq!(at(&entries, "/a").1, b"hello world");
    assert!(at(&entries, "/a").0.faults.is_empty());
}

#[test]
fn what_stands_behind_a_record_is_its_former_owner() {
    let former = [file_name(ROOT, "former"), elsewhere(kind::DATA, "", 120, 1, 6)];
    let mut bytes =
        volume(&table(&[record_with(24, 2, 1, &[file_name(ROOT, "now"), resident(kind::DATA, "", b"x")], &former)]));
    bytes[120 * 512..120 * 512 + 6].copy_from_slice(b"secret");
    let entries = listed(&bytes);
    let (entry, content) = at(&entries, "/former");
    assert_eq!((content.as_slice(), entry.origin), (&b"secret"[..], Origin::Slack));
    assert_eq!(entry.recovered, Some(Recovered::Intact));
    assert!(!entry.allocated && at(&entries, "/now").0.allocated);
}

#[test]
fn two_deleted_files_in_one_cluster_are_not_both_intact() {
    let former = [file_name(ROOT, "former"), elsewhere(kind::DATA, "", 120, 1, 6)];
    let later = [file_name(ROOT, "later"), elsewhere(kind::DATA, "", 120, 1, 9)];
    let records = [
        record_with(24, 2, 1, &[file_name(ROOT, "now"), resident(kind::DATA, "", b"x")], &former),
        record(25, 2, 0, &later),
    ];
    let entries = listed(&volume(&table(&records)));
    assert_eq!(at(&entries, "/later").0.recovered, Some(Recovered::Intact));
    assert_eq!(at(&entries, "/former").0.recovered, Some(Recovered::Partial));
}

#[test]
fn records_and_indexes_in_free_clusters_are_found() {
    let mut bytes = volume(&table(&[record(24, 2, 1, &[file_name(ROOT, "now")])]));
    let lost = record(24, 1, 1, &[file_name(ROOT, "lost"), resident(kind::DATA, "", b"still here")]);
    bytes[130 * 512..130 * 512 + RECORD].copy_from_slice(&lost);
    let same = record(24, 2, 1, &[file_name(ROOT, "now")]);
    bytes[140 * 512..140 * 512 + RECORD].copy_from_slice(&same);
    let mut block = vec![0u8; 1024];
    block[..4].copy_from_slice(b"INDX");
    (block[4], block[6]) = (40, 3);
    let entry = names::tests::entry("gone.txt", 55);
    block[64..64 + entry.len()].copy_from_slice(&entry);
    // Record 40 is not in this small table.
    block[64..72].copy_from_slice(&(23u64 | 9 << 48).to_le_bytes());
    bytes[150 * 512..152 * 512].copy_from_slice(&block);
    let entries = listed(&bytes);
    let (entry, content) = at(&entries, "/lost");
    assert_eq!((content.as_slice(), entry.at, entry.origin), (&b"still here"[..], 130 * 512, Origin::Unallocated));
    assert!(entry.inode.starts_with("24-128-"));
    let gone = &at(&entries, "/gone.txt").0;
    assert_eq!((gone.recovered, gone.stream.size), (Some(Recovered::NameOnly), 55));
    assert_eq!(gone.inode, "23-48-0");
    assert_eq!(entries.iter().filter(|(entry, _)| entry.path == "/now").count(), 1);
}

#[test]
fn the_log_of_changes_names_what_is_gone() {
    let change = usn::tests::record("gone.txt", 0x200, 23 | 3 << 48);
    let journal = [file_name(11 | 11 << 48, "$UsnJrnl"), elsewhere(kind::DATA, "$J", 99, 1, 512)];
    let mut bytes = volume(&table(&[record(24, 1, 1, &journal)]));
    bytes[99 * 512..99 * 512 + change.len()].copy_from_slice(&change);
    let entries = listed(&bytes);
    let (gone, _) = at(&entries, "/gone.txt");
    assert_eq!((gone.origin, gone.at), (Origin::ChangeLog, 99 * 512));
    assert!(gone.times.dtime.is_some());
}

#[test]
fn the_mirror_helps_where_the_first_record_has_no_run_list() {
    let mut bytes = sound();
    // The attribute's type becomes another.
    bytes[TABLE + 56] = 0x70;
    let entries = listed(&bytes);
    assert!(at(&entries, "/$Volume").0.allocated);
}

#[test]
fn a_bad_record_is_read_with_a_fault() {
    let mut bad = record(24, 1, 1, &[file_name(ROOT, "a"), resident(kind::DATA, "", b"text")]);
    bad[..4].copy_from_slice(b"BAAD");
    let entries = listed(&volume(&table(&[bad])));
    let (entry, content) = at(&entries, "/a");
    assert_eq!((content.as_slice(), entry.faults.len()), (&b"text"[..], 1));
}

#[test]
fn a_boot_sector_that_tells_of_any_number_of_clusters_costs_nothing() {
    let gone = record(24, 2, 0, &[file_name(ROOT, "gone"), elsewhere(kind::DATA, "", 120, 1, 9)]);
    let mut bytes = volume(&table(&[gone]));
    bytes[40..48].copy_from_slice(&(1u64 << 50).to_le_bytes());
    let image = crate::image::raw::of_bytes(&bytes).expect("an image");
    let opened = open(View::whole(image.as_ref())).expect("it opens");
    assert_eq!(opened.unallocated().count(), 0);
    assert_eq!(at(&listed(&bytes), "/gone").0.recovered, Some(Recovered::Overwritten));
}

proptest! {
    #[test]
    fn any_table_is_survived(noise in prop::collection::vec(any::<u8>(), 8 * RECORD),
                             offsets in prop::collection::vec(40u16..1024, 8)) {
        let mut records = record(0, 1, 1, &[elsewhere(kind::DATA, "", 4, 18, 18 * 512)]);
        for (raw, attrs) in noise.chunks(RECORD).zip(offsets) {
            let mut raw = raw.to_vec();
            raw[..4].copy_from_slice(b"FILE");
            raw[20..22].copy_from_slice(&attrs.to_le_bytes());
            raw[32..40].fill(0);
            records.extend(raw);
        }
        let image = crate::image::raw::of_bytes(&volume(&records))?;
        let view = View::whole(image.as_ref());
        prop_assert!(probe(view).is_some());
        let opened = open(view).map_err(|f| TestCaseError::fail(f.to_string()))?;
        prop_assert!(opened.entries().flatten().count() < 10_000);
        let _ = opened.unallocated().count();
    }
}
