//! The image that a volume holds, with all that its map names; what is in other volumes is looked for beside it.

use super::hashes::Hashes;
use super::lexicon::{self, Symbol, all, is_a, number, symbol};
use super::map::{self, Stretch, Target};
use super::stream::{Shape, Stream};
use super::sums::Sum;
use super::tables::Tables;
use super::turtle::Graph;
use super::volume::{self, Volume, unescaped};
use super::zip::{self, Member};
use crate::image::ImageError;
use crate::image::about::About;
use crate::image::chunks::MAX_GRAIN;
use crate::image::file::{Source, unfit};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most that a map takes: some nine million stretches.
const MAX_MAP: u64 = 256 << 20;
/// Streams that one map names.
const MAX_TARGETS: usize = 1 << 16;
/// Files beside the volume that are looked at for what is missing.
const MAX_BESIDE: usize = 4096;

/// An image.
pub(super) struct Found {
    pub(super) stretches: Vec<Stretch>,
    pub(super) targets: Vec<Target>,
    pub(super) streams: Vec<Stream>,
    pub(super) gap: Symbol,
    pub(super) size: u64,
    pub(super) sure: bool,
    pub(super) files: Vec<Source>,
    pub(super) about: About,
    pub(super) hashes: Hashes,
}

/// The stretches of a map, and the streams that it names.
type Mapped = (Vec<Stretch>, Vec<String>);

/// All volumes that were read, as one.
struct Set {
    graph: Graph,
    members: BTreeMap<String, Member>,
    files: Vec<Source>,
    about: About,
    sure: bool,
    volumes: Vec<PathBuf>,
    tables: Arc<Tables>,
}

/// Finds the image of the volume at `path`.
///
/// # Errors
/// Where it has none that can be read, or what its map names is not there.
pub(super) fn image(path: &Path, volume: Volume, files: Vec<Source>, mut about: About) -> Result<Found, ImageError> {
    let Volume { uri, members, graph, sure, version } = volume;
    let said = |name: &str| version.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
    let standard = match (said("major"), said("minor")) {
        ("", _) => "AFF4, of a version that it does not say".to_owned(),
        (major, minor) => format!("AFF4, version {major}.{minor}"),
    };
    about.fact("container", standard);
    about.fact("volume", uri);
    about.fact("acquired with", said("tool"));
    let known = |about: &About, name: &str| about.facts.iter().any(|(n, _)| n == name);
    for (name, value) in lexicon::facts(&graph) {
        if !known(&about, name) {
            about.fact(name, value);
        }
    }
    let mut set = Set { graph, members, files, about, sure, volumes: vec![path.to_owned()], tables: Arc::default() };
    let (image, stream) = set.chosen(path)?;
    let mut found = match set.map_of(path, &stream)? {
        Some((stretches, targets)) => set.mapped(path, &stream, stretches, targets)?,
        None => set.direct(path, &stream)?,
    };
    let said = number(&set.graph, &stream, lexicon::SIZE).or_else(|| number(&set.graph, &image, lexicon::SIZE));
    let end = map::end(&found.stretches);
    found.size = said.unwrap_or(end);
    if said.is_none() {
        set.about.fault("does not say how large its disk is: it is taken to end with its map");
    } else if found.size < end {
        set.about
            .fault(format!("its map goes on for {} bytes behind the end of the disk", end.saturating_sub(found.size)));
    }
    set.told(&image, &stream, &mut found);
    found.hashes = Hashes::of(&set.graph, &image, &stream, &found.streams, &found.stretches, &found.targets);
    Ok(Found { files: set.files, about: set.about, sure: set.sure, ..found })
}

