//! One unit of work, done: everything that is to be known of its bytes, while they are in cache.
//!
//! Hash, identify, extract, carve: pure functions of the evidence and the [`Options`]. All limits that keep a hostile
//! disk from eating the machine are here: [`DEPTH`], [`fuel_for`], and a panic in a parser becomes a fault of its item.

pub mod derive;
mod members;

use crate::artifact::{Artifact, Kind, Status};
use crate::carve::Scan;
use crate::content::{Content, Run, Stream};
use crate::extent::{Extent, ExtentSet};
use crate::extract::strings;
use crate::fault::Fault;
use crate::fs::{Anomaly, Certainty, Entry, EntryKind, Recovered};
use crate::fuel::Fuel;
use crate::hash::{Algorithm, Hasher};
use crate::identify::{self, Identity};
use crate::image::View;
use crate::plan::past::Which;
use crate::plan::told::Teller;
use crate::plan::{Found, Piece, Task, Unit};
use crate::text::Text;
use members::Collector;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How deep members may lie in members.
pub const DEPTH: usize = 8;
/// Text of unallocated windows is derived in pieces of so many bytes, so that one can be derived again by itself …
pub const TEXT_STEP: u64 = 1 << 20;
/// … and so many bytes on, so that a word across the border is whole in the piece in which it begins.
pub const TEXT_OVERLAP: u64 = 1 << 10;
/// A stream with more hole than this, and hardly anything else, is not hashed.
const MAX_HOLE: u64 = 1 << 30;

/// How much is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Files, live and deleted: listed, identified and hashed. Nothing is read out of them, nothing carved.
    Triage,
    /// Everything, with carving at sector borders.
    #[default]
    Standard,
    /// Everything, with carving at every byte.
    Full,
}

/// What the result depends on beside the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How much is done.
    pub profile: Profile,
    /// Which hashes are taken.
    pub hashes: Vec<Algorithm>,
    /// What of earlier times of its volumes is listed.
    #[serde(default)]
    pub past: Which,
}

impl Default for Options {
    fn default() -> Self {
        Self { profile: Profile::Standard, hashes: Algorithm::ALL.to_vec(), past: Which::default() }
    }
}

/// A part of an item's text, for the index.
#[derive(Debug)]
pub struct TextPart {
    /// Row of the item in [`Done::items`].
    pub item: usize,
    /// Number of the part.
    pub part: u32,
    /// The text.
    pub body: String,
}

/// What a unit gave.
#[derive(Debug, Default)]
pub struct Done {
    /// Its items, holders before their members.
    pub items: Vec<Artifact>,
    /// Their text, in order.
    pub texts: Vec<TextPart>,
}

/// Where deleted files begin whose content is given, and how many bytes lie there in one piece.
pub type Named = HashMap<u64, u64>;

/// What all units of one image share.
pub struct Worker<'a> {
    disk: View<'a>,
    image: u32,
    volumes: &'a [Found],
    options: &'a Options,
    scan: Scan<'static>,
    named: Named,
    /// The extents of those files.
    named_extents: ExtentSet,
}

impl<'a> Worker<'a> {
    /// A worker for an image whose units are `units`.
    pub fn new(disk: View<'a>, image: u32, volumes: &'a [Found], units: &[Unit], options: &'a Options) -> Self {
        let align = if options.profile == Profile::Full { 1 } else { 512 };
        let (mut named, mut extents) = (Named::new(), Vec::new());
        for unit in units {
            let Task::Entry(entry) = &unit.task else { continue };
            let intact = entry.recovered == Some(Recovered::Intact);
            if entry.allocated || !(intact || is_placed(entry)) {
                continue;
            }
            let base = volumes.get(unit.volume).map_or(0, |f| f.volume.extent.start);
            let runs = entry.stream.runs.iter().filter_map(|run| match run {
                Run::Data(extent) => Some(extent.shifted(base)),
                Run::Hole(_) => None,
            });
            let runs: Vec<Extent> = runs.collect();
            named.extend(runs.first().map(|first| (first.start, first.len)));
            // What is less than certain is searched as unallocated space, too.
            if intact {
                extents.extend(runs);
            }
        }
        let scan = Scan::new(crate::registry::CARVERS, align);
        Self { disk, image, volumes, options, scan, named, named_extents: ExtentSet::new(extents) }
    }

