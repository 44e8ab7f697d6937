//! From an MFT record, with those that extend it, to the entries that it stands for: a file or directory under each of
//! its names, and each of its named streams.

use super::Ntfs;
use super::record::{Attribute, Record, kind};
use super::reparse::Reparse;
use super::times;
use super::tree::{FileName, ORPHANS, names};
use crate::bytes::{Fields, guid};
use crate::content::wof::Algorithm;
use crate::content::{Codec, Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Entry, EntryKind, Recovered};
use crate::text::Decimal;

/// The record of `$BadClus`.
pub(super) const BAD_CLUSTERS: u64 = 8;
/// The end of the name of a file that holds what a volume shadow copy keeps.
const SHADOW_STORE: &str = "{3808876b-c176-4e48-b7ae-04046e6cc752}";

/// A `$DATA` attribute, put together from its pieces.
struct Data {
    name: String,
    id: u16,
    stream: Stream,
    encrypted: bool,
    resident: bool,
    fault: Option<String>,
}

/// A piece of a `$DATA` attribute, with the attribute's name.
type Piece<'r> = (String, &'r Attribute<'r>);

/// All entries of a base record. `name` is used where the record has none; `path` finds where a name belongs.
pub(super) fn entries(
    ntfs: &Ntfs<'_>,
    record: &Record,
    name: Option<&FileName>,
    path: &dyn Fn(&FileName) -> String,
) -> Vec<Entry> {
    let extensions = ntfs.tree.extensions_of(&ntfs.mft, record);
    let attributes = attributes(record, &extensions);
    let reparse = attributes.iter().find(|a| a.kind == kind::REPARSE_POINT);
    let reparse = reparse.and_then(|a| Reparse::parse(a.value()?));
    let mut streams = data_attributes(ntfs, &attributes);
    if let Some(reparse) = reparse.as_ref().filter(|r| r.is_wof()) {
        lay_over(&mut streams, reparse.overlay);
    }
    if record.number == BAD_CLUSTERS {
        streams.iter_mut().for_each(keep_bad_clusters);
    }
    let mut names = names(attributes.iter().copied());
    if names.is_empty() {
        names.extend(name.cloned());
    }
    let mut draft = draft(ntfs, record, &attributes, names.first(), reparse);
    draft.linked = names.len() > 1;
    if names.is_empty() {
        return nameless(ntfs, record, &streams, draft);
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(names.len());
    for name in &names {
        let path = if record.number == 5 { "/".to_owned() } else { path(name) };
        let named = named(&draft, path, name, entries.first());
        at_path(ntfs, record, &streams, named, &mut entries);
        if streams.is_empty() && !record.directory && name.size > 0 && !record.in_use {
            lost_content(&mut entries, name.size);
        }
    }
    entries
}

/// The draft with what its name adds; `first` is the entry of the record's first name.
fn named(draft: &Entry, path: String, name: &FileName, first: Option<&Entry>) -> Entry {
    let mut named = Entry { path, name_times: times::of_name(name), ..draft.clone() };
    named.contradictions = times::contradictions(&named.times, &named.name_times);
    named.impossible = times::impossible(&named.times);
    if name.name.ends_with(SHADOW_STORE) {
        named.remark("the store of a volume shadow copy");
    }
    if let Some(first) = first.filter(|first| !first.allocated) {
        named.remark(&format!("another name of {}", first.path));
    }
    named
}

/// The entry of a name and those of its named streams.
fn at_path(ntfs: &Ntfs<'_>, record: &Record, streams: &[Data], mut main: Entry, entries: &mut Vec<Entry>) {
    let of_stream = |data: &Data| {
        let mut entry = Entry { path: format!("{}:{}", main.path, data.name), kind: EntryKind::Stream, ..main.clone() };
        entry.target = None;
        entry.contradictions.clear();
        entry.impossible.clear();
        fill(ntfs, record, &mut entry, data);
        entry
    };
    let named: Vec<Entry> = streams.iter().filter(|data| !data.name.is_empty()).map(of_stream).collect();
    match streams.iter().find(|data| data.name.is_empty()) {
        Some(data) if !record.directory => fill(ntfs, record, &mut main, data),
        _ => main.inode = address(record, 0, 0),
    }
    entries.push(main);
    entries.extend(named);
}

/// The address of an attribute: record, type and attribute id.
fn address(record: &Record, kind: u32, id: u16) -> String {
    let [number, kind, id] = [record.number, kind.into(), id.into()].map(Decimal::new);
    [&number, "-", &kind, "-", &id].concat()
}

/// A record without a name: listed where it still has content.
fn nameless(ntfs: &Ntfs<'_>, record: &Record, streams: &[Data], draft: Entry) -> Vec<Entry> {
    // Records 12 to 23 are reserved and in use without a name on every volume.
    if record.number < 24 || streams.iter().all(|d| d.stream.size == 0) {
        return Vec::new();
    }
    let mut entries = Vec::new();
    let path = format!("{ORPHANS}/OrphanFile-{}", record.number);
    at_path(ntfs, record, streams, Entry { path, ..draft }, &mut entries);
    entries
}

/// The record lost its `$DATA`, the name still tells how large it was.
fn lost_content(entries: &mut [Entry], size: u64) {
    if let Some(main) = entries.last_mut() {
        main.stream.size = size;
        main.recovered = Some(Recovered::NameOnly);
    }
}

/// All attributes of a record and of those that extend it.
fn attributes<'r>(record: &'r Record, extensions: &'r [Record]) -> Vec<Attribute<'r>> {
    std::iter::once(record).chain(extensions).flat_map(Record::attributes).collect()
}

/// What all entries of a record share; where they have their address, each tells itself.
fn draft(
    ntfs: &Ntfs<'_>,
    record: &Record,
    attributes: &[Attribute<'_>],
    name: Option<&FileName>,
    reparse: Option<Reparse>,
) -> Entry {
    let at = ntfs.mft.home(record);
    let kind = match &reparse {
        Some(r) if r.kind != EntryKind::File => r.kind,
        _ if record.directory => EntryKind::Directory,
        _ => EntryKind::File,
    };
    let mut entry = Entry::new(String::new(), kind, String::new(), at);
    entry.allocated = record.in_use;
    entry.times = times::standard(attributes, name);
    marks(attributes).iter().for_each(|mark| entry.remark(mark));
    if let Some(reparse) = reparse {
        entry.target = reparse.target;
        reparse.note.iter().for_each(|note| entry.remark(note));
    }
    if !record.in_use {
        entry.recovered = Some(Recovered::Intact);
    }
    if !record.sound {
        let what =
            format!("MFT record {}: it is marked as bad, or a sector was torn by an unfinished write", record.number);
        entry.faults.push(Fault::new(ntfs.mft.view.absolute(at), "ntfs", what));
    }
    entry
}

/// What else the attributes say of a file: its object id, and that it has keys of the Encrypting File System.
fn marks(attributes: &[Attribute<'_>]) -> Vec<String> {
    let mark = |a: &Attribute<'_>| match a.kind {
        kind::OBJECT_ID => a.value()?.array(0).map(|id| format!("object id {}", guid(id))),
        kind::LOGGED_UTILITY_STREAM if a.name() == "$EFS" => Some("encrypted by EFS, its keys are in $EFS".to_owned()),
        _ => None,
    };
    attributes.iter().filter_map(mark).collect()
}

/// Puts a stream into an entry, with what is left of it.
fn fill(ntfs: &Ntfs<'_>, record: &Record, entry: &mut Entry, data: &Data) {
    entry.inode = address(record, kind::DATA, data.id);
    entry.encrypted = data.encrypted;
    entry.stream = data.stream.clone();
    if let Some(what) = &data.fault {
        entry.faults.push(Fault::new(ntfs.mft.view.absolute(entry.at), "ntfs", what.clone()));
    }
    if !entry.allocated {
        let resident = data.resident || entry.stream.size == 0;
        entry.recovered = Some(if resident { Recovered::Intact } else { ntfs.bitmap.verdict(&entry.stream) });
    }
}

/// The stream of a record with the given name.
pub(super) fn stream(ntfs: &Ntfs<'_>, record: &Record, name: &str) -> Option<Stream> {
    let extensions = ntfs.tree.extensions_of(&ntfs.mft, record);
    data_attributes(ntfs, &attributes(record, &extensions))
        .into_iter()
        .find(|data| data.name == name)
        .map(|data| data.stream)
}

/// The `$DATA` attributes, unnamed first, pieces joined in the order of their clusters.
fn data_attributes(ntfs: &Ntfs<'_>, attributes: &[Attribute<'_>]) -> Vec<Data> {
    let data = attributes.iter().filter(|a| a.kind == kind::DATA);
    let mut pieces: Vec<Piece<'_>> = data.map(|a| (a.name(), a)).collect();
    pieces.sort_by(|(a, one), (b, other)| a.cmp(b).then(one.first_vcn().cmp(&other.first_vcn())));
    pieces.chunk_by(|(a, _), (b, _)| a == b).filter_map(|own| join(ntfs, own)).collect()
}

fn join(ntfs: &Ntfs<'_>, pieces: &[Piece<'_>]) -> Option<Data> {
    let (name, first) = pieces.first()?;
    let mut data = Data {
        name: name.clone(),
        id: first.id,
        stream: Stream::default(),
        encrypted: first.is_encrypted(),
        resident: first.is_resident(),
        fault: None,
    };
    if first.is_resident() {
        let (_, length) = first.value_place()?;
        data.stream = Stream::plain(ntfs.mft.resident_runs(first)?, length as u64);
        return Some(data);
    }
    let sizes = first.sizes().filter(|_| first.first_vcn() == Some(0));
    if sizes.is_none() {
        data.fault = Some("the first piece of its run list is missing".to_owned());
    }
    let sizes = sizes.unwrap_or_default();
    let cluster = ntfs.mft.boot.cluster;
    let mut runs: Vec<Run> = Vec::new();
    let mut covered = 0u64;
    for (_, piece) in pieces {
        if piece.first_vcn().and_then(|vcn| vcn.checked_mul(cluster)) != Some(covered) {
            data.fault = Some("a piece of its run list is missing".to_owned());
            break;
        }
        let (more, whole) = ntfs.mft.runs_of(piece);
        covered = more.iter().fold(covered, |sum, run| sum.saturating_add(run.len()));
        runs.extend(more);
        if !whole {
            data.fault = Some("its run list leads outside the volume".to_owned());
            break;
        }
    }
    let unit = cluster.checked_shl(first.unit_exponent()).filter(|_| first.unit_exponent() <= 16)?;
    let compressed = first.is_compressed() && first.unit_exponent() > 0;
    let codec = if compressed { Codec::Lznt1 { unit } } else { Codec::Plain };
    data.stream = Stream { size: sizes.real, runs, valid: sizes.initialised.min(sizes.real), codec };
    Some(data)
}

