//! What is read of a volume whose bytes stand scattered, told in bytes of what it is made of: nothing behind the plan knows of
//! such volumes.

use crate::content::Run;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Anomaly, Entry, Facts};
use crate::image::View;
use crate::image::mapped::Mapping;
use crate::volume::Volume;

/// Tells places of one volume.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    /// What places are counted from.
    base: View<'a>,
    mapping: Option<&'a Mapping>,
}

impl<'a> Teller<'a> {
    /// The one for a volume of this disk.
    pub fn new(disk: View<'a>, volume: &'a Volume) -> Self {
        Self { base: disk.sub(volume.extent), mapping: volume.parts.as_ref().map(|parts| &parts.mapping) }
    }

    /// What places in the told entries are counted from.
    pub const fn base(&self) -> View<'a> {
        self.base
    }

    /// An entry.
    pub fn entry(&self, mut entry: Entry) -> Entry {
        let Some(mapping) = self.mapping else { return entry };
        let mut runs = Vec::with_capacity(entry.stream.runs.len());
        for run in &entry.stream.runs {
            match run {
                Run::Hole(_) => runs.push(*run),
                Run::Data(extent) => runs.extend(mapping.pieces(*extent).map(|piece| match piece.place {
                    Some(at) => Run::Data(Extent::new(at, piece.len)),
                    None => Run::Hole(piece.len),
                })),
            }
        }
        entry.stream.runs = runs;
        entry.at = mapping.place(entry.at).unwrap_or(entry.at);
        entry.faults = entry.faults.into_iter().map(|fault| self.fault(fault)).collect();
        entry
    }

    /// What was read, or could not be.
    pub fn listed(&self, entry: Result<Entry, Fault>) -> Result<Entry, Fault> {
        entry.map(|entry| self.entry(entry)).map_err(|fault| self.fault(fault))
    }

    /// A fault, whose place becomes one of the image.
    pub fn fault(&self, fault: Fault) -> Fault {
        let Some(mapping) = self.mapping else { return fault };
        Fault { at: self.base.absolute(mapping.place(fault.at).unwrap_or(0)), ..fault }
    }

    /// A stretch of the volume as those of the image.
    pub fn extents(&self, extent: Extent) -> Vec<Extent> {
        let places = |mapping: &Mapping| {
            let pieces = mapping.pieces(extent);
            pieces.filter_map(|piece| Some(self.base.sub(Extent::new(piece.place?, piece.len)).extent())).collect()
        };
        self.mapping.map_or_else(|| vec![self.base.sub(extent).extent()], places)
    }

    /// A contradiction.
    pub fn anomaly(&self, anomaly: Anomaly) -> Anomaly {
        let Some(mapping) = self.mapping else { return anomaly };
        let places = |extent: &Extent| {
            let pieces: Vec<_> = mapping.pieces(*extent).collect();
            pieces.into_iter().filter_map(|piece| Some(Extent::new(piece.place?, piece.len)))
        };
        Anomaly { sign: self.fault(anomaly.sign), extents: anomaly.extents.iter().flat_map(places).collect() }
    }

    /// What a file system says of itself.
    pub fn facts(&self, facts: &Facts) -> Facts {
        let mut facts = facts.clone();
        facts.faults = facts.faults.into_iter().map(|fault| self.fault(fault)).collect();
        facts.anomalies = facts.anomalies.into_iter().map(|anomaly| self.anomaly(anomaly)).collect();
        facts
    }
}
