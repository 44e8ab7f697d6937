//! Indexing: plan the evidence, run the line, write what comes out of it in order, and seal it.
//!
//! At every checkpoint the journal is brought to the disk first and the index committed with the journal's position
//! second. A run that was killed is taken up from the last commit: the journal is cut back to it, and the units behind
//! it, the same on every machine, are done again.

use super::{Case, CaseError, Evidence, Locked, audit};
use crate::fault::Fault;
use crate::fs::Anomaly;
use crate::hash::{Algorithm, Hashes};
use crate::image::seal::{self, Seal};
use crate::image::{self, Image, View};
use crate::index::{self, Checkpoint};
use crate::pipeline::lease::Budget;
use crate::pipeline::{self, Power, Progress};
use crate::plan::{self, Plan, Task, Unit};
use crate::record::{ContainerRecord, ImageRecord, Record, SealRecord, VolumeRecord, Writer};
use crate::volume::open::open;
use crate::volume::vault::Keys;
use crate::work::Worker;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a run is done; changes no result.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Threads and memory of the line.
    pub power: Power,
    /// A checkpoint is made after so many bytes of evidence.
    pub checkpoint: u64,
}

/// What watches a run.
pub trait Watch: Sync {
    /// The evidence called `name` begins: `total` bytes in all units, of which `done` were done before.
    fn begin(&self, name: &str, plan: &Plan, total: u64, done: u64);
    /// What is counted while it runs.
    fn progress(&self) -> &Progress;
    /// It ended.
    fn end(&self);
}

/// Adds evidence to a case and indexes all of it that is not indexed yet. `true` where there was something to do.
///
/// # Errors
/// Where the evidence or the case cannot be read or written, or the evidence changed since the run began.
pub fn index(
    locked: &mut Locked,
    images: &[(PathBuf, Option<String>)],
    keys: &Keys,
    run: Run,
    watch: &dyn Watch,
) -> Result<bool, CaseError> {
    for (path, name) in images {
        add(&mut locked.case, path, name.as_deref())?;
    }
    refuse_changed(&locked.case)?;
    let index = index::open(&locked.case.index())?;
    let mut checkpoint = index::checkpoint(&index)?;
    let count = locked.case.manifest.images.len();
    let complete = |done: u32| usize::try_from(done).is_ok_and(|n| n >= count);
    if complete(checkpoint.image) && locked.case.manifest.end.is_some() {
        return Ok(false);
    }
    locked.case.manifest.end = None;
    locked.case.save()?;
    while !complete(checkpoint.image) {
        checkpoint = one(&mut locked.case, &index, checkpoint, keys, run, watch)?;
    }
    let details = json!({"digest": checkpoint.journal.digest(), "items": checkpoint.journal.items});
    locked.case.manifest.audited = Some(audit::note(locked.case.dir(), "complete", details)?);
    locked.case.manifest.end = Some(checkpoint.journal);
    locked.case.save()?;
    Ok(true)
}

/// What was indexed while it changed is never made complete, even where the evidence looks again as it did.
fn refuse_changed(case: &Case) -> Result<(), CaseError> {
    let Some(evidence) = case.manifest.images.iter().find(|e| !e.changed.is_empty()) else { return Ok(()) };
    let (name, what) = (&evidence.name, evidence.changed.join("; "));
    let hint = "nothing in this case can be relied on: index it into another case with -c";
    Err(CaseError::Refused(format!("{name}: changed while it was indexed: {what}: {hint}")))
}

/// Adds a piece of evidence to the manifest, unless it is there already.
fn add(case: &mut Case, path: &Path, name: Option<&str>) -> Result<(), CaseError> {
    let io = |source| CaseError::Io { path: path.to_owned(), source, hint: "check the path" };
    let path = path.canonicalize().map_err(io)?;
    let dir = case.dir().canonicalize()?;
    if dir.starts_with(&path) {
        let what = "the case folder lies inside the evidence: choose another with -c";
        return Err(CaseError::Refused(format!("{}: {what}", path.display())));
    }
    let image = image::open(&path)?;
    let seal = Seal::take(image.as_ref());
    let own = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.map_or(own, str::to_owned);
    if let Some(known) = case.manifest.images.iter_mut().find(|e| e.name == name) {
        if let Some(what) = seal.differs_from(&known.seal) {
            let what = if known.path == path {
                format!("{what}: it is not what this case began with; index it into another case with -c")
            } else {
                format!("other evidence of this case is called {name}, too: give this one a name with --name")
            };
            return Err(CaseError::Refused(format!("{}: {what}", path.display())));
        }
        known.path = path;
        return case.save();
    }
    audit::note(case.dir(), "add", json!({"name": name, "path": path, "size": seal.size}))?;
    case.manifest.images.push(Evidence { name, path, seal, keys: Vec::new(), done: None, changed: Vec::new() });
    case.save()
}