impl Set {
    /// The image, and the map or the stream that holds its bytes.
    fn chosen(&mut self, path: &Path) -> Result<(String, String), ImageError> {
        let graph = &self.graph;
        let is_data = |subject: &str| is_a(graph, subject, lexicon::MAP) || is_a(graph, subject, lexicon::STREAM);
        let data = |subject: &str| {
            let named = all(graph, subject, &["dataStream"]).map(|object| object.text.clone());
            let named: Vec<String> = named.filter(|uri| is_data(uri)).collect();
            // A map tells more than the stream that it is made of.
            let map = named.iter().find(|uri| is_a(graph, uri, lexicon::MAP)).or(named.first()).cloned();
            map.or_else(|| is_data(subject).then(|| subject.to_owned()))
        };
        let is_file = |subject: &&str| is_a(graph, subject, lexicon::LOGICAL);
        let disks = graph.subjects().filter(|subject| is_a(graph, subject, lexicon::IMAGE) && !is_file(subject));
        let mut images: Vec<(String, String)> =
            disks.filter_map(|image| Some((image.to_owned(), data(image)?))).collect();
        if images.is_empty() && !graph.subjects().any(|subject| is_file(&subject)) {
            // Some writers say nothing of an image: its map is there, or its only stream.
            for classes in [lexicon::MAP, lexicon::STREAM] {
                let mut all = graph.subjects().filter(|subject| is_a(graph, subject, classes));
                if let Some(only) = all.next().filter(|_| images.is_empty() && all.next().is_none()) {
                    images.push((only.to_owned(), only.to_owned()));
                }
            }
        }
        // Disks go before what has no such class.
        images.sort_by_key(|(image, _)| !is_a(graph, image, &["DiskImage", "VolumeImage"]));
        let refused = |what: &str, hint| Err(unfit(path, what, hint));
        let export = "export its files with the program that made it, and name their folder";
        match images.first() {
            Some(_) => {}
            None if graph.subjects().any(|s| is_a(graph, s, &["EncryptedStream"])) => {
                return refused("is an encrypted volume of AFF4", "decrypt it with the program that made it");
            }
            None if graph.subjects().any(|s| is_file(&s)) => {
                return refused("is logical evidence (AFF4-L): it holds single files, not a disk", export);
            }
            None => return refused("is a volume of AFF4 without an image that its metadata names", export),
        }
        let others: Vec<String> = images.iter().skip(1).map(|(image, _)| image.clone()).collect();
        let (first, files) = (images.swap_remove(0), graph.subjects().any(|s| is_file(&s)));
        if !others.is_empty() {
            self.about.fault(format!("holds other images, too, which are not read: {}", others.join(", ")));
        }
        if files {
            self.about.fault("holds logical evidence (single files), too, which is not read");
        }
        Ok(first)
    }

    /// All of a member that has to be there.
    fn segment(&mut self, path: &Path, uri: &str) -> Result<Vec<u8>, ImageError> {
        let member = self.members.get(&unescaped(uri));
        let source = member.and_then(|member| self.files.get(member.file));
        let content = member.zip(source).and_then(|(member, source)| zip::content(member, source, MAX_MAP));
        let Some((bytes, holds)) = content else {
            let what = format!("its member {uri} is missing, or cannot be unpacked");
            return Err(unfit(path, what, "its map is damaged beyond use: make a new copy"));
        };
        if !holds {
            self.sure = false;
            self.about.fault(format!("{uri}: its checksum does not hold: all that it places counts as unreadable"));
        }
        Ok(bytes)
    }

    /// The stretches and the targets of a map; `None` where `uri` is none.
    fn map_of(&mut self, path: &Path, uri: &str) -> Result<Option<Mapped>, ImageError> {
        if !is_a(&self.graph, uri, lexicon::MAP) {
            return Ok(None);
        }
        let swapped = self.graph.types(uri).any(|class| class == "http://aff4.org/Schema#map");
        let targets = map::targets(&self.segment(path, &format!("{uri}/idx"))?);
        if targets.len() > MAX_TARGETS {
            return Err(unfit(
                path,
                format!("has a map of {} streams", targets.len()),
                "it is damaged, or made to deceive",
            ));
        }
        let bytes = self.segment(path, &format!("{uri}/map"))?;
        for (what, parts) in [("mapPointHash", "map"), ("mapIdxHash", "idx"), ("mapPathHash", "mapPath")] {
            self.map_hash(uri, what, parts);
        }
        let stretches = map::read(&bytes, swapped, &mut self.about);
        self.about.fact("map", map::summary(&stretches));
        Ok(Some((stretches, targets)))
    }

    /// Checks the hash of a segment of a map.
    fn map_hash(&mut self, uri: &str, what: &'static str, part: &str) {
        let member = self.members.get(&format!("{}/{part}", unescaped(uri)));
        let content = member.and_then(|member| zip::content(member, self.files.get(member.file)?, MAX_MAP));
        let differs = all(&self.graph, uri, &[what]).any(|said| {
            let sum = said.datatype.as_deref().and_then(lexicon::term).and_then(Sum::named);
            sum.is_some_and(|sum| content.as_ref().is_none_or(|(bytes, _)| !sum.holds(&[bytes], &said.text)))
        });
        if differs {
            self.sure = false;
            self.about.fault(format!(
                "{uri}/{part}: the hash that is kept of it does not hold: all that it places counts as unreadable"
            ));
        }
    }

