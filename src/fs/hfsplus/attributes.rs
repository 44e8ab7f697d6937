//! The attributes file: extended attributes, in the record or in a fork of their own.
//!
//! Apple TN1150, "Attributes File"; `hfs_format.h` of XNU (`HFSPlusAttrKey`, `HFSPlusAttrData`).

use super::btree::Tree;
use super::fork::{ForkData, Span, runs, spans};
use super::header::Header;
use crate::bytes::{Fields, utf16_be};
use crate::content::{Run, Stream};

const INLINE: u32 = 0x10;
const FORK: u32 = 0x20;
const EXTENTS: u32 = 0x30;

/// Where the attributes of each file stand.
pub(super) struct Attributes<'img> {
    tree: Tree<'img>,
    /// Number of the file, node and record, in the order of the tree.
    rows: Vec<(u32, u32, u16)>,
}

/// An attribute.
pub(super) struct Attribute {
    pub(super) name: String,
    /// Its value.
    pub(super) stream: Stream,
    /// True where it has a fork of its own.
    pub(super) has_fork: bool,
    /// Where its record stands.
    pub(super) at: u64,
    /// What is damaged.
    pub(super) wrong: Option<String>,
}

impl<'img> Attributes<'img> {
    /// Goes through all leaves.
    pub(super) fn read(tree: Tree<'img>) -> Self {
        let mut rows = Vec::new();
        for number in &tree.leaves {
            let Some(node) = tree.node(*number) else { continue };
            let ids = node.records().zip(0u16..).filter_map(|((_, b), row)| Some((b.be32(4)?, *number, row)));
            rows.extend(ids);
        }
        rows.sort_by_key(|(id, ..)| *id);
        Self { tree, rows }
    }

    /// What is damaged in the tree.
    pub(super) fn wrong(&self) -> &[(u64, String)] {
        &self.tree.wrong
    }

    /// The attributes of a file.
    pub(super) fn of(&self, id: u32, header: &Header) -> Vec<Attribute> {
        let first = self.rows.partition_point(|(other, ..)| *other < id);
        let rows = self.rows.get(first..).unwrap_or_default().iter().take_while(|(other, ..)| *other == id);
        let mut found: Vec<(Attribute, Vec<Span>, u32)> = Vec::new();
        for (_, number, row) in rows {
            let Some(node) = self.tree.node(*number) else { continue };
            let Some((at, bytes)) = node.records().nth(usize::from(*row)) else { continue };
            if self.take(*number, at, bytes, &mut found).is_none() {
                let wrong = Some("an extended attribute is damaged".to_owned());
                let at = self.tree.place_in(*number, at);
                let (name, stream) = (String::new(), Stream::default());
                found.push((Attribute { name, stream, has_fork: false, at, wrong }, Vec::new(), 0));
            }
        }
        let finish = |(mut attribute, spans, blocks): (Attribute, Vec<Span>, u32)| {
            if attribute.has_fork {
                let sum = spans.iter().fold(0u32, |sum, span| sum.saturating_add(span.count));
                attribute.stream.runs = runs(header, &spans);
                if sum < blocks {
                    attribute.wrong =
                        Some(format!("attribute {}: {sum} of its {blocks} blocks are told", attribute.name));
                }
            }
            attribute
        };
        found.into_iter().map(finish).collect()
    }

    /// Adds what a record tells: an attribute, or more stretches of the one before.
    fn take(&self, number: u32, at: usize, b: &[u8], found: &mut Vec<(Attribute, Vec<Span>, u32)>) -> Option<()> {
        let body = usize::from(b.be16(0)?).checked_add(2)?;
        let name = utf16_be(b.span(14, usize::from(b.be16(12)?).checked_mul(2)?)?);
        let place = self.tree.place_in(number, at);
        let field = |skip: usize| body.checked_add(skip);
        match b.be32(body)? {
            INLINE => {
                let size = b.be32(field(12)?)?;
                b.span(field(16)?, crate::bytes::index(size.into()))?;
                let runs = self.tree.runs_in(number, at.checked_add(field(16)?)?, size.into())?;
                let stream = Stream::plain(runs, size.into());
                found.push((Attribute { name, stream, has_fork: false, at: place, wrong: None }, Vec::new(), 0));
            }
            FORK => {
                let fork = ForkData::parse(b, field(8)?)?;
                let spans = fork.spans.iter().copied().filter(|span| span.count > 0).collect();
                let stream = Stream::plain(Vec::<Run>::new(), fork.size);
                found.push((Attribute { name, stream, has_fork: true, at: place, wrong: None }, spans, fork.blocks));
            }
            EXTENTS => {
                let (attribute, all, _) = found.last_mut()?;
                (attribute.name == name && attribute.has_fork).then_some(())?;
                all.extend(spans(b, field(8)?)?.iter().filter(|span| span.count > 0));
            }
            _ => return None,
        }
        Some(())
    }
}