/// Indexes the image at which `checkpoint` stands; gives the checkpoint behind it.
fn one(
    case: &mut Case,
    index: &tantivy::Index,
    checkpoint: Checkpoint,
    keys: &Keys,
    run: Run,
    watch: &dyn Watch,
) -> Result<Checkpoint, CaseError> {
    let number = checkpoint.image;
    let row = usize::try_from(number).unwrap_or(usize::MAX);
    let missing =
        || CaseError::Refused("the index knows more evidence than the manifest: the case is damaged".to_owned());
    let evidence = case.manifest.images.get(row).cloned().ok_or_else(missing)?;
    let opened = open(&evidence.path, &evidence.keys(keys))?;
    let image = opened.image.as_ref();
    let bare = image::original(image);
    let seal = Seal::take(bare);
    if let Some(what) = seal.differs_from(&evidence.seal) {
        let path = evidence.path.display();
        return Err(CaseError::Refused(format!("{path}: {what} since indexing began: index it into another case")));
    }
    if let Some(evidence) = case.manifest.images.get_mut(row).filter(|evidence| evidence.keys != opened.used) {
        evidence.keys.clone_from(&opened.used);
        case.save()?;
    }
    let past = case.manifest.options.past;
    let plan = pipeline::on_workers(run.power.threads, || plan::plan(View::whole(image), past))?;
    let first = checkpoint.units.unwrap_or(0);
    audit::note(case.dir(), "index", json!({"image": evidence.name, "units": plan.units.len(), "from": first}))?;
    let done = plan.units.iter().take(crate::bytes::index(first)).fold(0u64, |n, u| n.saturating_add(u.bytes()));
    watch.begin(&evidence.name, &plan, plan.bytes(), done);
    let mut scribe = Scribe {
        journal: Writer::open(&case.journal(), checkpoint.journal)?,
        index: index::Writer::new(index, run.power.threads)?,
        name: evidence.name.clone(),
        checkpoint,
        since: 0,
        every: run.checkpoint.max(1),
    };
    if checkpoint.units.is_none() {
        scribe.journal.append(&Record::Image(image_record(number, image, &plan)))?;
        scribe.checkpoint.units = Some(0);
        scribe.checkpoint.before = [checkpoint.journal.items, checkpoint.journal.faults];
    }
    let worker = Worker::new(View::whole(image), number, &plan.volumes, &plan.units, &case.manifest.options);
    let hashes = || seal::hashes(bare, &seal::algorithms(bare));
    let (hashes, outcome) = pipeline::beside(hashes, || {
        let first = crate::bytes::index(first);
        let take = |result| scribe.take(result);
        pipeline::run(image, &worker, &plan.units, first, run.power, watch.progress(), take)
    });
    outcome?;
    let hashes = hashes?;
    let changed = broken(&seal, bare, &hashes)?;
    let contradictions = seal::contradictions(image, &hashes);
    scribe.contradict(&worker, image.format(), plan.units.len(), &contradictions)?;
    let record = seal_record(number, image, &plan, &scribe, hashes, contradictions);
    // First the manifest: a run that is killed between the two does the image's end again, one that is killed with the
    // order reversed would never tell how it ended.
    if let Some(evidence) = case.manifest.images.get_mut(row) {
        evidence.done = Some(record.clone());
        evidence.changed.clone_from(&changed);
    }
    case.save()?;
    let checkpoint = scribe.finish(index, record)?;
    watch.end();
    if !changed.is_empty() {
        audit::note(case.dir(), "evidence changed", json!({"image": evidence.name, "how": changed}))?;
        let what = changed.join("; ");
        let hint = "nothing in this case can be relied on: protect the evidence from writing and index it anew";
        return Err(CaseError::Refused(format!("{}: CHANGED WHILE IT WAS INDEXED: {what}: {hint}", evidence.name)));
    }
    Ok(checkpoint)
}

/// How the evidence changed since its seal was taken.
fn broken(seal: &Seal, image: &dyn Image, hashes: &Hashes) -> Result<Vec<String>, CaseError> {
    let mut broken = seal.broken();
    if seal.needs_hash() && seal::hashes(image, &[Algorithm::Blake3])?.blake3 != hashes.blake3 {
        broken.push("its BLAKE3 is no longer what it was".to_owned());
    }
    Ok(broken)
}

