//! From extents to bytes: the content of an item, borrowed from the map wherever it lies there as such.
//!
//! A [`Stream`] is what a file system knows (runs, a size, perhaps compression); a [`Content`] is that over a view, or
//! the decoded bytes of a container's member. Reading it never copies mapped bytes, even of a fragmented file, unless
//! one piece is asked for.

mod huffman;
pub mod lznt1;
pub mod lzo;
mod lzo1x;
pub mod lzvn;
pub mod lzx;
pub mod packed;
pub mod wof;
pub mod xpress;

use crate::bytes::index;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::sync::Arc;

/// The most that one part holds.
const PART: u64 = 1 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A stretch of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Bytes of the view.
    Data(Extent),
    /// So many zeros that are stored nowhere.
    Hole(u64),
}

impl Run {
    /// Length in bytes.
    pub const fn len(self) -> u64 {
        match self {
            Self::Data(extent) => extent.len,
            Self::Hole(len) => len,
        }
    }

    /// True where it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How a stream's bytes are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// As they are.
    #[default]
    Plain,
    /// NTFS compression in units of so many bytes ([MS-XCA] 2.5, LZNT1).
    Lznt1 {
        /// Bytes of a compression unit.
        unit: u64,
    },
    /// Chunks of the Windows Overlay Filter, behind a table of their places.
    Wof {
        /// How each chunk is compressed.
        algorithm: wof::Algorithm,
        /// Bytes that table and chunks take.
        stored: u64,
    },
    /// Blocks, each packed on its own, one behind the other in the runs.
    Packed {
        /// The blocks in the order of the content.
        blocks: Arc<[packed::Block]>,
    },
}

/// Where a file system says that the bytes of a stream lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Size in bytes.
    pub size: u64,
    /// Its runs, in order; together at least `size` bytes, or the content is short of it. Relative to the view.
    pub runs: Vec<Run>,
    /// Bytes behind this offset read as zeros (NTFS: initialised size).
    pub valid: u64,
    /// How it is stored.
    pub codec: Codec,
}

impl Stream {
    /// An uncompressed stream that is valid to its end.
    pub const fn plain(runs: Vec<Run>, size: u64) -> Self {
        Self { size, runs, valid: size, codec: Codec::Plain }
    }

    /// Where `range` of it lies in the image, in order: `(offset, length)`, the offset `None` for a hole. Of what is
    /// stored in another form, where all of that lies.
    pub fn extents(&self, view: View<'_>, range: Extent) -> Vec<(Option<u64>, u64)> {
        let mut out: Vec<(Option<u64>, u64)> = Vec::with_capacity(self.runs.len());
        let mut at = 0u64;
        let plain = self.codec == Codec::Plain;
        for run in &self.runs {
            let here = Extent::new(at, run.len());
            at = here.end();
            let wanted = if plain { here.intersect(range) } else { here };
            let skip = wanted.start.saturating_sub(here.start);
            if wanted.is_empty() {
                continue;
            }
            let start = match run {
                Run::Data(extent) => Some(view.absolute(extent.start).saturating_add(skip)),
                Run::Hole(_) => None,
            };
            match out.last_mut() {
                Some((last, len)) if follows(*last, *len, start) => *len = len.saturating_add(wanted.len),
                _ => out.push((start, wanted.len)),
            }
        }
        out
    }

    /// The allocated bytes behind `size` (and behind `valid`), relative to the view: slack.
    pub fn slack(&self) -> Vec<Extent> {
        if self.codec != Codec::Plain {
            return Vec::new();
        }
        let (from, mut at, mut slack) = (self.size.min(self.valid), 0u64, Vec::new());
        for run in &self.runs {
            let end = at.saturating_add(run.len());
            if let Run::Data(extent) = run
                && end > from
            {
                let skip = from.saturating_sub(at);
                slack.push(Extent::between(extent.start.saturating_add(skip), extent.end()));
            }
            at = end;
        }
        slack
    }
}

/// A stream, and whose it is: slices share it.
#[derive(Clone)]
enum Held<'a> {
    Borrowed(&'a Stream),
    Shared(Arc<Stream>),
}

impl Deref for Held<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        match self {
            Self::Borrowed(stream) => stream,
            Self::Shared(stream) => stream,
        }
    }
}

#[derive(Clone)]
enum Source<'a> {
    Runs { view: View<'a>, stream: Held<'a>, starts: Arc<[u64]>, places: Arc<[packed::Place]> },
    Owned(Arc<Vec<u8>>),
    Borrowed(&'a [u8]),
}

/// The bytes of an item: a range of a stream or of decoded bytes.
#[derive(Clone)]
pub struct Content<'a> {
    source: Source<'a>,
    range: Extent,
}