    /// Does a unit.
    pub fn run(&self, unit: &Unit) -> Done {
        let mut done = Done::default();
        let Some(found) = self.volumes.get(unit.volume) else { return done };
        let number = found.volume.number;
        match &unit.task {
            Task::Entry(entry) => {
                let view = self.disk.sub(found.volume.extent);
                self.entry(view, number, entry, &mut done);
                self.compare(found, entry, &mut done);
                for name in &unit.names {
                    self.name(view, number, entry, name, &mut done);
                }
            }
            Task::Window(pieces) if self.options.profile != Profile::Triage => self.window(number, pieces, &mut done),
            Task::Window(_) => {}
            Task::Anomaly(anomaly) => {
                self.anomaly(self.disk.sub(found.volume.extent), number, anomaly, &mut done);
            }
        }
        self.mark_unreadable(unit, found.volume.extent, &mut done);
        done
    }

    fn entry(&self, view: View<'_>, volume: u32, entry: &Entry, done: &mut Done) {
        let mut item = Artifact::of_entry(self.image, volume, entry);
        let content = Content::new(view, &entry.stream);
        item.set_place(&content, Some(&entry.stream));
        item.set_certainty(&entry.certainty);
        if self.options.profile != Profile::Triage {
            confirm(&mut item, entry, &content);
        }
        let anomaly = (!entry.impossible.is_empty()).then(|| item.anomaly(&entry.impossible.join("; ")));
        self.entry_content(view, volume, entry, item, &content, done);
        done.items.extend(anomaly);
    }

    /// Compares what the file system keeps of checksums of a content that was read.
    fn compare(&self, found: &Found, entry: &Entry, done: &mut Done) {
        let read = done.items.first_mut().filter(|item| item.status != Status::Skipped);
        let Some((item, sums)) = read.zip(entry.sums.as_ref()) else { return };
        let Some(fault) = found.volume.with(self.disk, |volume| sums.compare(volume)) else { return };
        item.degrade(Status::Damaged);
        item.faults.push(Teller::new(self.disk, &found.volume).fault(fault));
    }

    /// Another name of the content that `read` names, and that the unit's first item holds.
    fn name(&self, view: View<'_>, volume: u32, read: &Entry, entry: &Entry, done: &mut Done) {
        let mut item = Artifact::of_entry(self.image, volume, entry);
        let content = Content::new(view, &entry.stream);
        item.set_place(&content, Some(&entry.stream));
        if let Some(first) = done.items.first() {
            item.hashes.clone_from(&first.hashes);
            item.mime.clone_from(&first.mime);
            item.status = first.status;
            // What is damaged in the content, not what is in the other name's metadata.
            item.faults.extend(first.faults.iter().filter(|fault| !read.faults.contains(fault)).cloned());
        }
        // What was not identified (it is encrypted, or nearly all hole) has no type that a name could belie.
        if !item.mime.is_empty() {
            let identity = identify::identify(&content.prefix(identify::HEAD), content.size());
            set_mismatch(&mut item, &identity);
        }
        let anomaly = (!entry.impossible.is_empty()).then(|| item.anomaly(&entry.impossible.join("; ")));
        done.items.push(item);
        done.items.extend(anomaly);
    }

    /// The content of an entry, with what lies in it and behind it.
    fn entry_content(
        &self,
        view: View<'_>,
        volume: u32,
        entry: &Entry,
        mut item: Artifact,
        content: &Content<'_>,
        done: &mut Done,
    ) {
        if matches!(entry.kind, EntryKind::Directory | EntryKind::Special) {
            done.items.push(item);
            return;
        }
        if let Some((status, note)) = unreadable_entry(entry) {
            item.status = status;
            item.note.get_or_insert_with(|| note.to_owned());
            done.items.push(item);
            return;
        }
        let mut fuel = fuel_for(entry.stream.size);
        self.examine(item, content, 0, &mut fuel, done);
        if entry.allocated && self.options.profile != Profile::Triage {
            self.slack(view, volume, entry, done);
        }
    }

