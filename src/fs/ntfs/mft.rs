//! The Master File Table: where its records lie, found through its own first record.

use super::boot::Boot;
use super::record::{Attribute, Record, Reference, kind, stored_at};
use super::runs;
use crate::bytes::{Fields, index};
use crate::content::{Content, Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use std::borrow::Cow;
use std::ops::Range;

/// An attribute list longer than this is a lie.
const MAX_LIST: u64 = 1 << 20;
/// So many bytes of the table are read in one piece.
const BLOCK: u64 = 1 << 18;

/// The table, opened.
pub(super) struct Mft<'img> {
    pub(super) view: View<'img>,
    pub(super) boot: Boot,
    /// The table's own bytes.
    content: Content<'img>,
    /// How many records it holds.
    len: u64,
    /// What was wrong on the way.
    pub(super) faults: Vec<Fault>,
}

/// Records of the table that stand one behind the other.
pub(super) struct Block<'m> {
    numbers: Range<u64>,
    width: usize,
    bytes: Cow<'m, [u8]>,
}

impl Block<'_> {
    /// Each record's number and bytes; none where they cannot be read.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        let places = (0usize..).step_by(self.width);
        self.numbers.clone().zip(places).map(|(number, at)| (number, self.bytes.span(at, self.width)))
    }
}

impl<'img> Mft<'img> {
    /// Finds the table by its first record or, where that is damaged, by the mirror's.
    pub(super) fn open(view: View<'img>, boot: Boot) -> Result<Self, Fault> {
        let at = |cluster: u64| cluster.saturating_mul(boot.cluster);
        let content = Content::of(view, Stream::default());
        let mut mft = Self { view, boot, content, len: 0, faults: Vec::new() };
        let first = |place: u64| {
            let raw = view.read(at(place), boot.record).ok()?;
            Record::parse(0, &raw).filter(|r| r.in_use && r.base.is_none())
        };
        let (own, mirror) = (first(boot.mft), first(boot.mirror));
        let sound = |record: &Option<Record>| record.as_ref().is_some_and(|r| r.sound);
        let own = own.filter(|own| own.sound || !sound(&mirror));
        if own.is_some_and(|own| mft.adopt(&own).is_ok()) {
            return Ok(mft);
        }
        let what = "the first MFT record is damaged; its mirror is used";
        mft.faults.push(Fault::new(view.absolute(at(boot.mft)), "ntfs", what));
        let mirror = mirror.ok_or_else(|| {
            let what = "neither the first MFT record nor its mirror can be read";
            Fault::new(view.absolute(at(boot.mft)), "ntfs", what)
        })?;
        mft.adopt(&mirror)?;
        Ok(mft)
    }

    /// Takes the table's runs from its first record and, for a fragmented table, from the records that extend it.
    fn adopt(&mut self, record: &Record) -> Result<(), Fault> {
        let fault =
            |what: &str| Fault::new(self.view.absolute(self.boot.mft.saturating_mul(self.boot.cluster)), "ntfs", what);
        let unnamed = |a: &Attribute<'_>| a.kind == kind::DATA && !a.is_resident() && a.name().is_empty();
        let missing = fault("the first MFT record has no run list");
        let data: Vec<Attribute<'_>> = record.attributes().filter(unnamed).collect();
        let sizes = data.first().and_then(|a| a.sizes()).ok_or(missing)?;
        let mut runs: Vec<Run> = data.iter().flat_map(|a| self.runs_of(a).0).collect();
        self.hold(&runs, sizes.real);
        let list = record.attributes().find(|a| a.kind == kind::ATTRIBUTE_LIST);
        for reference in list.map(|list| self.listed(&list, kind::DATA)).unwrap_or_default() {
            if reference.record == 0 {
                continue;
            }
            if let Some(extension) = self.record(reference.record) {
                runs.extend(extension.attributes().filter(unnamed).flat_map(|a| self.runs_of(&a).0));
                self.hold(&runs, sizes.real);
            }
        }
        Ok(())
    }

    /// Takes the table's runs, as far as they are known.
    fn hold(&mut self, runs: &[Run], size: u64) {
        let known = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
        self.len = size.min(known).checked_div(self.boot.record).unwrap_or(0);
        self.content = Content::of(self.view, Stream::plain(runs.to_vec(), size));
    }