impl<'a> Content<'a> {
    /// The content of `stream`, whose runs lie in `view`.
    pub fn new(view: View<'a>, stream: &'a Stream) -> Self {
        Self::over(view, Held::Borrowed(stream))
    }

    /// The same, for a stream that is made on the way.
    pub fn of(view: View<'a>, stream: Stream) -> Self {
        Self::over(view, Held::Shared(Arc::new(stream)))
    }

    fn over(view: View<'a>, stream: Held<'a>) -> Self {
        let range = Extent::new(0, stream.size);
        let places = match &stream.codec {
            Codec::Packed { blocks } => packed::places(blocks),
            _ => Arc::default(),
        };
        Self { range, source: Source::Runs { view, starts: starts(&stream.runs), places, stream } }
    }

    /// Decoded bytes.
    pub fn owned(bytes: Vec<u8>) -> Self {
        let range = Extent::new(0, bytes.len() as u64);
        Self { source: Source::Owned(Arc::new(bytes)), range }
    }

    /// Bytes that somebody else keeps.
    pub const fn borrowed(bytes: &'a [u8]) -> Self {
        let range = Extent::new(0, bytes.len() as u64);
        Self { source: Source::Borrowed(bytes), range }
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.range.len
    }

    /// `len` bytes from `at`, as a content of its own; what lies behind the end is cut off.
    pub fn slice(&self, at: u64, len: u64) -> Content<'a> {
        let range = Extent::new(at, len).shifted(self.range.start).intersect(self.range);
        Content { source: self.source.clone(), range }
    }

    /// The longest piece from `at` on, at most 1 MiB; empty only at the end.
    ///
    /// # Errors
    /// A fault where the runs end before the content does, or point outside the image.
    pub fn part(&self, at: u64) -> Result<Cow<'_, [u8]>, Fault> {
        let wanted = Extent::new(at, PART).shifted(self.range.start).intersect(self.range);
        let (from, to) = (index(wanted.start), index(wanted.end()));
        match &self.source {
            _ if wanted.is_empty() => Ok(Cow::Borrowed(&[])),
            Source::Owned(bytes) => Ok(Cow::Borrowed(bytes.get(from..to).unwrap_or_default())),
            Source::Borrowed(bytes) => Ok(Cow::Borrowed(bytes.get(from..to).unwrap_or_default())),
            Source::Runs { view, stream, starts, places } => match &stream.codec {
                Codec::Packed { blocks } => {
                    packed::block_part(*view, stream, starts, (blocks, places), wanted).map(Cow::Owned)
                }
                _ => stream_part(*view, stream, starts, wanted),
            },
        }
    }

    /// All bytes in order, piece by piece; ends after the first fault.
    pub fn parts(&self) -> impl Iterator<Item = Result<Cow<'_, [u8]>, Fault>> {
        let mut at = 0u64;
        std::iter::from_fn(move || {
            if at >= self.size() {
                return None;
            }
            let part = self.part(at);
            at = match &part {
                Ok(bytes) if !bytes.is_empty() => at.saturating_add(bytes.len() as u64),
                _ => u64::MAX,
            };
            Some(part)
        })
    }

    /// All bytes in one piece: borrowed where they lie so, copied where they are fragmented; `None` where that copy
    /// would be larger than `cap`. A fault ends it early: what comes before it is given.
    pub fn contiguous(&self, cap: u64) -> Option<Cow<'_, [u8]>> {
        if let Some(bytes) = self.in_one_piece() {
            return Some(bytes);
        }
        (self.size() <= cap).then(|| Cow::Owned(self.prefix(self.size()).into_owned()))
    }

    /// The first `len` bytes, or what of them can be read.
    pub fn prefix(&self, len: u64) -> Cow<'_, [u8]> {
        self.stretch(0, len)
    }

    /// `len` bytes from `at`, or what of them can be read; borrowed where they lie in one piece.
    pub fn stretch(&self, at: u64, len: u64) -> Cow<'_, [u8]> {
        let wanted = self.slice(at, len);
        if let Ok(Cow::Borrowed(bytes)) = self.part(at)
            && let Some(bytes) = bytes.get(..index(wanted.size()))
        {
            return Cow::Borrowed(bytes);
        }
        let mut whole = Vec::with_capacity(index(wanted.size().min(PART)));
        for part in wanted.parts().map_while(Result::ok) {
            whole.extend_from_slice(&part);
        }
        Cow::Owned(whole)
    }

    /// Offset in the image of byte `at`; `None` in a hole, and where the bytes are stored in another form.
    pub fn locate(&self, at: u64) -> Option<u64> {
        let Source::Runs { view, stream, starts, .. } = &self.source else { return None };
        let at = at.checked_add(self.range.start)?;
        if stream.codec != Codec::Plain || at >= stream.valid {
            return None;
        }
        let (run, skip) = run_at(&stream.runs, starts, at)?;
        match run {
            Run::Data(extent) => Some(view.absolute(extent.start).saturating_add(skip)),
            Run::Hole(_) => None,
        }
    }

    /// Where the bytes lie in the image, in order: `(offset, length)`, the offset `None` for a hole. For compressed
    /// streams it is where the compressed bytes lie. `None` for decoded bytes.
    pub fn extents(&self) -> Option<Vec<(Option<u64>, u64)>> {
        let Source::Runs { view, stream, .. } = &self.source else { return None };
        Some(stream.extents(*view, self.range))
    }

    /// A reader that can seek; a fault is an error of kind `InvalidData`.
    pub fn reader(&self) -> Reader<'_, 'a> {
        Reader { content: self, at: 0, kept: (0, Vec::new()) }
    }

    fn in_one_piece(&self) -> Option<Cow<'_, [u8]>> {
        let (from, to) = (index(self.range.start), index(self.range.end()));
        match &self.source {
            Source::Owned(bytes) => bytes.get(from..to).map(Cow::Borrowed),
            Source::Borrowed(bytes) => bytes.get(from..to).map(Cow::Borrowed),
            Source::Runs { view, stream, starts, .. } => {
                if stream.codec != Codec::Plain || self.range.end() > stream.valid {
                    return None;
                }
                let (Run::Data(extent), skip) = run_at(&stream.runs, starts, self.range.start)? else { return None };
                let here = Extent::new(extent.start.saturating_add(skip), self.range.len);
                if here.end() > extent.end() {
                    return None;
                }
                match view.part(here).ok()? {
                    Cow::Borrowed(bytes) if bytes.len() as u64 == self.range.len => Some(Cow::Borrowed(bytes)),
                    _ => None,
                }
            }
        }
    }
}

