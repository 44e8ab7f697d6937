//! Searching a case: a query goes to the index, what it names is read again from the evidence.

pub mod bound;
pub mod compile;
pub mod hits;
pub mod query;

use crate::artifact::Artifact;
use crate::case::{Case, CaseError};
use crate::content::Content;
use crate::image::{self, Image, View};
use crate::index::{self, Fields};
use crate::record::Reader;
use crate::work::derive;
use query::Query;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// In which order results come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Best first.
    #[default]
    Score,
    /// By path.
    Path,
    /// Largest first.
    Size,
    /// Latest first.
    Mtime,
    /// By place on the disk.
    Offset,
    /// As they stand in the journal.
    Item,
}

/// An item that a query found.
#[derive(Clone, Debug)]
pub struct Match {
    /// The item.
    pub item: Artifact,
    /// How well it fits.
    pub score: f32,
    /// The parts of its text that were found, in order.
    pub parts: Vec<u32>,
}

/// What a query found.
pub struct Page {
    /// How many items in all.
    pub total: usize,
    /// Those that were asked for.
    pub matches: Vec<Match>,
}

/// A case, opened for searching.
pub struct Searcher {
    /// The case.
    pub case: Case,
    reader: tantivy::IndexReader,
    fields: Fields,
    journal: Reader,
    /// Where evidence is that is no longer where it was, by its name.
    moved: HashMap<String, PathBuf>,
    images: Vec<OnceLock<Result<Box<dyn Image>, String>>>,
}

/// A document that matched.
#[derive(Clone, Copy, Debug)]
struct Row {
    item: u64,
    record: u64,
    part: u32,
    score: f32,
    key: i128,
}

/// The items of a result, their documents put together.
struct Group {
    record: u64,
    score: f32,
    key: i128,
    parts: Vec<u32>,
}

impl Searcher {
    /// Opens a case. `moved` names evidence that lies elsewhere now.
    ///
    /// # Errors
    /// Where it is no case, or nothing was indexed yet.
    pub fn open(case: Case, moved: HashMap<String, PathBuf>) -> Result<Self, CaseError> {
        let index = index::open(&case.index())?;
        let fields = index::fields(&index)?;
        let reader = index.reader_builder().reload_policy(tantivy::ReloadPolicy::Manual).try_into()?;
        let hint = "nothing was indexed yet: run `evidex index` again";
        let path = case.journal();
        let journal = Reader::open(&path).map_err(|source| CaseError::Io { path, source, hint })?;
        let images = case.manifest.images.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { case, reader, fields, journal, moved, images })
    }

    /// What `query` finds, in the order of `sort`: equal ones in the order of the journal, always the same.
    ///
    /// # Errors
    /// Where the index or the journal cannot be read.
    pub fn find(&self, query: &Query, sort: Sort, offset: usize, limit: usize) -> Result<Page, CaseError> {
        let compiled = compile::compile(query, &self.fields);
        let rows = self.reader.searcher().search(&compiled, &Rows { sort })?;
        let mut groups = group(rows);
        match sort {
            Sort::Score => groups.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record))),
            Sort::Size | Sort::Mtime => groups.sort_by_key(|g| (std::cmp::Reverse(g.key), g.record)),
            Sort::Offset => groups.sort_by_key(|g| (g.key, g.record)),
            Sort::Item | Sort::Path => groups.sort_by_key(|g| g.record),
        }
        if query.has_exact() || sort == Sort::Path {
            return self.filtered(query, groups, sort, offset, limit);
        }
        let total = groups.len();
        let wanted = groups.into_iter().skip(offset).take(limit);
        let matches = wanted.map(|g| self.load(g)).collect::<Result<_, _>>()?;
        Ok(Page { total, matches })
    }

    /// The same where the index alone cannot tell: every candidate is read.
    fn filtered(
        &self,
        query: &Query,
        groups: Vec<Group>,
        sort: Sort,
        offset: usize,
        limit: usize,
    ) -> Result<Page, CaseError> {
        let mut matches = Vec::new();
        for group in groups {
            let found = self.load(group)?;
            if !query.has_exact() || self.holds_exactly(query, &found) {
                matches.push(found);
            }
        }
        if sort == Sort::Path {
            matches.sort_by(|a, b| (&a.item.path, &a.item.steps).cmp(&(&b.item.path, &b.item.steps)));
        }
        let total = matches.len();
        Ok(Page { total, matches: matches.into_iter().skip(offset).take(limit).collect() })
    }

    fn holds_exactly(&self, query: &Query, found: &Match) -> bool {
        query.exact_leaves().iter().all(|leaf| {
            let alone = Query::clone(leaf);
            self.hits(found, &alone, 1).is_some_and(|hits| !hits.list.is_empty())
        })
    }

    fn load(&self, group: Group) -> Result<Match, CaseError> {
        let item = self.journal.item(group.record)?;
        Ok(Match { item, score: group.score, parts: group.parts })
    }

    /// The item with an id, or the only one whose id begins so.
    ///
    /// # Errors
    /// Where there is none, or several.
    pub fn item(&self, id: &str) -> Result<Artifact, CaseError> {
        let page = self.find(&Query::id(id), Sort::Item, 0, 2)?;
        match page.matches.as_slice() {
            [one] => Ok(one.item.clone()),
            [] => Err(CaseError::Refused(format!("no item has the id {id}: `evidex files` lists them"))),
            _ => Err(CaseError::Refused(format!("several items' ids begin with {id}: give more of it"))),
        }
    }

    /// The evidence with number `number`.
    ///
    /// # Errors
    /// Where it is not there any more, or is not what was indexed.
    pub fn evidence(&self, number: u32) -> Result<&dyn Image, CaseError> {
        let row = usize::try_from(number).unwrap_or(usize::MAX);
        let unknown = || CaseError::Refused(format!("the case has no evidence number {number}"));
        let slot = self.images.get(row).ok_or_else(unknown)?;
        let evidence = self.case.manifest.images.get(row).ok_or_else(unknown)?;
        let path = self.moved.get(&evidence.name).unwrap_or(&evidence.path);
        let opened = slot.get_or_init(|| {
            let image = image::open(path).map_err(|e| e.to_string())?;
            if image.size() == evidence.seal.size {
                return Ok(image);
            }
            Err(format!("{}: is not what was indexed: its size is {}", path.display(), image.size()))
        });
        match opened {
            Ok(image) => Ok(image.as_ref()),
            Err(what) => Err(CaseError::Refused(format!("{what}: name the evidence's new place with --evidence"))),
        }
    }

    /// The evidence's name.
    pub fn image_name(&self, number: u32) -> &str {
        let row = usize::try_from(number).unwrap_or(usize::MAX);
        self.case.manifest.images.get(row).map_or("?", |e| e.name.as_str())
    }

    /// Opens an item's content, however deep it lies.
    ///
    /// # Errors
    /// Where the evidence is gone, or the way to the item is not there in it.
    pub fn with_content(&self, item: &Artifact, take: &mut dyn FnMut(&Content<'_>)) -> Result<(), CaseError> {
        let mut top = item.clone();
        while let (false, Some(parent)) = (top.steps.is_empty(), top.parent.clone()) {
            top = self.item(&parent)?;
        }
        let disk = View::whole(self.evidence(item.image)?);
        if derive::with_content(disk, &top, &item.steps, take) {
            return Ok(());
        }
        let what = "the evidence no longer holds it where it was: `evidex verify` tells whether the evidence changed";
        Err(CaseError::Refused(format!("{}: {what}", item.id)))
    }

    /// The places in an item at which `query` matches, at most `limit`, and a snippet; `None` where its content cannot
    /// be opened.
    pub fn hits(&self, found: &Match, query: &Query, limit: usize) -> Option<hits::Hits> {
        let mut hits = None;
        let mut read =
            |content: &Content<'_>| hits = Some(hits::in_item(&found.item, content, &found.parts, query, limit));
        self.with_content(&found.item, &mut read).ok()?;
        hits
    }
}