    /// The allocated bytes behind a file's end: an item where they say something.
    fn slack(&self, view: View<'_>, volume: u32, entry: &Entry, done: &mut Done) {
        let extents = entry.stream.slack();
        let size = extents.iter().fold(0, |sum: u64, e| sum.saturating_add(e.len));
        let stream = Stream::plain(extents.into_iter().map(Run::Data).collect(), size);
        let content = Content::new(view, &stream);
        if size == 0 || content.parts().all(|p| p.is_ok_and(|bytes| crate::bytes::all_zero(&bytes))) {
            return;
        }
        let path = format!("{}:$SLACK", entry.path);
        let mut item = Artifact::new(self.image, volume, path, Kind::Slack, entry.at);
        item.allocated = true;
        item.size = size;
        item.set_place(&content, None);
        let (items, texts) = (done.items.len(), done.texts.len());
        self.raw_space(item, &content, done);
        if done.texts.len() == texts {
            done.items.truncate(items);
        }
    }

    /// Where the evidence contradicts itself, with the bytes that stand where none should.
    fn anomaly(&self, view: View<'_>, volume: u32, anomaly: &Anomaly, done: &mut Done) {
        let path = format!("/$Anomaly/{:012}-{}", anomaly.sign.at, anomaly.sign.by);
        let mut item = Artifact::new(self.image, volume, path, Kind::Anomaly, anomaly.sign.at);
        // Two signs may show at one byte.
        item.id = item.member(0, &anomaly.sign.what, Kind::Anomaly).id;
        item.allocated = true;
        item.note = Some(anomaly.sign.what.clone());
        let size = anomaly.extents.iter().fold(0, |sum: u64, e| sum.saturating_add(e.len));
        let stream = Stream::plain(anomaly.extents.iter().copied().map(Run::Data).collect(), size);
        let content = Content::new(view, &stream);
        item.size = size;
        item.set_place(&content, None);
        if size == 0 || self.options.profile == Profile::Triage {
            done.items.push(item);
        } else {
            self.raw_space(item, &content, done);
        }
    }

    /// Space that belongs to nothing: carved, and what is left of it searched for text.
    fn window(&self, volume: u32, pieces: &[Piece], done: &mut Done) {
        let mut carved = Vec::new();
        for piece in pieces {
            carved.extend(self.carve(volume, *piece, done));
        }
        let all: ExtentSet = pieces.iter().map(|p| p.extent).collect();
        let rest = all.subtract(&self.named_extents).subtract(&ExtentSet::new(carved));
        let size = rest.total();
        let (Some(first), Some(last)) = (rest.as_slice().first(), rest.as_slice().last()) else { return };
        let path = format!("/$Unallocated/{:012}-{:012}", first.start, last.end());
        let mut item = Artifact::new(self.image, volume, path, Kind::Unallocated, first.start);
        let stream = Stream::plain(rest.as_slice().iter().map(|e| Run::Data(*e)).collect(), size);
        let content = Content::new(self.disk, &stream);
        item.size = size;
        item.set_place(&content, None);
        self.raw_space(item, &content, done);
    }

    /// Carves a piece; gives the extents of what was found whole.
    fn carve(&self, volume: u32, piece: Piece, done: &mut Done) -> Vec<Extent> {
        let stretch = Extent::between(piece.extent.start, piece.end);
        let bytes = carvable(self.disk, stretch);
        let mut whole = Vec::new();
        for find in guarded(|| self.scan.run(&bytes, crate::bytes::index(piece.extent.len))).unwrap_or_default() {
            let extent = Extent::new(piece.extent.start.saturating_add(find.at as u64), find.carved.len);
            if self.named.get(&extent.start).is_some_and(|named| extent.len <= *named) {
                continue;
            }
            if find.carved.whole {
                whole.push(extent);
            }
            let path = format!("/$Carved/{:012}.{}", extent.start, find.carved.extension);
            let mut item = Artifact::new(self.image, volume, path, Kind::Carved, extent.start);
            item.size = extent.len;
            if !find.carved.whole {
                item.status = Status::Truncated;
                item.note = Some("its structure breaks off; only what held is given".to_owned());
            }
            let stream = Stream::plain(vec![Run::Data(extent)], extent.len);
            let content = Content::new(self.disk, &stream);
            item.set_place(&content, None);
            self.examine(item, &content, 0, &mut fuel_for(extent.len), done);
        }
        whole
    }

