//! Forks: where the bytes of a file lie, eight stretches with its record and any more in the extents overflow file.
//!
//! Apple TN1150, "Fork Data Structure" and "Extents Overflow File".

use super::btree::Tree;
use super::header::Header;
use crate::bytes::Fields;
use crate::content::{Run, Stream};
use crate::extent::Extent;
use std::collections::BTreeMap;

/// The type of a data fork and of a resource fork in the keys of the extents overflow file.
pub(super) const DATA: u8 = 0;
pub(super) const RESOURCE: u8 = 0xff;
/// Bytes of a fork's data.
pub(super) const SIZE: usize = 80;
/// The number of the file of bad blocks.
pub(super) const BAD_BLOCKS: u32 = 5;

/// So many blocks from a block on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) count: u32,
}

/// What a record says of a fork.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ForkData {
    /// Size in bytes.
    pub(super) size: u64,
    /// Blocks that it has in all.
    pub(super) blocks: u32,
    /// The first stretches.
    pub(super) spans: [Span; 8],
}

impl ForkData {
    pub(super) fn parse(b: &[u8], at: usize) -> Option<Self> {
        let b = b.span(at, SIZE)?;
        Some(Self { size: b.be64(0)?, blocks: b.be32(12)?, spans: spans(b, 16)? })
    }

    /// True where its stretches may be, on a volume of so many blocks.
    pub(super) fn is_possible(&self, header: &Header) -> bool {
        let inside = |s: &Span| s.start.checked_add(s.count).is_some_and(|end| end <= header.blocks);
        let here = self.spans.iter().fold(0u64, |sum, span| sum.saturating_add(span.count.into()));
        let room = u64::from(self.blocks).saturating_mul(header.block);
        self.spans.iter().all(inside) && here <= self.blocks.into() && self.size <= room
    }
}

/// Eight stretches.
pub(super) fn spans(b: &[u8], at: usize) -> Option<[Span; 8]> {
    let (rows, _) = b.span(at, 64)?.as_chunks::<8>();
    let mut out = [Span::default(); 8];
    for (span, row) in out.iter_mut().zip(rows) {
        *span = Span { start: row.be32(0)?, count: row.be32(4)? };
    }
    Some(out)
}

/// Where forks go on: file and fork, and the rows of each by the first of their blocks in the fork.
#[derive(Default)]
pub(super) struct Overflow(BTreeMap<(u32, u8), BTreeMap<u32, [Span; 8]>>);

impl Overflow {
    /// All rows of the extents overflow file.
    pub(super) fn read(tree: &Tree<'_>) -> Self {
        let mut overflow = Self::default();
        for number in &tree.leaves {
            let Some(node) = tree.node(*number) else { continue };
            node.records().for_each(|(_, record)| overflow.add(record));
        }
        overflow
    }

    /// Adds the row of a record, if it is one that can be.
    pub(super) fn add(&mut self, record: &[u8]) {
        if let Some((id, fork, first, spans)) = row(record) {
            self.0.entry((id, fork)).or_default().entry(first).or_insert(spans);
        }
    }

    /// The stretches of a fork, and what is wrong with them.
    pub(super) fn spans(&self, id: u32, fork: u8, data: &ForkData) -> (Vec<Span>, Option<String>) {
        let mut all: Vec<Span> = data.spans.iter().copied().filter(|span| span.count > 0).collect();
        let mut sum = all.iter().fold(0u32, |sum, span| sum.saturating_add(span.count));
        let rows = self.0.get(&(id, fork));
        while sum < data.blocks {
            let Some(spans) = rows.and_then(|rows| rows.get(&sum)) else {
                return (all, Some(format!("where its blocks from the {sum}th of {} on lie is not told", data.blocks)));
            };
            let before = sum;
            for span in spans.iter().filter(|span| span.count > 0) {
                all.push(*span);
                sum = sum.saturating_add(span.count);
            }
            if sum == before {
                return (all, Some(format!("a row of its extents, behind {sum} blocks, is empty")));
            }
        }
        (all, None)
    }

    /// The stretches of bad blocks: the file of these has no record.
    pub(super) fn bad_blocks(&self) -> Vec<Span> {
        let rows = self.0.get(&(BAD_BLOCKS, DATA)).into_iter().flat_map(BTreeMap::values);
        rows.flatten().copied().filter(|span| span.count > 0).collect()
    }
}

/// File, fork, first block in the fork, and stretches.
fn row(b: &[u8]) -> Option<(u32, u8, u32, [Span; 8])> {
    (b.be16(0)? == 10 && b.byte(3)? == 0 && matches!(b.byte(2)?, DATA | RESOURCE)).then_some(())?;
    Some((b.be32(4)?, b.byte(2)?, b.be32(8)?, spans(b, 12)?))
}

/// The runs of stretches of blocks, those that touch as one.
pub(super) fn runs(header: &Header, spans: &[Span]) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::with_capacity(spans.len());
    for span in spans {
        let start = u64::from(span.start).saturating_mul(header.block).saturating_add(header.base);
        let len = u64::from(span.count).saturating_mul(header.block);
        match out.last_mut() {
            Some(Run::Data(last)) if last.end() == start => last.len = last.len.saturating_add(len),
            _ => out.push(Run::Data(Extent::new(start, len))),
        }
    }
    out
}

/// A fork as a stream, and what is wrong with it.
pub(super) fn stream(
    header: &Header,
    overflow: &Overflow,
    (id, fork): (u32, u8),
    data: &ForkData,
) -> (Stream, Option<String>) {
    let (spans, wrong) = overflow.spans(id, fork, data);
    (Stream::plain(runs(header, &spans), data.size), wrong)
}