fn image_record(number: u32, image: &dyn Image, plan: &Plan) -> ImageRecord {
    let volume = |found: &plan::Found| {
        let facts = found.file_system.as_ref().map(|(_, facts)| facts);
        VolumeRecord {
            number: found.volume.number,
            kind: found.volume.kind.name().to_owned(),
            offset: found.volume.first(),
            length: found.volume.size(),
            made_of: found.volume.parts.as_ref().map(|parts| parts.of.clone()).unwrap_or_default(),
            recognised: found.known.map(|known| known.name.to_owned()),
            type_name: found.volume.type_name.clone(),
            name: found.volume.name.clone(),
            of: found.volume.past.map(|(of, _)| of),
            made: found.volume.past.and_then(|(_, made)| made).map(|made| made.rfc3339()),
            file_system: facts.map(|f| f.name.clone()),
            label: facts.map(|f| f.label.clone()).unwrap_or_default(),
            id: facts.map(|f| f.id.clone()).unwrap_or_default(),
            cluster: facts.map(|f| f.cluster),
            remarks: found.remarks.clone(),
        }
    };
    let of_volumes = plan.volumes.iter().filter_map(|f| f.file_system.as_ref()).flat_map(|(_, facts)| &facts.faults);
    ImageRecord {
        image: number,
        size: image::original(image).size(),
        scheme: plan.layout.scheme.map(str::to_owned),
        sector: plan.layout.sector,
        volumes: plan.volumes.iter().map(volume).collect(),
        faults: plan.layout.faults.iter().chain(of_volumes).chain(&plan.faults).cloned().collect(),
        container: container_record(image),
    }
}

fn container_record(image: &dyn Image) -> Option<ContainerRecord> {
    let about = image.about();
    (*about != image::about::NOTHING).then(|| ContainerRecord {
        format: image.format().to_owned(),
        hashes: about.hashes.iter().map(|s| (s.algorithm.name().to_owned(), s.hex.clone())).collect(),
        facts: about.facts.clone(),
        remarks: about.remarks.clone(),
    })
}

fn seal_record(
    number: u32,
    image: &dyn Image,
    plan: &Plan,
    scribe: &Scribe,
    hashes: Hashes,
    contradictions: Vec<String>,
) -> SealRecord {
    let unreadable = image.unreadable();
    let (position, [items, faults]) = (scribe.journal.position(), scribe.checkpoint.before);
    SealRecord {
        image: number,
        blake3: hashes.blake3.unwrap_or_default(),
        sha256: hashes.sha256.unwrap_or_default(),
        items: position.items.saturating_sub(items),
        faults: position.faults.saturating_sub(faults),
        bytes: plan.space(&unreadable),
        unreadable: unreadable.iter().map(|e| [e.start, e.len]).collect(),
        contradictions,
    }
}

/// Writes what the line gives.
struct Scribe {
    journal: Writer,
    index: index::Writer,
    /// The evidence's name.
    name: String,
    checkpoint: Checkpoint,
    /// Bytes since the last checkpoint.
    since: u64,
    every: u64,
}

impl Scribe {
    fn take(&mut self, result: pipeline::Result) -> Result<(), CaseError> {
        let lease = Arc::new(result.lease);
        let mut texts: Vec<Vec<(u32, String)>> = Vec::new();
        texts.resize_with(result.done.items.len(), Vec::new);
        for text in result.done.texts {
            if let Some(of_item) = texts.get_mut(text.item) {
                of_item.push((text.part, text.body));
            }
        }
        for (item, texts) in result.done.items.into_iter().zip(texts) {
            let number = self.journal.position().items;
            let record = Record::Item(Box::new(item));
            let at = self.journal.append(&record)?;
            if let Record::Item(item) = &record {
                self.index.add(item, &self.name, number, at, texts, &lease)?;
            }
        }
        self.checkpoint.units = Some((result.unit as u64).saturating_add(1));
        self.since = self.since.saturating_add(result.bytes);
        if self.since >= self.every {
            self.since = 0;
            self.commit()?;
        }
        Ok(())
    }

    /// Writes an item for each contradiction that shows when everything was read, behind all units.
    fn contradict(
        &mut self,
        worker: &Worker<'_>,
        by: &str,
        units: usize,
        contradictions: &[String],
    ) -> Result<(), CaseError> {
        for (unit, what) in (units..).zip(contradictions) {
            let anomaly = Anomaly { sign: Fault::new(0, by, what), extents: Vec::new() };
            let task = Task::Anomaly(Box::new(anomaly));
            let done = worker.run(&Unit { volume: 0, start: 0, task, names: Vec::new() });
            self.take(pipeline::Result { unit, done, bytes: 0, lease: Budget::new(0).lease(0) })?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), CaseError> {
        self.journal.sync()?;
        self.checkpoint.journal = self.journal.position();
        Ok(self.index.commit(&self.checkpoint)?)
    }

    fn finish(mut self, index: &tantivy::Index, record: SealRecord) -> Result<Checkpoint, CaseError> {
        self.journal.append(&Record::Seal(record))?;
        self.checkpoint.image = self.checkpoint.image.saturating_add(1);
        self.checkpoint.units = None;
        self.commit()?;
        self.index.finish(index)?;
        Ok(self.checkpoint)
    }
}