/// A file whose content the overlay filter keeps in another stream: its main stream is a hole that only tells the size.
fn lay_over(streams: &mut [Data], algorithm: Option<Algorithm>) {
    let kept = streams.iter().find(|d| d.name == "WofCompressedData" && d.stream.codec == Codec::Plain);
    let kept = kept.map(|d| (d.stream.clone(), d.resident));
    for data in streams.iter_mut().filter(|d| d.name.is_empty()) {
        let size = data.stream.size;
        data.stream = match (&kept, algorithm) {
            (Some((kept, resident)), Some(algorithm)) => {
                data.resident = *resident;
                let codec = Codec::Wof { algorithm, stored: kept.size };
                Stream { size, runs: kept.runs.clone(), valid: size, codec }
            }
            _ => {
                let what = "its content is kept by the Windows Overlay Filter in a way that is not read";
                data.fault = Some(what.to_owned());
                Stream { size, ..Stream::default() }
            }
        };
    }
}

/// `$BadClus:$Bad` is as large as the volume and all hole, but for the clusters that are bad: those are its content.
fn keep_bad_clusters(data: &mut Data) {
    data.stream.runs.retain(|run| matches!(run, Run::Data(_)));
    data.stream.size = stored(&data.stream).fold(0, |sum, extent| sum.saturating_add(extent.len));
    data.stream.valid = data.stream.size;
}

/// The runs of a stream that hold bytes.
pub(super) fn stored(stream: &Stream) -> impl Iterator<Item = Extent> + '_ {
    stream.runs.iter().filter_map(|run| match run {
        Run::Data(extent) => Some(*extent),
        Run::Hole(_) => None,
    })
}
