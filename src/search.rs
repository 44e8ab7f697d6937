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
use crate::volume::open::open;
use crate::volume::vault::Keys;
use crate::work::derive;
use query::Query;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
#[derive(Clone, Debug)]
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
        let mut groups: Vec<Group> = self.answer(query, None, sort)?.into_values().collect();
        match sort {
            Sort::Score => groups.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.record.cmp(&b.record))),
            Sort::Size | Sort::Mtime => groups.sort_by_key(|g| (std::cmp::Reverse(g.key), g.record)),
            Sort::Offset => groups.sort_by_key(|g| (g.key, g.record)),
            Sort::Item | Sort::Path => groups.sort_by_key(|g| g.record),
        }
        let total = groups.len();
        if sort == Sort::Path {
            let mut all = groups.into_iter().map(|g| self.load(g)).collect::<Result<Vec<_>, _>>()?;
            all.sort_by(|a, b| (&a.item.path, &a.item.steps).cmp(&(&b.item.path, &b.item.steps)));
            return Ok(Page { total, matches: all.into_iter().skip(offset).take(limit).collect() });
        }
        let wanted = groups.into_iter().skip(offset).take(limit);
        let matches = wanted.map(|g| self.load(g)).collect::<Result<_, _>>()?;
        Ok(Page { total, matches })
    }

    /// The items that a query names, by their number. The index answers for parts of texts; what is asked for together
    /// may stand in different parts of one item, so operators work on items. Fields that all parts of an item share
    /// narrow the questions down beforehand (`within`).
    fn answer(&self, query: &Query, within: Option<&Query>, sort: Sort) -> Result<Items, CaseError> {
        match query {
            Query::And(all) => self.all_of(all, within, sort),
            Query::Or(any) => any.iter().try_fold(Items::new(), |mut found, one| {
                for (number, group) in self.answer(one, within, sort)? {
                    join(&mut found, number, group);
                }
                Ok(found)
            }),
            Query::Not(inner) => {
                let mut rest = self.answer(&Query::All, within, sort)?;
                for number in self.answer(inner, within, sort)?.keys() {
                    rest.remove(number);
                }
                Ok(rest)
            }
            Query::All | Query::Leaf { .. } => self.leaf(query, within, sort),
        }
    }

    fn all_of(&self, all: &[Query], within: Option<&Query>, sort: Sort) -> Result<Items, CaseError> {
        let (shared, others): (Vec<&Query>, Vec<&Query>) = all.iter().partition(|q| q.is_shared());
        let narrow = shared.into_iter().chain(within).fold(Query::All, |sum, q| sum.and(q.clone()));
        let (negative, positive): (Vec<&Query>, Vec<&Query>) =
            others.into_iter().partition(|q| matches!(q, Query::Not(_)));
        let mut found: Option<Items> = None;
        for query in positive {
            let items = self.answer(query, Some(&narrow), sort)?;
            found = Some(match found {
                None => items,
                Some(before) => both(before, items),
            });
        }
        let mut found = match found {
            Some(found) => found,
            None => self.leaf(&Query::All, Some(&narrow), sort)?,
        };
        for query in negative {
            let Query::Not(inner) = query else { continue };
            for number in self.answer(inner, Some(&narrow), sort)?.keys() {
                found.remove(number);
            }
        }
        Ok(found)
    }

    /// What the index says of one leaf, checked where it knows less than was asked.
    fn leaf(&self, leaf: &Query, within: Option<&Query>, sort: Sort) -> Result<Items, CaseError> {
        let compiled = compile::compile(leaf, within, &self.fields);
        let mut items = group(self.reader.searcher().search(&compiled, &Rows { sort })?);
        if leaf.needs_check() {
            let mut outcome = Ok(());
            items.retain(|_, group| match self.load(group.clone()) {
                Ok(found) => self.holds(leaf, &found),
                Err(error) => {
                    outcome = Err(error);
                    false
                }
            });
            outcome?;
        }
        Ok(items)
    }

    /// Whether an item has exactly what a leaf asks for.
    fn holds(&self, leaf: &Query, found: &Match) -> bool {
        match leaf {
            Query::Leaf { field: "exact", .. } => self.hits(found, leaf, 1).is_some_and(|hits| !hits.list.is_empty()),
            Query::Leaf { field, value } => {
                let hashes = &found.item.hashes;
                let algorithm = crate::hash::Algorithm::named(field);
                let whole = algorithm.map_or(Some(found.item.id.as_str()), |algorithm| hashes.get(algorithm));
                whole.is_some_and(|whole| value.begins(whole))
            }
            _ => true,
        }
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
            let image = open(path, &evidence.keys(&Keys::default())).map_err(|e| e.to_string())?.image;
            if image::original(image.as_ref()).size() == evidence.seal.size {
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

/// Items by their number in the case.
type Items = HashMap<u64, Group>;

/// Puts the documents of an item together.
fn group(rows: Vec<Row>) -> Items {
    let mut items = Items::with_capacity(rows.len());
    for row in rows {
        let group = Group { record: row.record, score: row.score, key: row.key, parts: vec![row.part] };
        match items.entry(row.item) {
            Entry::Vacant(new) => {
                new.insert(group);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.score = known.score.max(row.score);
                known.parts.push(row.part);
            }
        }
    }
    items.values_mut().for_each(|group| group.parts.sort_unstable());
    items
}

/// Adds what another question found of an item.
fn join(items: &mut Items, number: u64, group: Group) {
    match items.entry(number) {
        Entry::Vacant(new) => {
            new.insert(group);
        }
        Entry::Occupied(mut known) => {
            let known = known.get_mut();
            known.score += group.score;
            known.parts.extend(group.parts);
            known.parts.sort_unstable();
            known.parts.dedup();
        }
    }
}

/// The items that both questions found.
fn both(mut a: Items, b: Items) -> Items {
    a.retain(|number, _| b.contains_key(number));
    for (number, group) in b {
        if a.contains_key(&number) {
            join(&mut a, number, group);
        }
    }
    a
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