    /// An image of a map.
    fn mapped(
        &mut self,
        path: &Path,
        uri: &str,
        stretches: Vec<Stretch>,
        names: Vec<String>,
    ) -> Result<Found, ImageError> {
        let gap = all(&self.graph, uri, &["mapGapDefaultStream"]).next().map(|object| object.text.clone());
        let gap = gap.map_or(Some(Symbol::Byte(0)), |uri| symbol(&uri)).unwrap_or(Symbol::Unknown);
        let mut used: Vec<bool> = names.iter().map(|_| false).collect();
        stretches.iter().for_each(|s| used.get_mut(s.target).into_iter().for_each(|used| *used = true));
        let wanted = names.iter().zip(&used).filter(|(_, used)| **used).map(|(name, _)| name);
        let wanted: Vec<&String> = wanted.collect::<BTreeSet<_>>().into_iter().collect();
        self.complete(path, &wanted)?;
        let (mut targets, mut streams) = (Vec::new(), Vec::new());
        // A stream that the list has more than once is read once.
        let mut known: HashMap<String, Target> = HashMap::new();
        for (name, used) in names.iter().zip(used) {
            targets.push(match symbol(name) {
                Some(symbol) => Target::Symbol(symbol),
                None if !used => Target::None,
                None => match known.get(&unescaped(name)) {
                    Some(target) => *target,
                    None => {
                        let target = self.target(path, name, &mut streams)?;
                        known.insert(unescaped(name), target);
                        target
                    }
                },
            });
        }
        let unnamed = stretches.iter().filter(|stretch| stretch.target >= targets.len()).count();
        if unnamed > 0 {
            self.about.fault(format!("{unnamed} entries of its map name streams that its list does not have"));
        }
        let missing = map::missing(&stretches, &names);
        let words = ["were not acquired (UnknownData)", "could not be read when it was acquired (UnreadableData)"];
        for (bytes, what) in missing.into_iter().zip(words).filter(|(bytes, _)| *bytes > 0) {
            self.about.remark(format!("{bytes} bytes of the disk {what}: they count as unreadable"));
        }
        Ok(Found { stretches, targets, streams, gap, ..self.nothing() })
    }

    fn target(&mut self, path: &Path, name: &str, streams: &mut Vec<Stream>) -> Result<Target, ImageError> {
        let stream = if is_a(&self.graph, name, lexicon::STREAM) {
            Some(self.stream(path, name)?)
        } else {
            let member = self.members.get(&unescaped(name)).cloned();
            // A member that is packed has to be unpacked as a whole.
            let fits = |member: &Member| !member.deflated || member.size <= MAX_GRAIN;
            member.filter(fits).map(|member| Stream::of_member(name, member, &self.tables))
        };
        let Some(stream) = stream else {
            self.about.fault(format!("{name}: is a map, or packed as a whole with more than 64 MiB, and is not read"));
            return Ok(Target::None);
        };
        streams.push(stream);
        Ok(Target::Stream(streams.len().saturating_sub(1)))
    }

    /// An image of one stream, without a map.
    fn direct(&mut self, path: &Path, uri: &str) -> Result<Found, ImageError> {
        self.complete(path, &[&uri.to_owned()])?;
        let stream = self.stream(path, uri)?;
        let extent = crate::extent::Extent::new(0, stream.size);
        let stretches = vec![Stretch { extent, target: 0, at: 0 }];
        let (targets, streams) = (vec![Target::Stream(0)], vec![stream]);
        Ok(Found { stretches, targets, streams, ..self.nothing() })
    }

    fn nothing(&self) -> Found {
        Found {
            stretches: Vec::new(),
            targets: Vec::new(),
            streams: Vec::new(),
            gap: Symbol::Byte(0),
            size: 0,
            sure: true,
            files: Vec::new(),
            about: About::default(),
            hashes: Hashes::default(),
        }
    }

