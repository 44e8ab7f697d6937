//! What the line says of one item: the one form in which it travels from the workers to the case, and is written.
//!
//! Nothing in it depends on the machine, the number of threads, the run, or where the evidence lies: its serialised
//! form is what the case digest is made of. The evidence is named by its number in the case.

use crate::content::{Codec, Content, Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Certainty, Entry, EntryKind};
use crate::hash::Hashes;
use crate::image::View;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named stream of a file.
    Stream,
    /// A member of an archive or document.
    Member,
    /// A file that was attached to a message.
    Attachment,
    /// A file found by its structure in space that belongs to nothing.
    Carved,
    /// The allocated bytes behind a file's end.
    Slack,
    /// A window of space that belongs to nothing.
    Unallocated,
    /// A device, socket or pipe.
    Special,
    /// Where the evidence contradicts itself.
    Anomaly,
}

impl Kind {
    /// Its name in JSON and in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Stream => "stream",
            Self::Member => "member",
            Self::Attachment => "attachment",
            Self::Carved => "carved",
            Self::Slack => "slack",
            Self::Unallocated => "unallocated",
            Self::Special => "special",
            Self::Anomaly => "anomaly",
        }
    }
}

/// How far the content could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Whole.
    #[default]
    Ok,
    /// It is encrypted.
    Encrypted,
    /// Some of it is damaged.
    Damaged,
    /// It ends before it should.
    Truncated,
    /// It was left out; the note says why.
    Skipped,
}

impl Status {
    /// Its name in JSON and in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Encrypted => "encrypted",
            Self::Damaged => "damaged",
            Self::Truncated => "truncated",
            Self::Skipped => "skipped",
        }
    }
}

/// A stretch of the evidence, or of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First byte; `None` for a hole.
    pub offset: Option<u64>,
    /// Length in bytes.
    pub length: u64,
    /// How sure it is that it belongs to the item, where the metadata does not say so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certainty: Option<Certainty>,
}

/// One item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name for ever: the same for the same evidence.
    pub id: String,
    /// Number of the evidence in the case, from 0.
    pub image: u32,
    /// Number of the volume.
    pub volume: u32,
    /// Path from the root of the volume.
    pub path: String,
    /// Names of the members on the way, outermost first; empty for what is no member.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub members: Vec<String>,
    /// The same way as numbers: which member of its holder, from 0.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub steps: Vec<u32>,
    /// What it is.
    pub kind: Kind,
    /// In use by the file system.
    pub allocated: bool,
    /// Deleted, and still named by the file system.
    pub deleted: bool,
    /// For deleted items: `intact`, `partial`, `overwritten` or `name-only`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovered: Option<String>,
    /// Where its metadata was found, if not in the file system's tables: `slack`, `journal`, `change-log`, `unallocated`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Media type by content.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub mime: String,
    /// True where the name promises something else.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub extension_mismatch: bool,
    /// Hashes.
    #[serde(flatten)]
    pub hashes: Hashes,
    /// Times by name (`btime`, `mtime` …), RFC 3339; beside each, where they apply, `…_zone` and `…_precision`.
    #[serde(flatten)]
    pub times: BTreeMap<String, String>,
    /// Address of the metadata in the file system.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inode: Option<String>,
    /// The holder's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<String>,
    /// Where the bytes lie in the evidence, in order. Of a member: where its holder's do, unless it is stored as such.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub extents: Vec<Span>,
    /// How the bytes in its extents are stored, if not as they are.
    #[serde(skip_serializing_if = "is_plain", default)]
    pub codec: Codec,
    /// Bytes behind this offset read as zeros.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub valid: Option<u64>,
    /// Target of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// What the content says about itself (`title`, `author` …), and what the file system does: `mode`, `uid`, attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub properties: BTreeMap<String, String>,
    /// How many parts its text has in the index.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub text_parts: u32,
    /// How far it could be read.
    pub status: Status,
    /// A remark for the reader.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Times and sizes that cannot be, or contradict each other.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contradictions: Vec<String>,
    /// What is damaged.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Fault>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_plain(codec: &Codec) -> bool {
    *codec == Codec::Plain
}

