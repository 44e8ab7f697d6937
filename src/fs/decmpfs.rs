//! Files that macOS keeps compressed (`decmpfs`, HFS+ and APFS): the extended attribute `com.apple.decmpfs` says how, and holds
//! the content, or the resource fork does, in blocks of 64 KiB.
//!
//! Specification: `bsd/sys/decmpfs.h` of XNU for the header; the layout of the resource fork as The Sleuth Kit and libfshfs
//! document it.

use crate::bytes::Fields;
use crate::content::packed::{Block, Method};
use crate::content::{Codec, Content, Run, Stream};
use crate::extent::Extent;
use crate::image::View;

/// Name of the attribute.
pub(super) const ATTRIBUTE: &str = "com.apple.decmpfs";
/// Bytes of the attribute's header.
const HEADER: u64 = 16;
/// Unpacked bytes of a block.
const BLOCK: u64 = 1 << 16;
/// The table of blocks of a file of 64 GiB.
const MAX_BLOCKS: u64 = 1 << 20;

/// The content of a compressed file, and whether the resource fork holds it.
pub(super) struct Unpacked {
    /// The content. Without runs where they could not be told.
    pub(super) stream: Stream,
    /// True where the resource fork is the content, packed.
    pub(super) in_fork: bool,
    /// Why it cannot be read.
    pub(super) wrong: Option<String>,
}

/// What the attribute says of a file. `None` where it is no such attribute.
pub(super) fn unpack(view: View<'_>, attribute: &Stream, fork: Option<&Stream>) -> Option<Unpacked> {
    let head = Content::new(view, attribute).prefix(HEADER).into_owned();
    (head.span(0, 4)? == b"fpmc").then_some(())?;
    let (kind, size) = (head.le32(4)?, head.le64(8)?);
    let (in_fork, method) = match kind {
        1 | 9 => (false, Method::Plain),
        3 => (false, Method::DecmpfsZlib),
        7 => (false, Method::DecmpfsLzvn),
        11 => (false, Method::DecmpfsLzfse),
        4 => (true, Method::DecmpfsZlib),
        8 => (true, Method::DecmpfsLzvn),
        10 => (true, Method::Plain),
        12 => (true, Method::DecmpfsLzfse),
        _ => {
            let wrong = Some(format!("it is compressed in a way that is not known (type {kind}), and not read"));
            return Some(Unpacked { stream: Stream::plain(Vec::new(), size), in_fork: false, wrong });
        }
    };
    let parts = match (in_fork, fork) {
        (false, _) => inline(attribute, size, kind, method),
        (true, Some(fork)) => in_blocks(view, fork, size, kind, method),
        (true, None) => Err("its resource fork, which holds the content, is missing".to_owned()),
    };
    let (runs, blocks, wrong) = match parts {
        Ok((runs, blocks)) => (runs, blocks, None),
        Err(wrong) => (Vec::new(), Vec::new(), Some(wrong)),
    };
    let stream = Stream { size, runs, valid: size, codec: Codec::Packed { blocks: blocks.into() } };
    Some(Unpacked { stream, in_fork, wrong })
}

type Parts = Result<(Vec<Run>, Vec<Block>), String>;

/// Behind the header, in the attribute. Kind 9 has a byte before it.
fn inline(attribute: &Stream, size: u64, kind: u32, method: Method) -> Parts {
    let stored = attribute.size.saturating_sub(HEADER);
    let runs = cut(&attribute.runs, Extent::new(HEADER, stored)).ok_or("the attribute ends before its content")?;
    let block = Block { stored, size, skip: u64::from(kind == 9), method };
    Ok((runs, if size == 0 { Vec::new() } else { vec![block] }))
}

/// In the resource fork, behind a table of the blocks.
fn in_blocks(view: View<'_>, fork: &Stream, size: u64, kind: u32, method: Method) -> Parts {
    let content = Content::new(view, fork);
    let count = size.div_ceil(BLOCK);
    if count > MAX_BLOCKS {
        return Err(format!("it has {size} bytes, more than any file that is compressed"));
    }
    let places = if kind == 4 { zlib_table(&content, count) } else { offsets(&content, count) };
    let places = places.ok_or("the table of its blocks is damaged")?;
    let (mut runs, mut blocks, mut left) = (Vec::new(), Vec::with_capacity(places.len()), size);
    for place in places {
        runs.extend(cut(&fork.runs, place).ok_or("a block lies outside the resource fork")?);
        let here = left.min(BLOCK);
        blocks.push(Block { stored: place.len, size: here, skip: u64::from(kind == 10), method });
        left = left.saturating_sub(here);
    }
    Ok((runs, blocks))
}

/// A resource whose data are a number of blocks, and offset and length of each.
fn zlib_table(content: &Content<'_>, count: u64) -> Option<Vec<Extent>> {
    let start = u64::from(content.prefix(16).be32(0)?).checked_add(4)?;
    let rows = u64::from(content.stretch(start, 4).le32(0)?);
    (rows >= count).then_some(())?;
    let table = content.stretch(start.checked_add(4)?, count.checked_mul(8)?).into_owned();
    let (rows, _) = table.as_chunks::<8>();
    let place = |row: &[u8; 8]| Some(Extent::new(start.checked_add(row.le32(0)?.into())?, row.le32(4)?.into()));
    rows.iter().map(place).collect::<Option<Vec<_>>>().filter(|places| places.len() as u64 == count)
}