/// Puts the documents of an item together.
fn group(mut rows: Vec<Row>) -> Vec<Group> {
    rows.sort_by_key(|row| (row.item, row.part));
    let mut groups: Vec<Group> = Vec::new();
    let mut last = None;
    for row in rows {
        match groups.last_mut() {
            Some(group) if last == Some(row.item) => {
                group.score = group.score.max(row.score);
                group.parts.push(row.part);
            }
            _ => groups.push(Group { record: row.record, score: row.score, key: row.key, parts: vec![row.part] }),
        }
        last = Some(row.item);
    }
    groups
}

/// Collects what is needed of every document.
struct Rows {
    sort: Sort,
}

struct SegmentRows {
    rows: Vec<Row>,
    item: Column<u64>,
    record: Column<u64>,
    part: Column<u64>,
    key: Key,
}

enum Key {
    None,
    Number(Column<u64>),
    Date(Column<tantivy::DateTime>),
}

impl Key {
    fn of(&self, doc: DocId) -> i128 {
        match self {
            Self::None => 0,
            Self::Number(column) => column.first(doc).map_or(i128::MAX, i128::from),
            Self::Date(column) => column.first(doc).map_or(i128::MIN, |t| t.into_timestamp_nanos().into()),
        }
    }
}

impl Collector for Rows {
    type Fruit = Vec<Row>;
    type Child = SegmentRows;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<SegmentRows> {
        let fast = segment.fast_fields();
        let key = match self.sort {
            Sort::Size => Key::Number(fast.u64("size")?),
            Sort::Offset => Key::Number(fast.u64("offset")?),
            Sort::Mtime => Key::Date(fast.date("mtime")?),
            Sort::Score | Sort::Path | Sort::Item => Key::None,
        };
        let (item, record, part) = (fast.u64("item")?, fast.u64("record")?, fast.u64("part")?);
        Ok(SegmentRows { rows: Vec::new(), item, record, part, key })
    }

    fn requires_scoring(&self) -> bool {
        self.sort == Sort::Score
    }

    fn merge_fruits(&self, fruits: Vec<Vec<Row>>) -> tantivy::Result<Vec<Row>> {
        Ok(fruits.into_iter().flatten().collect())
    }
}

impl SegmentCollector for SegmentRows {
    type Fruit = Vec<Row>;

    fn collect(&mut self, doc: DocId, score: Score) {
        let first = |column: &Column<u64>| column.first(doc).unwrap_or(0);
        let part = u32::try_from(first(&self.part)).unwrap_or(u32::MAX);
        let (item, record) = (first(&self.item), first(&self.record));
        self.rows.push(Row { item, record, part, score, key: self.key.of(doc) });
    }

    fn harvest(self) -> Vec<Row> {
        self.rows
    }
}