    /// Hashes raw space and searches it for strings, piece by piece.
    fn raw_space(&self, mut item: Artifact, content: &Content<'_>, done: &mut Done) {
        self.hash(&mut item, content);
        let row = done.items.len();
        let mut part = 0u32;
        for step in 0..content.size().div_ceil(TEXT_STEP) {
            let text = space_text(content, step);
            if !text.body.is_empty() {
                // The part's number is its place: it can be derived again without what is before it.
                part = u32::try_from(step).unwrap_or(u32::MAX);
                done.texts.push(TextPart { item: row, part, body: text.body });
            }
        }
        item.text_parts = if done.texts.last().is_some_and(|t| t.item == row) { part.saturating_add(1) } else { 0 };
        done.items.push(item);
    }

    /// Does everything to one content: its item, then its members' items.
    fn examine(&self, mut item: Artifact, content: &Content<'_>, depth: usize, fuel: &mut Fuel, done: &mut Done) {
        self.hash(&mut item, content);
        if item.status == Status::Skipped {
            done.items.push(item);
            return;
        }
        let head = content.prefix(identify::HEAD);
        let identity = identify::identify(&head, content.size());
        drop(head);
        identity.mime.clone_into(&mut item.mime);
        set_mismatch(&mut item, &identity);
        let row = done.items.len();
        done.items.push(item);
        if self.options.profile == Profile::Triage || content.size() == 0 {
            return;
        }
        let mut collector = Collector::new(self, row, depth, done);
        let outcome = guarded(|| read_out(content, &identity, &mut collector, fuel));
        collector.finish(outcome, &identity);
    }

    /// Hashes the content; without a result where not all of it can be read.
    fn hash(&self, item: &mut Artifact, content: &Content<'_>) {
        let holes = item.extents.iter().filter(|s| s.offset.is_none()).fold(0u64, |n, s| n.saturating_add(s.length));
        if holes > MAX_HOLE && holes / 64 > item.size.saturating_sub(holes) {
            item.degrade(Status::Skipped);
            item.note = Some(format!("{holes} of its {} bytes are a hole; it was neither hashed nor read", item.size));
            return;
        }
        let mut hasher = Hasher::new(&self.options.hashes);
        for part in content.parts() {
            match part {
                Ok(bytes) => hasher.update(&bytes),
                Err(fault) => {
                    item.degrade(if fault.by == "content" { Status::Truncated } else { Status::Damaged });
                    item.faults.push(fault);
                    return;
                }
            }
        }
        item.hashes = hasher.finish();
    }

    /// Items of a unit whose bytes could not all be read lose their hashes: what was read as zeros is not the evidence.
    fn mark_unreadable(&self, unit: &Unit, volume: Extent, done: &mut Done) {
        let unreadable = ExtentSet::new(self.disk.image().unreadable());
        if unreadable.as_slice().is_empty() {
            return;
        }
        let lost = |item: &Artifact| {
            let touches =
                |s: &crate::artifact::Span| s.offset.is_some_and(|at| unreadable.touches(Extent::new(at, s.length)));
            item.extents.iter().any(touches)
        };
        let metadata = match &unit.task {
            Task::Entry(entry) => unreadable.touches(Extent::new(volume.start.saturating_add(entry.at), 1)),
            Task::Window(_) | Task::Anomaly(_) => false,
        };
        let holder_lost = done.items.first().is_some_and(lost);
        for item in &mut done.items {
            if lost(item) || (holder_lost && !item.members.is_empty()) {
                item.status = Status::Damaged;
                item.hashes = crate::hash::Hashes::default();
                item.note = Some("part of its bytes could not be read from the medium".to_owned());
            } else if metadata {
                item.degrade(Status::Damaged);
            }
        }
    }
}

/// Whether a deleted file's content has a place in free space from end to end, however sure that place is.
fn is_placed(entry: &Entry) -> bool {
    let placed = entry.certainty.iter().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
    !entry.certainty.is_empty() && placed >= entry.stream.size
}

/// Notes whether an item's name promises something else than it is.
fn set_mismatch(item: &mut Artifact, identity: &Identity) {
    let named = !matches!(item.kind, Kind::Carved | Kind::Stream);
    item.extension_mismatch = named && identify::extension_mismatch(identity, item.name());
}

