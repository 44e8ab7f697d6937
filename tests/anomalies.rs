//! Where the evidence contradicts itself, as the built binary tells it: by `info`, and as items that are searched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/fat.rs"]
mod fat;

use common::evidex;
use fat::{Allocator, FatVolume};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A reserved sector that no system uses, and a byte of the second table.
const HIDDEN_AT: u64 = 20 * 512;

#[test]
fn hidden_sectors_and_differing_tables_are_items() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let image = dir.path().join("stick.dd");
    let mut volume = FatVolume::new(160 << 20, 2048, true, Allocator::NextFree);
    volume.append("/plain.txt", b"nothing to see");
    volume.save(&image);
    let file = File::options().write(true).open(&image).expect("the image opens");
    file.write_all_at(b"the hidden zqledger of the harbour", HIDDEN_AT).expect("it is written");
    let table_len = (((160u64 << 20) / 2048 + 2) * 4).next_multiple_of(512);
    file.write_all_at(&[7], 32 * 512 + table_len + 4000).expect("it is written");
    // Month 13 of the file's date of creation, in the root's first short entry behind its long one.
    let root = 32 * 512 + 2 * table_len;
    file.write_all_at(&[0xa1, 0x59], root + 32 + 16).expect("it is written");
    drop(file);

    let told = evidex(&["info".as_ref(), image.as_os_str()]).expect(0).text();
    assert!(told.contains("contradiction: fat at byte 10240: 512 bytes of reserved sectors are not empty"), "{told}");
    assert!(told.contains("copy 1 of the table differs from copy 0"), "{told}");

    let case = dir.path().join("case");
    evidex(&["index".as_ref(), image.as_os_str(), "-c".as_ref(), case.as_ref()]).expect(0);
    let case = case.to_str().expect("a temporary path is UTF-8");
    let search = |query: &str| common::search(case, query);
    assert_eq!(search("kind:anomaly").len(), 3);
    let hits = search("zqledger");
    assert_eq!(hits[0]["hits"][0]["image_offset"], HIDDEN_AT + 11);
    let files = common::items(case);
    let sign = files.iter().find(|f| f["path"] == "/plain.txt:$ANOMALY").expect("a time that cannot be is an item");
    assert!(sign["note"].as_str().unwrap().contains("the time of creation"), "{sign}");
    let plain = files.iter().find(|f| f["path"] == "/plain.txt").expect("the file is listed");
    assert!(plain["contradictions"][0].as_str().unwrap().contains("the time of creation"), "{plain}");
}