    /// A stream with the bevies that are there.
    fn stream(&mut self, path: &Path, uri: &str) -> Result<Stream, ImageError> {
        let graph = &self.graph;
        let of = |predicates| number(graph, uri, predicates);
        let damaged = |what: String| unfit(path, what, "its metadata is damaged: make a new copy");
        let chunk = of(lexicon::CHUNK).filter(|chunk| (1..=MAX_GRAIN).contains(chunk));
        let per_bevy = of(lexicon::CHUNKS).filter(|count| (1..=1 << 32).contains(count));
        let (Some(chunk), Some(per_bevy)) = (chunk, per_bevy) else {
            return Err(damaged(format!("{uri} does not say how large its chunks are, or says what none is")));
        };
        let method = |name| format!("{uri} is packed with {name}, which is not known");
        let codec = lexicon::compression(graph, uri).map_err(|name| damaged(method(name)))?;
        let old = graph
            .types(uri)
            .any(|class| class == "http://afflib.org/2009/aff4#stream" || class == "http://aff4.org/Schema#image");
        let size = of(lexicon::SIZE);
        let stream = Stream::new(uri, Shape { chunk, per_bevy, codec, old }, size, &self.members, &self.tables);
        if size.is_none() {
            self.about.fault(format!("{uri} does not say how many bytes it holds: its acquisition broke off"));
        }
        let missing = stream.count().saturating_sub(stream.there());
        if missing > 0 {
            let all = stream.count();
            self.about
                .fault(format!("{missing} of the {all} bevies of {uri} are missing: what they held is unreadable"));
        }
        Ok(stream)
    }

    /// Looks for what is missing in the volumes beside the first.
    fn complete(&mut self, path: &Path, wanted: &[&String]) -> Result<(), ImageError> {
        let is_there = |set: &Self, uri: &str| {
            let uri = unescaped(uri);
            let bevy = || set.members.contains_key(&format!("{uri}/00000000"));
            // A striped volume says that the streams of the others are, and no more.
            let sized = number(&set.graph, &uri, lexicon::CHUNK).is_some() && is_a(&set.graph, &uri, lexicon::STREAM);
            symbol(&uri).is_some()
                || set.members.contains_key(&uri)
                || bevy()
                || (sized && set.volumes.len() > 1)
                || is_a(&set.graph, &uri, lexicon::MAP)
                || (sized && number(&set.graph, &uri, lexicon::SIZE) == Some(0))
        };
        let missing = |set: &Self| wanted.iter().find(|uri| !is_there(set, uri)).map(|uri| (*uri).clone());
        let Some(mut uri) = missing(self) else { return Ok(()) };
        for beside in beside(path) {
            let (mut files, mut about) = (Vec::new(), About::default());
            let first = self.files.len();
            let Ok(Some(volume)) = volume::read(&beside, &mut files, &mut about) else { continue };
            let holds = |uri: &String| {
                let uri = unescaped(uri);
                volume.members.contains_key(&uri) || volume.members.contains_key(&format!("{uri}/00000000"))
            };
            if !wanted.iter().any(|uri| !is_there(self, uri) && holds(uri)) {
                continue;
            }
            about.faults.iter().for_each(|what| self.about.fault(format!("{}: {what}", volume.uri)));
            self.about.fact("volume", volume.uri);
            self.sure &= volume.sure;
            self.graph.merge(volume.graph);
            for (uri, mut member) in volume.members {
                member.file = member.file.saturating_add(first);
                self.members.entry(uri).or_insert(member);
            }
            self.files.append(&mut files);
            self.volumes.push(beside);
            match missing(self) {
                None => return Ok(()),
                Some(next) => uri = next,
            }
        }
        let stored = all(&self.graph, &uri, &["stored"]).next().map(|object| format!(" (in volume {})", object.text));
        let what =
            format!("its stream {uri}{} is in another volume, which is not beside it", stored.unwrap_or_default());
        Err(unfit(path, what, "put all volumes of the image into one folder"))
    }

    /// What else has to be said of the image.
    fn told(&mut self, image: &str, stream: &str, found: &mut Found) {
        let gaps = map::gaps(&found.stretches, found.size);
        let contiguous = is_a(&self.graph, image, &["ContiguousImage", "DiskImage"])
            && !is_a(&self.graph, image, &["DiscontiguousImage"])
            && all(&self.graph, stream, &["mapGapDefaultStream"]).next().is_none();
        if gaps > 0 && contiguous {
            self.about.fault(format!("its map leaves out {gaps} bytes of the disk, which are taken as zeros"));
        }
    }
}

/// The volumes beside one, by their names.
fn beside(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_part = |beside: &PathBuf| {
        let stem = beside.file_stem().map(Path::new).unwrap_or(Path::new(""));
        // Parts of one volume after another are named disk.aff4, disk.aff4.1 …
        let numbered =
            volume::is_named(stem) && beside.extension().is_some_and(|e| e.to_string_lossy().parse::<u32>().is_ok());
        (volume::is_named(beside) || numbered) && beside.file_name() != path.file_name()
    };
    let mut found: Vec<PathBuf> = entries.filter(is_part).collect();
    found.sort();
    found.truncate(MAX_BESIDE);
    found
}
