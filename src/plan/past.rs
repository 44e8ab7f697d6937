//! A volume's earlier times as volumes of their own, of which only what differs from today is listed.
//!
//! The file system of that time is read through the mapping that its keeper gives; its entries are then told in bytes of
//! the volume of today, where content stands that is hashed, read and found like any other. What was deleted then is not
//! listed: keepers do not keep free space, so its bytes may be of a later time.

use super::look::look;
use super::told::Teller;
use crate::content::{Content, Stream};
use crate::fault::Fault;
use crate::fs::{Batch, Entry, EntryKind, Facts, Origin};
use crate::image::View;
use crate::image::mapped::Mapping;
use crate::time::Timestamp;
use crate::volume::{self, Layout, Parts, Snapshot, Volume, VolumeKind};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What of earlier times is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Each version of a file once: what is not as it is today, nor as at a later one of these times.
    #[default]
    Changed,
    /// Every file of every time.
    All,
    /// Nothing.
    None,
}

/// A volume at an earlier time.
pub struct Past {
    /// It, with a number of its own; its places are counted from where those of the volume are.
    pub volume: Volume,
    /// Row of the volume in [`Layout::volumes`].
    pub row: usize,
    /// What is damaged of what was kept.
    pub faults: Vec<Fault>,
}

/// All earlier times of all volumes: those that a volume manager keeps, then those that are kept inside the volumes,
/// numbered behind all others; the newest of each first.
pub fn find(disk: View<'_>, layout: &Layout) -> Vec<Past> {
    let mut found: Vec<Past> = Vec::new();
    for volume in layout.volumes.iter().filter(|volume| volume.kind == VolumeKind::Snapshot) {
        let of = volume.past.map(|(of, _)| of);
        if let Some(row) = layout.volumes.iter().position(|volume| Some(volume.number) == of) {
            found.push(Past { volume: volume.clone(), row, faults: Vec::new() });
        }
    }
    let is_today = |volume: &Volume| !matches!(volume.kind, VolumeKind::Gap | VolumeKind::Snapshot);
    let kept = found.len();
    for (row, volume) in layout.volumes.iter().enumerate().filter(|(_, volume)| is_today(volume)) {
        for (keeper, snapshot) in volume.with(disk, volume::snapshots) {
            let number = layout.volumes.len().saturating_add(found.len()).saturating_sub(kept).saturating_add(1);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            found.push(Past { volume: at_that_time(volume, number, keeper, &snapshot), row, faults: snapshot.faults });
        }
    }
    found
}

/// The volume of an earlier time, as a volume.
fn at_that_time(today: &Volume, number: u32, keeper: &str, snapshot: &Snapshot) -> Volume {
    let size = today.size();
    let onto = |mapping: &Mapping| match &today.parts {
        Some(parts) => mapping.onto(&parts.mapping, size),
        None => mapping.clone(),
    };
    let parts = |mapping| Arc::new(Parts { mapping: onto(mapping), size, of: Vec::new() });
    Volume {
        number,
        kind: VolumeKind::Snapshot,
        extent: today.extent,
        type_name: keeper.to_owned(),
        name: snapshot.name.clone(),
        past: Some((today.number, snapshot.made)),
        parts: snapshot.mapping.as_ref().map(parts),
    }
}

type Listed = Result<Entry, Fault>;

/// A file system of an earlier time.
pub type Was = (&'static str, Facts);

impl Past {
    /// Gives what the file system held then to `each`; `seen` is what is listed of later times. `None` where no file
    /// system can be read.
    pub fn list(&self, disk: View<'_>, which: Which, seen: &mut Seen, each: &mut dyn FnMut(Batch)) -> Option<Was> {
        self.volume.parts.as_ref()?;
        let teller = Teller::new(disk, &self.volume);
        self.volume.with(disk, |then| {
            let (name, opened) = look(then).opened?;
            for batch in opened.entries() {
                let table = batch.iter().flatten().all(|entry| entry.origin == Origin::Table);
                let live = |entry: &Listed| entry.as_ref().map_or(true, |entry| entry.allocated);
                let mut differs = |entry: Listed| match entry.map(|entry| teller.entry(entry)) {
                    Ok(entry) if which != Which::All && seen.holds(teller.base(), &entry) => None,
                    Ok(entry) => {
                        seen.take(&entry);
                        Some(Ok(entry))
                    }
                    Err(fault) => Some(Err(teller.fault(fault))),
                };
                each(batch.into_iter().filter(live).filter_map(&mut differs).collect());
                // What the tables do not hold, which is all that follows, was not live.
                if !table {
                    break;
                }
            }
            let mut facts = teller.facts(opened.facts());
            // What is hidden is hidden today, too, and told of the volume itself.
            facts.anomalies.clear();
            Some((name, facts))
        })
    }
}

/// A file as it was listed.
struct Version {
    kind: EntryKind,
    times: [Option<Timestamp>; 3],
    stream: Stream,
}

impl Version {
    fn of(entry: &Entry) -> Self {
        // When it was last read is no change of the file.
        let times = [entry.times.btime, entry.times.mtime, entry.times.ctime];
        Self { kind: entry.kind, times, stream: entry.stream.clone() }
    }

    /// Whether both are the same, to the last byte.
    fn is(&self, other: &Self, volume: View<'_>) -> bool {
        let alike = self.kind == other.kind && self.times == other.times;
        let stored = self.stream.size == other.stream.size && self.stream.codec == other.stream.codec;
        alike && stored && (self.stream == other.stream || same(volume, &self.stream, &other.stream))
    }
}

/// Whether two streams of one size hold the same bytes. What stands at the same place is not read.
fn same(volume: View<'_>, one: &Stream, other: &Stream) -> bool {
    let (one_content, other_content) = (Content::new(volume, one), Content::new(volume, other));
    let mut at = 0u64;
    while at < one.size {
        let (Ok(a), Ok(b)) = (one_content.part(at), other_content.part(at)) else { return false };
        let len = a.len().min(b.len());
        let (Some(a), Some(b)) = (a.get(..len), b.get(..len)) else { return false };
        if len == 0 || !(std::ptr::eq(a, b) || a == b) {
            return false;
        }
        at = at.saturating_add(len as u64);
    }
    true
}

/// What has been listed of a volume, live, by path and by the metadata's address.
#[derive(Default)]
pub struct Seen(HashMap<(String, String), Vec<Version>>);

impl Seen {
    /// Notes an entry.
    pub fn take(&mut self, entry: &Entry) {
        if entry.allocated {
            let key = (entry.path.clone(), entry.inode.clone());
            self.0.entry(key).or_default().push(Version::of(entry));
        }
    }

    /// Whether an entry was noted that is the same.
    fn holds(&self, volume: View<'_>, entry: &Entry) -> bool {
        let version = Version::of(entry);
        let versions = self.0.get(&(entry.path.clone(), entry.inode.clone()));
        versions.is_some_and(|versions| versions.iter().any(|seen| seen.is(&version, volume)))
    }
}
