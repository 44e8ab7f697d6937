//! The full-text index: derived from the records and the text of the evidence, never the other way round.
//!
//! A document stands for a part of an item's text, with the item's fields beside it, so that one query may ask for both.
//! Bodies are not stored: a snippet is read again from the evidence. Each commit carries the [`Checkpoint`] that it
//! stands for, so that index and journal cannot disagree after a crash.

pub mod tokens;

use crate::artifact::Artifact;
use crate::pipeline::lease::Lease;
use crate::record::Position;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{
    DateOptions, Document, FAST, Field, INDEXED, IndexRecordOption, NumericOptions, STRING, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::{DateTime, Index, IndexWriter, TantivyDocument, TantivyError};

/// The index is merged into at most so many segments when a run ends: more cost search time, fewer cost the run.
const SEGMENTS: usize = 12;
/// Text that no lease holds back waits in tantivy's own queue of at most so many bytes a thread.
const THREAD_MEMORY: usize = 100 << 20;

/// The fields of a document.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Text, folded, with positions.
    pub text: Field,
    /// Words of path and members, folded, with positions.
    pub words: Field,
    /// Path and members as one term, in lower case.
    pub path: Field,
    /// Name as one term, in lower case.
    pub name: Field,
    /// Extension in lower case.
    pub ext: Field,
    /// Media type.
    pub mime: Field,
    /// Kind.
    pub kind: Field,
    /// Status.
    pub status: Field,
    /// Name of the evidence, in lower case.
    pub image: Field,
    /// Words of the author.
    pub author: Field,
    /// `id`, hashes: the first 64 bits of each.
    pub keys: [Field; 5],
    /// `true` or `false`.
    pub deleted: Field,
    /// `true` or `false`.
    pub allocated: Field,
    /// Size in bytes.
    pub size: Field,
    /// Time of the last change.
    pub mtime: Field,
    /// First byte on the disk.
    pub offset: Field,
    /// Number of the item in the case.
    pub item: Field,
    /// Number of the part of its text.
    pub part: Field,
    /// True for one document of each item: what lists and counts look at.
    pub head: Field,
    /// Where its record begins in the journal.
    pub record: Field,
}

/// Names of [`Fields::keys`], in their order.
pub const KEYS: [&str; 5] = ["id", "md5", "sha1", "sha256", "blake3"];

impl Fields {
    /// The fields of the schema; `None` where it is another version's.
    pub fn of(schema: &Schema) -> Option<Self> {
        let field = |name| schema.get_field(name).ok();
        let [id, md5, sha1, sha256, blake3] = KEYS.map(field);
        Some(Self {
            text: field("text")?,
            words: field("words")?,
            path: field("path")?,
            name: field("name")?,
            ext: field("ext")?,
            mime: field("mime")?,
            kind: field("kind")?,
            status: field("status")?,
            image: field("image")?,
            author: field("author")?,
            keys: [id?, md5?, sha1?, sha256?, blake3?],
            deleted: field("deleted")?,
            allocated: field("allocated")?,
            size: field("size")?,
            mtime: field("mtime")?,
            offset: field("offset")?,
            item: field("item")?,
            part: field("part")?,
            head: field("head")?,
            record: field("record")?,
        })
    }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let words = |record| {
        let indexing = TextFieldIndexing::default().set_tokenizer(tokens::NAME).set_index_option(record);
        TextOptions::default().set_indexing_options(indexing.set_fieldnorms(true))
    };
    for name in ["text", "words", "author"] {
        schema.add_text_field(name, words(IndexRecordOption::WithFreqsAndPositions));
    }
    for name in ["path", "name", "ext", "mime", "kind", "status", "image", "deleted", "allocated", "head"] {
        schema.add_text_field(name, STRING);
    }
    for name in KEYS {
        schema.add_u64_field(name, FAST);
    }
    let number = NumericOptions::from(INDEXED) | NumericOptions::from(FAST);
    for name in ["size", "offset", "item"] {
        schema.add_u64_field(name, number.clone());
    }
    schema.add_date_field("mtime", DateOptions::from(INDEXED) | DateOptions::from(FAST));
    for name in ["part", "record"] {
        schema.add_u64_field(name, FAST);
    }
    schema.build()
}