/// True where a run that begins at `start` goes on where the one before it ended.
fn follows(last: Option<u64>, len: u64, start: Option<u64>) -> bool {
    match (last, start) {
        (Some(last), Some(start)) => last.saturating_add(len) == start,
        (None, None) => true,
        _ => false,
    }
}

/// Offset in the stream at which each run begins: finds a run of a heavily fragmented file in logarithmic time.
fn starts(runs: &[Run]) -> Arc<[u64]> {
    let mut at = 0u64;
    let begin = |run: &Run| {
        let start = at;
        at = at.saturating_add(run.len());
        start
    };
    runs.iter().map(begin).collect()
}

/// Number of the last run that begins at or before byte `at`.
fn row_at(starts: &[u64], at: u64) -> usize {
    starts.partition_point(|start| *start <= at).saturating_sub(1)
}

/// The run that holds byte `at` of the stream, and how far into it.
fn run_at(runs: &[Run], starts: &[u64], at: u64) -> Option<(Run, u64)> {
    let row = row_at(starts, at);
    let (run, skip) = (*runs.get(row)?, at.checked_sub(*starts.get(row)?)?);
    (skip < run.len()).then_some((run, skip))
}

/// Stored bytes of the runs as they are; `None` where they are not all there. For whole units of decoding, which are
/// small.
fn stored(view: View<'_>, stream: &Stream, starts: &[u64], wanted: Extent) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(index(wanted.len.min(PART)));
    let mut at = wanted.start;
    while at < wanted.end() {
        let (run, skip) = run_at(&stream.runs, starts, at)?;
        let len = run.len().checked_sub(skip)?.min(wanted.end().checked_sub(at)?);
        match run {
            Run::Hole(_) => out.resize(out.len().checked_add(index(len))?, 0),
            Run::Data(extent) => out.extend_from_slice(&view.read(extent.start.checked_add(skip)?, len).ok()?),
        }
        at = at.checked_add(len)?;
    }
    Some(out)
}

fn zeros(len: u64) -> Cow<'static, [u8]> {
    Cow::Borrowed(ZEROS.get(..index(len)).unwrap_or(&ZEROS))
}

