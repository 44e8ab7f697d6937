//! The content of a file: from its extents to the stretches of the device, and the blocks that are packed.

use super::Disk;
use super::item::{Packing, Piece, Where};
use crate::content::packed::{Block, Method};
use crate::content::{Codec, Run, Stream};
use crate::extent::Extent;

/// A content that is put together.
#[derive(Default)]
struct Build {
    runs: Vec<Run>,
    blocks: Vec<Block>,
    at: u64,
    packed: bool,
}

/// The stream of a file of `size` bytes with these extents, in order, and what is wrong with them: behind what cannot be
/// found nothing is read.
pub(super) fn stream(disk: &Disk<'_>, pieces: &[Piece], size: u64) -> (Stream, Option<String>) {
    let mut build = Build { packed: pieces.iter().any(|piece| piece.packing != Packing::None), ..Build::default() };
    let wrong = pieces.iter().find_map(|piece| build.piece(disk, piece, size).err());
    if wrong.is_none() && build.at < size {
        build.hole(size.saturating_sub(build.at));
    }
    let codec = if build.packed { Codec::Packed { blocks: build.blocks.into() } } else { Codec::Plain };
    (Stream { size, runs: build.runs, valid: size, codec }, wrong)
}

impl Build {
    fn piece(&mut self, disk: &Disk<'_>, piece: &Piece, size: u64) -> Result<(), String> {
        let gap = piece.offset.checked_sub(self.at).ok_or("its extents overlap")?;
        self.hole(gap);
        match piece.place {
            Where::Hole => self.hole(piece.len),
            Where::Inline { at, len } => {
                // What is in the item is all that there is, whatever the size says.
                self.push(Run::Data(Extent::new(at, len)));
                self.block(len, piece.len, 0, piece.packing);
            }
            Where::Regular { address, skip, .. } if piece.packing == Packing::None => {
                let start = address.checked_add(skip).ok_or("an extent of it ends behind all addresses")?;
                self.data(disk, Extent::new(start, piece.len))?;
                self.block(piece.len, piece.len, 0, Packing::None);
            }
            Where::Regular { address, len, skip } => {
                self.data(disk, Extent::new(address, len))?;
                self.block(len, piece.len, skip, piece.packing);
            }
            Where::Reserved { address, skip } => {
                // Zeros up to the size; what stands behind it no content reads.
                let zeros = size.saturating_sub(self.at).min(piece.len);
                self.hole(zeros);
                let rest = piece.len.saturating_sub(zeros);
                if rest > 0 && !self.packed {
                    let start = address.saturating_add(skip).saturating_add(zeros);
                    self.data(disk, Extent::new(start, rest))?;
                    self.at = self.at.saturating_add(rest);
                }
            }
        }
        Ok(())
    }

    fn block(&mut self, stored: u64, size: u64, skip: u64, packing: Packing) {
        let method = match packing {
            Packing::None => Method::Plain,
            Packing::Zlib => Method::BtrfsZlib,
            Packing::Lzo => Method::BtrfsLzo,
            Packing::Zstd => Method::BtrfsZstd,
        };
        self.blocks.push(Block { stored, size, skip, method });
        self.at = self.at.saturating_add(size);
    }

    fn hole(&mut self, len: u64) {
        if len == 0 {
            return;
        }
        if self.packed {
            self.blocks.push(Block { stored: 0, size: len, skip: 0, method: Method::Hole });
        } else {
            self.push(Run::Hole(len));
        }
        self.at = self.at.saturating_add(len);
    }

    /// The stretches of the device that hold `extent` of the address space.
    fn data(&mut self, disk: &Disk<'_>, extent: Extent) -> Result<(), String> {
        for (piece, len) in disk.chunks.pieces(extent) {
            let missing = || format!("{len} bytes of it are on another device, or in no chunk");
            self.push(Run::Data(piece.ok_or_else(missing)?));
        }
        Ok(())
    }

    fn push(&mut self, run: Run) {
        match (self.runs.last_mut(), run) {
            _ if run.is_empty() => {}
            (Some(Run::Data(last)), Run::Data(next)) if last.end() == next.start => {
                last.len = last.len.saturating_add(next.len);
            }
            (Some(Run::Hole(last)), Run::Hole(next)) => *last = last.saturating_add(next),
            _ => self.runs.push(run),
        }
    }
}