/// How far a case has come; the payload of every commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The image that is worked on.
    pub image: u32,
    /// Units of it that are done; its first record is written where this is `Some`.
    pub units: Option<u64>,
    /// Where the journal stands.
    pub journal: Position,
    /// Items and faults in the journal before this image.
    pub before: [u64; 2],
}

impl Checkpoint {
    /// Before the first image.
    pub const START: Self = Self { image: 0, units: None, journal: Position::START, before: [0; 2] };
}

/// Opens the index in `dir`, or makes one.
///
/// # Errors
/// Where it is damaged, another version's, or the disk does not let it be made.
pub fn open(dir: &Path) -> tantivy::Result<Index> {
    let index = if dir.join("meta.json").exists() {
        Index::open_in_dir(dir)?
    } else {
        std::fs::create_dir_all(dir)?;
        Index::create_in_dir(dir, schema())?
    };
    index.tokenizers().register(tokens::NAME, tokens::Tokens::default());
    Ok(index)
}

/// The fields of an open index.
///
/// # Errors
/// Where it was made by another version.
pub fn fields(index: &Index) -> tantivy::Result<Fields> {
    let other = || TantivyError::SchemaError("the index was made by another version of evidex".to_owned());
    Fields::of(&index.schema()).ok_or_else(other)
}

/// Where the last commit stands.
///
/// # Errors
/// Where the index cannot be read or its payload is not ours.
pub fn checkpoint(index: &Index) -> tantivy::Result<Checkpoint> {
    match index.load_metas()?.payload {
        None => Ok(Checkpoint::START),
        Some(payload) => serde_json::from_str(&payload)
            .map_err(|e| TantivyError::InvalidArgument(format!("the checkpoint cannot be read: {e}"))),
    }
}

/// Digits of an id or a hash that the index keeps: 64 bits tell the items of any case apart. They are a column of
/// numbers; as words, which share no beginnings, they would be half of the term dictionary.
const KEY_DIGITS: usize = 16;

/// The numbers of all keys that begin with the hexadecimal `digits`; `None` for what is no key.
pub fn key_range(digits: &str) -> Option<(u64, u64)> {
    let digits = digits.get(..digits.len().min(KEY_DIGITS)).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let from = u64::from_str_radix(&format!("{digits:0<KEY_DIGITS$}"), 16).ok()?;
    let free = KEY_DIGITS.saturating_sub(digits.len()).saturating_mul(4);
    let mask = u32::try_from(free).ok().and_then(|bits| u64::MAX.checked_shr(64u32.saturating_sub(bits))).unwrap_or(0);
    Some((from, from | mask))
}

/// A document that holds its lease until the index has taken it over.
struct Leased {
    document: TantivyDocument,
    lease: Option<Arc<Lease>>,
}

impl Document for Leased {
    type Value<'a> = <TantivyDocument as Document>::Value<'a>;
    type FieldsValuesIter<'a> = <TantivyDocument as Document>::FieldsValuesIter<'a>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        self.document.iter_fields_and_values()
    }

    fn into_tantivy_document(self) -> TantivyDocument {
        drop(self.lease);
        self.document
    }
}

/// Adds documents.
pub struct Writer {
    writer: IndexWriter<Leased>,
    fields: Fields,
}