/// The most of a deleted file that is looked at to confirm its place.
const CONFIRM: u64 = 64 << 20;

/// Says of a deleted file whose content was placed by inference that its place is proven, if checksums of its format say so.
fn confirm(item: &mut Artifact, entry: &Entry, content: &Content<'_>) {
    let size = entry.stream.size;
    if entry.recovered != Some(Recovered::Partial) || !is_placed(entry) || size > CONFIRM {
        return;
    }
    let bytes = content.prefix(size);
    let whole = crate::bytes::offset(bytes.len()) == size;
    let Some(by) = guarded(|| crate::carve::confirmed(&bytes)).ok().flatten().filter(|_| whole) else { return };
    item.recovered = Some(Recovered::Intact.name().to_owned());
    item.extents.iter_mut().for_each(|span| span.certainty = Some(Certainty::Proven));
    let what = format!("its place was inferred, and the checksums in it ({by}) confirm it");
    item.note = Some(item.note.take().map_or(what.clone(), |note| format!("{note}; {what}")));
}

/// Why an entry's content is not to be read, if so.
fn unreadable_entry(entry: &Entry) -> Option<(Status, &'static str)> {
    if entry.encrypted {
        return Some((Status::Encrypted, "encrypted by the file system"));
    }
    match entry.recovered {
        Some(Recovered::Overwritten) => Some((Status::Damaged, "all its clusters belong to other files now")),
        Some(Recovered::Partial) if is_placed(entry) => None,
        Some(Recovered::Partial) => Some((Status::Damaged, "some of its clusters belong to other files now")),
        Some(Recovered::NameOnly) => Some((Status::Skipped, "where its content lay is no longer known")),
        Some(Recovered::Intact) | None => None,
    }
}

/// How much may be spent on a top-level item of `size` bytes and all that is in it: a bomb is small.
pub fn fuel_for(size: u64) -> Fuel {
    Fuel::new(size.saturating_mul(64).saturating_add(256 << 20).min(16 << 30))
}

/// The bytes of a stretch in one piece, as far as that costs no more than a bounded copy.
pub fn carvable(disk: View<'_>, stretch: Extent) -> std::borrow::Cow<'_, [u8]> {
    const COPY: u64 = 64 << 20;
    match disk.part(stretch) {
        Ok(std::borrow::Cow::Borrowed(bytes)) if bytes.len() as u64 >= stretch.len.min(COPY) => bytes.into(),
        _ => disk.read_up_to(stretch.start, stretch.len.min(COPY)),
    }
}

/// The text of piece `step` of raw space.
pub fn space_text(content: &Content<'_>, step: u64) -> Text {
    let at = step.saturating_mul(TEXT_STEP);
    let slice = content.slice(at, TEXT_STEP.saturating_add(TEXT_OVERLAP));
    let mut text = Text::default();
    let mut push = |piece: &str, place: crate::text::Place| {
        text.push(piece, Some(crate::text::Place { offset: place.offset.saturating_add(at), ..place }));
        Ok(())
    };
    let bytes = slice.prefix(slice.size());
    let _ = guarded(|| strings::scan(&bytes, 0, &mut push));
    text
}

/// Reads text and members out of content: with the extractor for what it is or, failing that, its strings.
pub fn read_out(
    content: &Content<'_>,
    identity: &Identity,
    findings: &mut dyn crate::extract::Findings,
    fuel: &mut Fuel,
) -> Result<(), crate::fuel::Spent> {
    match crate::extract::extractor_for(identity) {
        Some(row) => (row.extract)(content, identity, findings, fuel),
        None => strings::extract(content, identity, findings, fuel),
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// True in a thread that is in a parser whose panic is caught: nobody needs to hear of it.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// Calls a parser; a panic becomes `Err` with what it said.
pub fn guarded<R>(call: impl FnOnce() -> R) -> Result<R, String> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outer);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("for an unknown reason").to_owned()
    })
}

/// A fault that says that a parser gave up on an item by panicking.
fn panicked(by: &str, why: &str) -> Fault {
    Fault::new(0, by, format!("the parser failed: {why}"))
}