/// The longest piece at the start of `wanted`, which lies inside the stream.
fn stream_part<'a>(view: View<'a>, stream: &Stream, starts: &[u64], wanted: Extent) -> Result<Cow<'a, [u8]>, Fault> {
    let short = || {
        let what = format!("its runs end at byte {} of {}", wanted.start, stream.size);
        Fault::new(view.extent().start, "content", what)
    };
    if wanted.start >= stream.valid {
        // Only as far as something was allocated for it: a size alone, read from a damaged disk, may be anything.
        let (run, skip) = run_at(&stream.runs, starts, wanted.start).ok_or_else(short)?;
        return match run {
            Run::Data(extent) if extent.end() > view.size() => Err(short()),
            _ => Ok(zeros(wanted.len.min(run.len().saturating_sub(skip)))),
        };
    }
    if let Codec::Wof { algorithm, stored } = stream.codec {
        return wof::chunk_part(view, stream, starts, (algorithm, stored), wanted).map(Cow::Owned);
    }
    if let Codec::Lznt1 { unit } = stream.codec {
        let first = wanted.start.checked_div(unit).unwrap_or(0).saturating_mul(unit);
        let row = row_at(starts, first);
        let begin = starts.get(row).copied().unwrap_or(0);
        let runs = stream.runs.get(row..).unwrap_or_default();
        return lznt1::unit_part(view, stream, runs, begin, unit, wanted).map(Cow::Owned);
    }
    let (run, skip) = run_at(&stream.runs, starts, wanted.start).ok_or_else(short)?;
    let len = wanted.len.min(run.len().saturating_sub(skip)).min(stream.valid.saturating_sub(wanted.start));
    match run {
        Run::Hole(_) => Ok(zeros(len)),
        Run::Data(extent) => {
            let here = Extent::new(extent.start.saturating_add(skip), len);
            view.part(here).map_err(|e| Fault::new(view.absolute(here.start), "content", e.to_string()))
        }
    }
}

/// Reads a content like a file.
pub struct Reader<'c, 'a> {
    content: &'c Content<'a>,
    at: u64,
    /// What was decoded last, and where it begins: small reads do not decode a block again and again.
    kept: (u64, Vec<u8>),
}

impl Read for Reader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let kept = self.at.checked_sub(self.kept.0).and_then(|skip| self.kept.1.get(index(skip)..));
        let part = match kept.filter(|rest| !rest.is_empty()) {
            Some(rest) => Cow::Borrowed(rest),
            None => self.content.part(self.at).map_err(|f| io::Error::new(io::ErrorKind::InvalidData, f.what))?,
        };
        let len = part.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), part.get(..len)) {
            to.copy_from_slice(from);
        }
        if let Cow::Owned(part) = part {
            self.kept = (self.at, part);
        }
        self.at = self.at.saturating_add(len as u64);
        Ok(len)
    }
}

impl Seek for Reader<'_, '_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        let runs = vec![Run::Data(Extent::new(10, 4)), Run::Hole(3), Run::Data(Extent::new(2, 5))];
        Stream { size: 10, runs, valid: 9, codec: Codec::Plain }
    }

    #[test]
    fn runs_holes_and_the_valid_size_are_respected() -> Result<(), Box<dyn std::error::Error>> {
        let bytes: Vec<u8> = (0..32).collect();
        let image = crate::image::raw::of_bytes(&bytes)?;
        let view = View::whole(image.as_ref());
        let stream = stream();
        let content = Content::new(view, &stream);
        let expected = [10, 11, 12, 13, 0, 0, 0, 2, 3, 0];
        assert_eq!(content.contiguous(100).as_deref(), Some(&expected[..]));
        let mut read = Vec::new();
        content.reader().read_to_end(&mut read)?;
        assert_eq!(read, expected);
        assert_eq!(content.slice(7, 9).prefix(9).as_ref(), [2, 3, 0]);
        assert_eq!(content.locate(8), Some(3));
        assert_eq!(content.locate(5), None);
        assert_eq!(content.extents(), Some(vec![(Some(10), 4), (None, 3), (Some(2), 3)]));
        assert_eq!(stream.slack(), vec![Extent::new(4, 3)]);
        Ok(())
    }

    #[test]
    fn zeros_behind_the_valid_size_end_where_the_runs_do() -> Result<(), Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(&[1; 8])?;
        let view = View::whole(image.as_ref());
        for run in [Run::Data(Extent::new(0, 4)), Run::Data(Extent::new(0, 1 << 60))] {
            let stream = Stream { size: 1 << 60, runs: vec![run], valid: 2, codec: Codec::Plain };
            assert!(Content::new(view, &stream).parts().take(9).any(|part| part.is_err()));
        }
        Ok(())
    }

    #[test]
    fn a_stream_that_is_short_of_its_size_faults() -> Result<(), Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(&[1; 8])?;
        let stream = Stream::plain(vec![Run::Data(Extent::new(0, 4))], u64::MAX);
        let content = Content::new(View::whole(image.as_ref()), &stream);
        assert_eq!(content.parts().filter(Result::is_err).count(), 1);
        assert_eq!(content.prefix(100).len(), 4);
        assert_eq!(content.contiguous(100), None);
        Ok(())
    }
}