impl Writer {
    /// Starts writing with so many threads.
    ///
    /// # Errors
    /// Where another writer is at work.
    pub fn new(index: &Index, threads: usize) -> tantivy::Result<Self> {
        let threads = threads.clamp(1, 8);
        let memory = THREAD_MEMORY.saturating_mul(threads);
        let writer = index.writer_with_num_threads(threads, memory)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Self { writer, fields: fields(index)? })
    }

    /// Adds an item (number `number`, record at `record`) with the parts of its text.
    ///
    /// # Errors
    /// Where the index cannot be written.
    pub fn add(
        &self,
        item: &Artifact,
        image: &str,
        number: u64,
        record: u64,
        texts: Vec<(u32, String)>,
        lease: &Arc<Lease>,
    ) -> tantivy::Result<()> {
        let mut texts = texts.into_iter();
        let (part, body) = texts.next().unwrap_or_default();
        self.add_part(item, image, number, record, (part, body, true), lease)?;
        for (part, body) in texts {
            self.add_part(item, image, number, record, (part, body, false), lease)?;
        }
        Ok(())
    }

    fn add_part(
        &self,
        item: &Artifact,
        image: &str,
        number: u64,
        record: u64,
        (part, body, head): (u32, String, bool),
        lease: &Arc<Lease>,
    ) -> tantivy::Result<()> {
        let f = &self.fields;
        let mut document = TantivyDocument::new();
        let way = std::iter::once(&item.path).chain(&item.members).cloned().collect::<Vec<_>>().join("!");
        document.add_text(f.words, &way);
        document.add_text(f.path, way.to_lowercase());
        document.add_text(f.name, item.name().to_lowercase());
        if let Some((_, ext)) = item.name().rsplit_once('.') {
            document.add_text(f.ext, ext.to_lowercase());
        }
        document.add_text(f.mime, &item.mime);
        document.add_text(f.kind, item.kind.name());
        document.add_text(f.status, item.status.name());
        document.add_text(f.image, image.to_lowercase());
        document.add_text(f.deleted, item.deleted.to_string());
        document.add_text(f.allocated, item.allocated.to_string());
        document.add_text(f.head, head.to_string());
        if let Some(author) = item.properties.get("author") {
            document.add_text(f.author, author);
        }
        let h = &item.hashes;
        for (field, key) in
            f.keys.iter().zip([Some(&item.id), h.md5.as_ref(), h.sha1.as_ref(), h.sha256.as_ref(), h.blake3.as_ref()])
        {
            if let Some((number, _)) = key.and_then(|key| key_range(key)) {
                document.add_u64(*field, number);
            }
        }
        document.add_u64(f.size, item.size);
        if let Some(seconds) = item.times.get("mtime").and_then(|t| seconds_of(t)) {
            document.add_date(f.mtime, DateTime::from_timestamp_secs(seconds));
        }
        if let Some(offset) = item.extents.iter().find_map(|s| s.offset) {
            document.add_u64(f.offset, offset);
        }
        document.add_u64(f.item, number);
        document.add_u64(f.part, part.into());
        document.add_u64(f.record, record);
        document.add_text(f.text, body);
        self.writer.add_document(Leased { document, lease: Some(Arc::clone(lease)) })?;
        Ok(())
    }

    /// Makes everything so far permanent, together with where the journal stands.
    ///
    /// # Errors
    /// Where the disk is full or gone.
    pub fn commit(&mut self, checkpoint: &Checkpoint) -> tantivy::Result<()> {
        let payload = serde_json::to_string(checkpoint).map_err(|e| TantivyError::InternalError(e.to_string()))?;
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(&payload);
        commit.commit()?;
        Ok(())
    }

    /// Merges what are many segments into few, and ends.
    ///
    /// # Errors
    /// Where the disk is full or gone.
    pub fn finish(mut self, index: &Index) -> tantivy::Result<()> {
        let mut metas = index.searchable_segment_metas()?;
        if metas.len() > SEGMENTS {
            // The smallest are merged: it costs least, and the large ones are as good as merged.
            metas.sort_by_key(tantivy::SegmentMeta::num_docs);
            let surplus = metas.len().saturating_sub(SEGMENTS).saturating_add(1);
            let ids: Vec<_> = metas.iter().take(surplus).map(tantivy::SegmentMeta::id).collect();
            self.writer.merge(&ids).wait()?;
        }
        self.writer.wait_merging_threads()
    }
}

/// Seconds since 1970 of a time as records keep it; `None` beyond what the index can hold.
fn seconds_of(time: &str) -> Option<i64> {
    use time::format_description::well_known::Rfc3339;
    let zoned = if time.ends_with('Z') { time.to_owned() } else { format!("{time}Z") };
    let seconds = time::OffsetDateTime::parse(&zoned, &Rfc3339).ok()?.unix_timestamp();
    // tantivy counts nanoseconds in 64 bits: 1677 to 2262.
    (-9_200_000_000..9_200_000_000).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_range_as_wide_as_what_is_left_open() {
        assert_eq!(key_range("00ff"), Some((0x00ff_0000_0000_0000, 0x00ff_ffff_ffff_ffff)));
        assert_eq!(key_range("0123456789abcdef0123"), Some((0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef)));
        assert_eq!(key_range(""), Some((0, u64::MAX)));
        assert_eq!(key_range("xyz"), None);
    }
}
