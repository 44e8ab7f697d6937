//! The volumes that the fuzz targets change (`tests/fuzz/seeds`): what the kernel wrote and deleted, and damage to it.

use super::*;
use crate::fs::{Entry, Recovered, entries};
use crate::image::raw::of_bytes;
use proptest::prelude::*;
use std::sync::OnceLock;

fn volume() -> &'static [u8] {
    static VOLUME: OnceLock<Vec<u8>> = OnceLock::new();
    VOLUME.get_or_init(|| {
        let packed = include_bytes!("../../../tests/fuzz/bases/xfs.zst");
        zstd::decode_all(&packed[..]).expect("it is unpacked")
    })
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
    let (entries, facts) = listed(volume());
    assert_eq!((facts.name.as_str(), facts.cluster, facts.faults, facts.anomalies), ("XFS", 4096, vec![], vec![]));
    assert_eq!(facts.id, "4d415241-0000-4000-8000-000000000004");
    let live: Vec<&Entry> = entries.iter().filter(|entry| entry.allocated).collect();
    assert!(live.iter().all(|entry| entry.faults.is_empty()));
    assert_eq!(by_path(&entries, "/late.txt").stream.size, 4);
    assert_eq!(by_path(&entries, "/short link").target.as_deref(), Some("a.txt"));
    assert!(by_path(&entries, "/folder/hard link").linked);
}

#[test]
fn a_freed_file_has_its_place_and_no_certain_size() {
    let (entries, _) = listed(volume());
    let gone = by_path(&entries, "/folder/many 004 of them");
    assert_eq!((gone.allocated, gone.recovered, gone.stream.size), (false, Some(Recovered::Partial), 160));
    assert!(gone.note.as_ref().is_some_and(|note| note.contains("its size is not")), "{:?}", gone.note);
    assert_eq!(gone.times.dtime, gone.times.ctime);
}

#[test]
fn what_does_not_fit_its_checksum_is_told() {
    let (sound, _) = listed(volume());
    let at = by_path(&sound, "/late.txt").at;
    let mut bytes = volume().to_vec();
    bytes[crate::bytes::index(at) + 12] ^= 1; // di_gid
    let (damaged, _) = listed(&bytes);
    let faults = &by_path(&damaged, "/late.txt").faults;
    assert!(faults.iter().any(|fault| fault.what.contains("checksum")), "{faults:?}");
}

#[test]
fn a_list_that_is_short_of_its_extents_gives_no_zeros_for_them() {
    let (sound, _) = listed(volume());
    let at = crate::bytes::index(by_path(&sound, "/sparse").at);
    let mut bytes = volume().to_vec();
    bytes[at + 79] -= 1; // di_nextents
    let (damaged, _) = listed(&bytes);
    let entry = by_path(&damaged, "/sparse");
    let runs = entry.stream.runs.iter().fold(0, |sum, run| sum + run.len());
    assert!(runs < entry.stream.size && !entry.faults.is_empty(), "{entry:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_damage_is_a_panic(places in prop::collection::vec((0usize..200_000, any::<u8>()), 1..40)) {
        let mut bytes = volume().to_vec();
        for (at, byte) in places {
            bytes[at] = byte;
        }
        let image = of_bytes(&bytes).expect("an image");
        if let Ok(fs) = open(View::whole(image.as_ref())) {
            let _ = entries(fs.as_ref());
        }
    }
}
