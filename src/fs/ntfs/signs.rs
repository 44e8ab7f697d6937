//! Where the volume contradicts itself: copies that differ, bytes in reserved fields, clusters that are called bad and
//! hold data.

use super::record::{Record, STRIDE};
use super::{Ntfs, entry};
use crate::bytes::all_zero;
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::Anomaly;

/// Records that the mirror keeps.
const MIRRORED: u64 = 4;
/// Fields of the boot sector that are zero on every volume: offset and length (NTFS documentation, `$Boot`).
const RESERVED: &[(u64, u64)] = &[(14, 7), (22, 2), (32, 4), (65, 3), (69, 3)];
/// So much of each bad stretch is looked at.
const LOOK: u64 = 1 << 24;

/// All signs.
pub(super) fn read(ntfs: &Ntfs<'_>) -> Vec<Anomaly> {
    let mut signs = Vec::new();
    if !ntfs.mft.boot.from_backup {
        signs.extend(reserved(ntfs));
        signs.extend(backup(ntfs));
    }
    signs.extend((0..MIRRORED).filter_map(|number| mirror(ntfs, number)));
    signs.extend(bad_clusters(ntfs));
    signs
}

fn sign(ntfs: &Ntfs<'_>, at: u64, what: String, extents: Vec<Extent>) -> Anomaly {
    Anomaly { sign: Fault::new(ntfs.mft.view.absolute(at), "ntfs", what), extents }
}

/// Bytes in reserved fields of the boot sector.
fn reserved(ntfs: &Ntfs<'_>) -> Option<Anomaly> {
    let held = |(at, len): &(u64, u64)| ntfs.mft.view.read(*at, *len).is_ok_and(|bytes| !all_zero(&bytes));
    let extents: Vec<Extent> = RESERVED.iter().filter(|f| held(f)).map(|(at, len)| Extent::new(*at, *len)).collect();
    let first = extents.first()?.start;
    Some(sign(ntfs, first, "reserved fields of the boot sector are not zero".to_owned(), extents))
}

/// The copy of the boot sector behind the last cluster.
fn backup(ntfs: &Ntfs<'_>) -> Option<Anomaly> {
    let (view, boot) = (ntfs.mft.view, ntfs.mft.boot);
    let at = boot.sectors.checked_mul(boot.sector)?;
    let (own, copy) = (view.read(0, boot.sector).ok()?, view.read(at, boot.sector).ok()?);
    let what = match () {
        () if own == copy => return None,
        () if all_zero(&copy) => "the copy of the boot sector is missing",
        () => "the copy of the boot sector differs from it",
    };
    let extents = if all_zero(&copy) { Vec::new() } else { vec![Extent::new(at, boot.sector)] };
    Some(sign(ntfs, at, what.to_owned(), extents))
}

/// A record of `$MFTMirr` that is not as that of `$MFT`.
fn mirror(ntfs: &Ntfs<'_>, number: u64) -> Option<Anomaly> {
    let boot = ntfs.mft.boot;
    let at = boot.mirror.checked_mul(boot.cluster)?.checked_add(number.checked_mul(boot.record)?)?;
    let raw = ntfs.mft.view.read(at, boot.record).ok()?;
    let own = ntfs.mft.record(number)?;
    let copy = Record::parse(number, &raw);
    let same = copy.is_some_and(|copy| written(&copy) == written(&own));
    (!same).then(|| sign(ntfs, at, format!("record {number} of $MFTMirr differs from that of $MFT"), Vec::new()))
}

/// What is written in a record, but for the numbers that each write counts up: its fix-ups.
fn written(record: &Record) -> Vec<u8> {
    let mut bytes = record.slack().0.to_vec();
    let length = (bytes.len() / STRIDE).saturating_add(1).saturating_mul(2);
    if let Some(array) = bytes.get_mut(record.usa_offset..record.usa_offset.saturating_add(length)) {
        array.fill(0);
    }
    bytes
}

/// Clusters that `$BadClus` takes out of use, and that hold data.
fn bad_clusters(ntfs: &Ntfs<'_>) -> Option<Anomaly> {
    let record = ntfs.mft.record(entry::BAD_CLUSTERS)?;
    let stream = entry::stream(ntfs, &record, "$Bad")?;
    let held = |extent: &Extent| {
        let runs = vec![crate::content::Run::Data(*extent)];
        let content = Content::of(ntfs.mft.view, Stream::plain(runs, extent.len.min(LOOK)));
        content.parts().flatten().any(|part| !all_zero(&part))
    };
    let extents: Vec<Extent> = entry::stored(&stream).filter(held).collect();
    let first = extents.first()?.start;
    Some(sign(ntfs, first, "clusters that are marked as bad hold data".to_owned(), extents))
}

#[cfg(test)]
mod tests {
    use super::super::{open, tests as made};
    use crate::image::View;

    fn signs(bytes: &[u8]) -> Vec<String> {
        let image = crate::image::raw::of_bytes(bytes).expect("an image");
        let opened = open(View::whole(image.as_ref())).expect("it opens");
        opened.facts().anomalies.iter().map(|anomaly| anomaly.sign.what.clone()).collect()
    }

    #[test]
    fn each_contradiction_is_told() {
        let sound = made::sound();
        assert_eq!(signs(&sound), Vec::<String>::new());
        let change = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            signs(&bytes)
        };
        assert_eq!(
            change(66, 1),
            ["reserved fields of the boot sector are not zero", "the copy of the boot sector differs from it"]
        );
        assert_eq!(change(made::BACKUP + 80, 1), ["the copy of the boot sector differs from it"]);
        assert_eq!(change(made::MIRROR + 1024 + 100, 1), ["record 1 of $MFTMirr differs from that of $MFT"]);
        assert_eq!(change(made::BAD, 1), ["clusters that are marked as bad hold data"]);
    }
}
