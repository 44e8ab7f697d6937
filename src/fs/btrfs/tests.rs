//! The volumes that the fuzz targets change (`tests/fuzz/seeds`): what the kernel wrote and deleted, and damage to it.

use super::*;
use crate::bytes::Fields;
use crate::content::Content;
use crate::fs::{Entry, Recovered, entries};
use crate::image::raw::of_bytes;
use proptest::prelude::*;
use std::sync::OnceLock;

fn volume() -> &'static [u8] {
    static VOLUME: OnceLock<Vec<u8>> = OnceLock::new();
    VOLUME.get_or_init(|| {
        let packed = include_bytes!("../../../tests/fuzz/bases/btrfs.zst");
        zstd::decode_all(&packed[..]).expect("it is unpacked")
    })
}

fn packed() -> Vec<u8> {
    let packed = include_bytes!("../../../tests/fuzz/bases/btrfs_packed.zst");
    zstd::decode_all(&packed[..]).expect("it is unpacked")
}

fn listed(bytes: &[u8]) -> (Vec<Entry>, Facts) {
    let image = of_bytes(bytes).expect("an image");
    let fs = open(View::whole(image.as_ref())).expect("it opens");
    (entries(fs.as_ref()).0, fs.facts().clone())
}

fn by_path<'e>(entries: &'e [Entry], path: &str) -> &'e Entry {
    entries.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("{path} is not listed"))
}

#[test]
fn a_sound_volume_has_no_fault() {
    for bytes in [volume(), &packed()] {
        let (entries, facts) = listed(bytes);
        assert_eq!(
            (facts.name.as_str(), facts.cluster, facts.faults, facts.anomalies),
            ("btrfs", 4096, vec![], vec![])
        );
        assert_eq!(facts.id, "4d415241-0000-4000-8000-000000000005");
        assert!(entries.iter().filter(|entry| entry.allocated).all(|entry| entry.faults.is_empty()));
        assert_eq!(by_path(&entries, "/late.txt").stream.size, 4);
        assert_eq!(by_path(&entries, "/short link").target.as_deref(), Some("a.txt"));
    }
}

#[test]
fn a_snapshot_shares_what_did_not_change() {
    let (entries, _) = listed(volume());
    let (now, then) = (by_path(&entries, "/sparse"), by_path(&entries, "/inner/snapshot/sparse"));
    assert_eq!((&now.inode, &now.stream, now.linked), (&then.inode, &then.stream, then.linked));
    assert!(now.linked);
    assert_eq!(by_path(&entries, "/inner/snapshot").note.as_deref(), Some("subvolume 257, a snapshot of 5"));
    let place = by_path(&entries, "/inner/snapshot/inner");
    assert!(place.note.as_ref().is_some_and(|note| note.contains("hangs here in what this is a snapshot of")));
    assert!(!entries.iter().any(|entry| entry.path.starts_with("/inner/snapshot/inner/")));
}

#[test]
fn what_was_deleted_is_read_out_of_free_leaves() {
    let (entries, _) = listed(volume());
    let gone = by_path(&entries, "/folder/many 005 of them");
    assert_eq!((gone.allocated, gone.recovered, gone.stream.size), (false, Some(Recovered::Intact), 200));
    let image = of_bytes(volume()).expect("an image");
    let content = Content::new(View::whole(image.as_ref()), &gone.stream);
    assert_eq!(content.prefix(999).as_ref(), [b'e'; 200]);
}

#[test]
fn packed_content_is_unpacked() {
    let bytes = packed();
    let (entries, _) = listed(&bytes);
    let image = of_bytes(&bytes).expect("an image");
    let file = by_path(&entries, "/inner/folder/inner folder/deep/x");
    assert!(matches!(file.stream.codec, crate::content::Codec::Packed { .. }));
    assert_eq!(Content::new(View::whole(image.as_ref()), &file.stream).prefix(9999).as_ref(), [b'e'; 9000]);
}

#[test]
fn a_block_that_does_not_fit_its_checksum_is_told() {
    let mut bytes = volume().to_vec();
    let roots = bytes.le64((1 << 16) + 80).expect("an address");
    let at = (0..bytes.len()).step_by(4096).rfind(|at| bytes.le64(at + 48) == Some(roots)).expect("a block");
    bytes[at + 4000] ^= 1;
    let (entries, facts) = listed(&bytes);
    assert!(facts.faults.iter().any(|fault| fault.what.contains("checksum")), "{:?}", facts.faults);
    assert!(!entries.is_empty());
    bytes[at + 48] ^= 1;
    let (_, facts) = listed(&bytes);
    assert!(facts.faults.iter().any(|fault| fault.what.contains("is damaged")), "{:?}", facts.faults);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_damage_is_a_panic(places in prop::collection::vec((0usize..2_000_000, any::<u8>()), 1..40)) {
        let mut bytes = volume().to_vec();
        for (at, byte) in places {
            // Where the blocks of trees stand.
            bytes[(5 << 20) + at] = byte;
        }
        let image = of_bytes(&bytes).expect("an image");
        if let Ok(fs) = open(View::whole(image.as_ref())) {
            let _ = entries(fs.as_ref());
        }
    }
}