/// The offset of each block and of the end of the last one.
fn offsets(content: &Content<'_>, count: u64) -> Option<Vec<Extent>> {
    let table = content.prefix(count.checked_add(1)?.checked_mul(4)?).into_owned();
    let (offsets, _) = table.as_chunks::<4>();
    let offsets: Vec<u64> = offsets.iter().map(|raw| u32::from_le_bytes(*raw).into()).collect();
    let places = offsets.array_windows::<2>().map(|[from, to]| Some(Extent::new(*from, to.checked_sub(*from)?)));
    places.collect::<Option<Vec<_>>>().filter(|places| places.len() as u64 == count)
}

/// The runs of a stretch of a stream; `None` where they end before it does.
fn cut(runs: &[Run], wanted: Extent) -> Option<Vec<Run>> {
    let (mut at, mut out) = (0u64, Vec::new());
    for run in runs {
        let here = Extent::new(at, run.len());
        let common = here.intersect(wanted);
        if !common.is_empty() {
            let skip = common.start.checked_sub(here.start)?;
            out.push(match run {
                Run::Data(extent) => Run::Data(Extent::new(extent.start.checked_add(skip)?, common.len)),
                Run::Hole(_) => Run::Hole(common.len),
            });
        }
        at = here.end();
        if at >= wanted.end() {
            return Some(out);
        }
    }
    wanted.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        writer.write_all(bytes)?;
        writer.finish()
    }

    fn header(kind: u32, size: usize) -> Vec<u8> {
        [b"fpmc".as_slice(), &kind.to_le_bytes(), &(size as u64).to_le_bytes()].concat()
    }

    /// The content of a file with this attribute and this resource fork.
    fn read(attribute: &[u8], fork: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(&[attribute, fork].concat())?;
        let view = View::whole(image.as_ref());
        let (a, f) = (attribute.len() as u64, fork.len() as u64);
        let attribute = Stream::plain(vec![Run::Data(Extent::new(0, a))], a);
        // In two pieces, so that blocks lie across the border of runs.
        let runs = vec![Run::Data(Extent::new(a, f / 2)), Run::Data(Extent::between(a + f / 2, a + f))];
        let fork = Stream::plain(runs, f);
        let unpacked = unpack(view, &attribute, Some(&fork)).ok_or("no decmpfs")?;
        if let Some(wrong) = unpacked.wrong {
            return Err(wrong.into());
        }
        let content = Content::new(view, &unpacked.stream);
        let whole = content.parts().collect::<Result<Vec<_>, _>>();
        Ok(whole.map_err(|fault| fault.to_string())?.concat())
    }

    #[test]
    fn content_in_the_attribute_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let text = b"text that is compressed, text that is compressed";
        let of = |kind: u32, payload: &[u8]| read(&[&header(kind, text.len()), payload].concat(), b"");
        let mut lzfse = Vec::new();
        lzfse_rust::encode_bytes(&text.repeat(9), &mut lzfse)?;
        assert_eq!(of(1, text)?, text);
        assert_eq!(of(3, &zlib(text)?)?, text);
        assert_eq!(of(3, &[b"\xff", text.as_slice()].concat())?, text);
        assert_eq!(of(7, &[b"\x06", text.as_slice()].concat())?, text);
        assert_eq!(of(9, &[b"\xcc", text.as_slice()].concat())?, text);
        assert_eq!(of(11, &lzfse)?, text);
        assert!(of(5, text).is_err_and(|wrong| wrong.to_string().contains("type 5")));
        assert!(of(4, b"").is_err());
        assert!(read(b"fpmd", b"").is_err());
        Ok(())
    }

    #[test]
    fn blocks_in_the_resource_fork_are_read() -> Result<(), Box<dyn std::error::Error>> {
        let text: Vec<u8> = (0..150_000u32).flat_map(|n| (n / 7).to_le_bytes()).take(150_000).collect();
        let blocks = |mark: u8, pack: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
            let raw = |part: &[u8]| [&[mark], part].concat();
            text.chunks(1 << 16).enumerate().map(|(i, part)| if i == 1 { raw(part) } else { pack(part) }).collect()
        };
        // Kind 4: a resource fork with its header, the number of blocks and their places.
        let packed = blocks(0xff, &|part| zlib(part).unwrap_or_default());
        let mut at = 4 + 8 * packed.len();
        let mut fork =
            [&256u32.to_be_bytes()[..], &[0; 252], &[0; 4], &u32::try_from(packed.len())?.to_le_bytes()].concat();
        for block in &packed {
            fork.extend_from_slice(&u32::try_from(at)?.to_le_bytes());
            fork.extend_from_slice(&u32::try_from(block.len())?.to_le_bytes());
            at += block.len();
        }
        fork.extend(packed.concat());
        assert!(read(&header(4, text.len()), &fork)? == text);
        // The others: the offsets of the blocks and of the end.
        let lzfse = |part: &[u8]| {
            let mut out = Vec::new();
            assert!(lzfse_rust::encode_bytes(part, &mut out).is_ok());
            out
        };
        let plain = |part: &[u8]| [&[0xcc], part].concat();
        for (kind, packed) in
            [(12, blocks(0xff, &lzfse)), (8, blocks(6, &|part| [&[6], part].concat())), (10, blocks(0xcc, &plain))]
        {
            let mut fork = Vec::new();
            let mut at = 4 * (packed.len() + 1);
            fork.extend_from_slice(&u32::try_from(at)?.to_le_bytes());
            for block in &packed {
                at += block.len();
                fork.extend_from_slice(&u32::try_from(at)?.to_le_bytes());
            }
            fork.extend(packed.concat());
            assert!(read(&header(kind, text.len()), &fork)? == text, "kind {kind}");
            assert!(read(&header(kind, text.len()), &fork[..fork.len() - 9]).is_err());
        }
        Ok(())
    }
}