impl Artifact {
    /// An item of which nothing is known but where it stands.
    pub fn new(image: u32, volume: u32, path: String, kind: Kind, at: u64) -> Self {
        Self {
            id: id_of(&[
                &image.to_le_bytes(),
                &volume.to_le_bytes(),
                path.as_bytes(),
                &at.to_le_bytes(),
                kind.name().as_bytes(),
            ]),
            image,
            volume,
            path,
            members: Vec::new(),
            steps: Vec::new(),
            kind,
            allocated: false,
            deleted: false,
            recovered: None,
            origin: None,
            size: 0,
            mime: String::new(),
            extension_mismatch: false,
            hashes: Hashes::default(),
            times: BTreeMap::new(),
            inode: None,
            parent: None,
            extents: Vec::new(),
            codec: Codec::Plain,
            valid: None,
            target: None,
            properties: BTreeMap::new(),
            text_parts: 0,
            status: Status::Ok,
            note: None,
            contradictions: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What a file system's entry says.
    pub fn of_entry(image: u32, volume: u32, entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::File => Kind::File,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::Stream => Kind::Stream,
            EntryKind::Special => Kind::Special,
        };
        let mut item = Self::new(image, volume, entry.path.clone(), kind, entry.at);
        item.allocated = entry.allocated;
        item.deleted = !entry.allocated;
        item.recovered = entry.recovered.map(|r| r.name().to_owned());
        item.size = entry.stream.size;
        item.inode = Some(entry.inode.clone());
        item.target.clone_from(&entry.target);
        item.note.clone_from(&entry.note);
        item.faults.clone_from(&entry.faults);
        item.origin = entry.origin.name().map(str::to_owned);
        item.properties.extend(entry.attributes.iter().cloned());
        if let Some(access) = entry.access {
            let numbers = [("mode", format!("{:06o}", access.mode)), ("uid", access.uid.to_string())];
            item.properties.extend(numbers.map(|(name, value)| (name.to_owned(), value)));
            item.properties.insert("gid".to_owned(), access.gid.to_string());
        }
        item.contradictions = entry.contradictions.iter().chain(&entry.impossible).cloned().collect();
        let (t, n) = (&entry.times, &entry.name_times);
        for (name, time) in [
            ("btime", t.btime),
            ("mtime", t.mtime),
            ("ctime", t.ctime),
            ("atime", t.atime),
            ("dtime", t.dtime),
            ("name_btime", n.btime),
            ("name_mtime", n.mtime),
            ("name_ctime", n.ctime),
            ("name_atime", n.atime),
        ] {
            item.set_time(name, time);
        }
        item
    }

    /// What cannot be about this item, as an item of its own.
    pub fn anomaly(&self, what: &str) -> Self {
        let mut item = Self::new(self.image, self.volume, format!("{}:$ANOMALY", self.path), Kind::Anomaly, 0);
        item.id = id_of(&[self.id.as_bytes(), what.as_bytes()]);
        item.parent = Some(self.id.clone());
        (item.allocated, item.deleted) = (self.allocated, self.deleted);
        item.note = Some(what.to_owned());
        item
    }

    /// A member of this item, the `step`-th, called `name`.
    pub fn member(&self, step: u32, name: &str, kind: Kind) -> Self {
        let mut item = Self::new(self.image, self.volume, self.path.clone(), kind, 0);
        item.id = id_of(&[self.id.as_bytes(), &step.to_le_bytes(), name.as_bytes()]);
        item.members = self.members.iter().cloned().chain([name.to_owned()]).collect();
        item.steps = self.steps.iter().copied().chain([step]).collect();
        item.parent = Some(self.id.clone());
        item.allocated = self.allocated;
        item.deleted = self.deleted;
        item
    }

    /// Sets a time by its name.
    pub fn set_time(&mut self, name: &str, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.times.insert(name.to_owned(), time.rfc3339());
        if time.local {
            self.times.insert(format!("{name}_zone"), "local".to_owned());
        }
        if let Some(precision) = time.coarse() {
            self.times.insert(format!("{name}_precision"), precision.to_owned());
        }
    }

    /// Notes where the content lies.
    pub fn set_place(&mut self, content: &Content<'_>, stream: Option<&Stream>) {
        let spans = content.extents().unwrap_or_default();
        self.extents = spans.into_iter().map(|(offset, length)| Span { offset, length, certainty: None }).collect();
        if let Some(stream) = stream {
            self.valid = (stream.valid < stream.size).then_some(stream.valid);
            self.codec.clone_from(&stream.codec);
        }
    }

    /// Notes how sure each stretch of the content is; cuts extents where that changes.
    pub fn set_certainty(&mut self, stretches: &[(u64, Certainty)]) {
        let mut marks = stretches.iter().copied().filter(|(length, _)| *length > 0);
        let mut mark = marks.next();
        let mut cut = Vec::with_capacity(self.extents.len());
        for mut span in std::mem::take(&mut self.extents) {
            while let Some((left, certainty)) = mark
                && span.length > 0
            {
                let length = span.length.min(left);
                cut.push(Span { length, certainty: Some(certainty), ..span });
                span.offset = span.offset.map(|at| at.saturating_add(length));
                span.length = span.length.saturating_sub(length);
                mark = if length < left { Some((left.saturating_sub(length), certainty)) } else { marks.next() };
            }
            if span.length > 0 {
                cut.push(span);
            }
        }
        self.extents = cut;
    }

    /// The content again, out of what is noted here; not for members whose bytes are decoded.
    pub fn content<'a>(&self, disk: View<'a>) -> Content<'a> {
        let run = |span: &Span| match span.offset {
            Some(offset) => Run::Data(Extent::new(offset, span.length)),
            None => Run::Hole(span.length),
        };
        let (size, valid) = (self.size, self.valid.unwrap_or(self.size));
        Content::of(
            disk,
            Stream { size, runs: self.extents.iter().map(run).collect(), valid, codec: self.codec.clone() },
        )
    }

    /// The last part of its path, or of its members.
    pub fn name(&self) -> &str {
        let path = self.members.last().unwrap_or(&self.path);
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        if name.is_empty() { path } else { name }
    }

    /// Marks it as not read whole: the first reason stays.
    pub fn degrade(&mut self, status: Status) {
        if self.status == Status::Ok {
            self.status = status;
        }
    }
}

/// 80 bits of BLAKE3 over the parts, each with its length before it.
fn id_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    crate::bytes::hex(hasher.finalize().as_bytes().first_chunk::<10>().unwrap_or(&[0; 10]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::wof::Algorithm;

    #[test]
    fn compressed_content_is_derived_again() -> Result<(), Box<dyn std::error::Error>> {
        // One chunk, stored: the table before it is empty.
        let image = crate::image::raw::of_bytes(b"..hello")?;
        let view = View::whole(image.as_ref());
        let codec = Codec::Wof { algorithm: Algorithm::Lzx, stored: 5 };
        let stream = Stream { size: 5, runs: vec![Run::Data(Extent::new(2, 5))], valid: 5, codec };
        let mut item = Artifact::new(0, 0, "/a".to_owned(), Kind::File, 0);
        item.size = stream.size;
        item.set_place(&Content::new(view, &stream), Some(&stream));
        let json = serde_json::to_string(&item)?;
        assert!(json.contains(r#""codec":{"wof":{"algorithm":"lzx","stored":5}}"#), "{json}");
        let again: Artifact = serde_json::from_str(&json)?;
        assert_eq!(again.content(view).prefix(9).as_ref(), b"hello");
        Ok(())
    }
}