    /// How many records the table holds.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The bytes of the table.
    pub(super) const fn content(&self) -> &Content<'img> {
        &self.content
    }

    /// Record `number`; `None` where there is none.
    pub(super) fn record(&self, number: u64) -> Option<Record> {
        let raw = self.content.slice(number.checked_mul(self.boot.record)?, self.boot.record);
        let bytes = raw.prefix(self.boot.record);
        (bytes.len() as u64 == self.boot.record).then_some(())?;
        Record::parse(number, &bytes)
    }

    /// Where byte `at` of the table lies in the volume.
    pub(super) fn place(&self, at: u64) -> Option<u64> {
        Some(self.content.locate(at)?.saturating_sub(self.view.extent().start))
    }

    /// The runs of one piece of a non-resident attribute, and whether they could be read to their end.
    pub(super) fn runs_of(&self, attribute: &Attribute<'_>) -> (Vec<Run>, bool) {
        let pairs = attribute.pairs().unwrap_or_default();
        runs::decode(pairs, self.boot.cluster, self.boot.clusters)
    }

    /// The records that an attribute list names for attributes of `kind`, in the order of their clusters.
    fn listed(&self, list: &Attribute<'_>, kind: u32) -> Vec<Reference> {
        let bytes = match list.value() {
            Some(value) => Cow::Borrowed(value),
            None => {
                let size = list.sizes().map_or(0, |s| s.real).min(MAX_LIST);
                let stream = Stream::plain(self.runs_of(list).0, size);
                Cow::Owned(Content::new(self.view, &stream).prefix(size).into_owned())
            }
        };
        let (mut at, mut found) = (0usize, Vec::new());
        while let (Some(this), Some(length @ 26..)) = (bytes.le32(at), at.checked_add(4).and_then(|at| bytes.le16(at)))
        {
            let field = |skip: usize| at.checked_add(skip).and_then(|at| bytes.le64(at));
            if let (true, Some(vcn), Some(reference)) = (this == kind, field(8), field(16)) {
                found.push((vcn, Reference::parse(reference)));
            }
            at = at.saturating_add(length.into());
        }
        found.sort_by_key(|(vcn, _)| *vcn);
        found.into_iter().map(|(_, reference)| reference).collect()
    }

    /// Where a resident value lies in the volume: the bytes that fix-ups moved are named where they really stand.
    pub(super) fn resident_runs(&self, attribute: &Attribute<'_>) -> Option<Vec<Run>> {
        let (start, length) = attribute.value_place()?;
        let end = start.checked_add(length)?;
        let record = attribute.record;
        if let Some(home) = &record.home {
            return Some(cut(home, Extent::new(start as u64, length as u64)));
        }
        let base = record.number.checked_mul(self.boot.record)?;
        let mut runs = Vec::new();
        let mut at = start;
        while at < end {
            let (from, len) = stored_at(at, record.usa_offset)?;
            let len = len.min(end.checked_sub(at)?);
            let place = self.place(base.checked_add(from as u64)?)?;
            runs.push(Run::Data(Extent::new(place, len as u64)));
            at = at.checked_add(len)?;
        }
        Some(runs)
    }

    /// Byte of the volume at which a record stands.
    pub(super) fn home(&self, record: &Record) -> u64 {
        match record.home.as_ref().map(|home| home.first()) {
            Some(Some(Run::Data(extent))) => extent.start,
            Some(_) => 0,
            None => self.place(record.number.saturating_mul(self.boot.record)).unwrap_or(0),
        }
    }

    /// How many blocks the table is read in.
    pub(super) fn blocks(&self) -> u64 {
        self.len.div_ceil(self.per_block())
    }

    /// A block of the table.
    pub(super) fn block(&self, block: u64) -> Block<'_> {
        let first = block.saturating_mul(self.per_block());
        let numbers = first..first.saturating_add(self.per_block()).min(self.len);
        let (from, size) = (first.saturating_mul(self.boot.record), self.per_block().saturating_mul(self.boot.record));
        let bytes = self.content.stretch(from, size);
        Block { numbers, width: index(self.boot.record).max(1), bytes }
    }

    fn per_block(&self) -> u64 {
        BLOCK.checked_div(self.boot.record).unwrap_or(1).max(1)
    }
}

/// Runs over bytes that each have a place of their own.
pub(super) fn runs_of_bytes(places: impl Iterator<Item = u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for at in places {
        match runs.last_mut() {
            Some(Run::Data(last)) if last.end() == at => last.len = last.len.saturating_add(1),
            _ => runs.push(Run::Data(Extent::new(at, 1))),
        }
    }
    runs
}

/// The part of `runs` that holds `wanted`.
fn cut(runs: &[Run], wanted: Extent) -> Vec<Run> {
    let (mut at, mut part) = (0u64, Vec::new());
    for run in runs {
        let common = Extent::new(at, run.len()).intersect(wanted);
        if let (Run::Data(extent), false) = (run, common.is_empty()) {
            let skip = common.start.saturating_sub(at);
            part.push(Run::Data(Extent::new(extent.start.saturating_add(skip), common.len)));
        }
        at = at.saturating_add(run.len());
    }
    part
}
