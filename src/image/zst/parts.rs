//! A frame of Zstandard in parts that are read on their own.
//!
//! What a block needs of those before it is the window, the last tables and the last three offsets, and that is what a dictionary holds,
//! too (RFC 8878, 5). So a part is unpacked as a frame of its own, with a dictionary that says how things stood where it begins. Opening
//! goes through the frame once and unpacks each part in that very way: where the frame's checksum holds, so does every part, and each
//! keeps a checksum for when it is read again.
//!
//! Of a window only what its part reaches back to is kept, and that packed. Where there is no room for all, those of every second part
//! are dropped, and again: a part without one is read by way of the parts before it.

use super::block::{Kept, MOST, Setting};
use crate::bytes::{Fields, all_zero, index, offset};
use crate::extent::Extent;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::Hasher;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use twox_hash::XxHash64;

/// Bytes that are told apart of a window.
const GRAIN: u64 = 64;
/// Bytes of windows that are kept unpacked for reading on.
const CARRIED: usize = 64 << 20;
const DAMAGED: &str = "is damaged";

/// How a frame is taken apart.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Bytes of the frame's header.
    pub(super) header: usize,
    /// How far back its blocks may reach.
    pub(super) window: u64,
    /// Whether a checksum follows its blocks.
    pub(super) summed: bool,
    /// The low half of the XXH64 of what it holds, where a table says it.
    pub(super) sum: Option<u32>,
    /// How much a part holds at least, if it is not the last.
    pub(super) least: u64,
    /// How many bytes of packed windows are kept.
    pub(super) room: usize,
}

/// A block that is not unpacked as it stands in the file.
struct Changed {
    /// Where it stands in the frame, with its header.
    place: Extent,
    bytes: Vec<u8>,
}

/// A part.
struct Part {
    /// First byte of the frame's content in it.
    at: u64,
    len: u64,
    /// Its blocks, by bytes of the frame.
    packed: Extent,
    /// True where the frame ends with it.
    last: bool,
    /// A dictionary without content.
    dictionary: Vec<u8>,
    changed: Vec<Changed>,
    /// The XXH64 of what it holds.
    sum: u64,
    /// The window before it, packed; none where that is not kept.
    window: Option<Vec<u8>>,
}

/// How the blocks end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Last,
    Broken,
}

/// A frame in parts.
pub(super) struct Parts {
    plan: Plan,
    parts: Vec<Part>,
    /// How much the frame holds, as far as it is read.
    pub(super) len: u64,
    /// The largest part.
    pub(super) grain: u64,
    /// What is wrong with it.
    pub(super) fault: Option<String>,
    /// Windows before parts that keep none.
    carried: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
    /// Every so many parts one keeps its window.
    stride: usize,
    kept: usize,
}

impl Parts {
    /// Goes through the frame.
    pub(super) fn read(frame: &[u8], plan: Plan) -> Self {
        let carried = Mutex::default();
        let mut parts = Self { plan, parts: Vec::new(), len: 0, grain: 0, fault: None, carried, stride: 1, kept: 0 };
        let proof = || if plan.summed { None } else { plain_sum(frame) };
        let ((end, sum), proof) = rayon::join(|| parts.pass(frame), proof);
        let foot = frame.len().checked_sub(4).and_then(|at| frame.le32(at));
        let is_sum = |said: u32| u64::from(said) == sum & u64::from(u32::MAX);
        let sums = if plan.summed { foot.is_some_and(is_sum) } else { proof == Some(sum) };
        let holds = sums && plan.sum.is_none_or(is_sum);
        parts.fault = match end {
            End::Last if holds => None,
            End::Last => {
                Some("has a checksum that does not hold: which of its bytes are wrong is not known".to_owned())
            }
            End::Open | End::Broken => Some(format!(
                "is damaged or breaks off behind the first {} bytes that it holds: whether these are right is not known",
                parts.len
            )),
        };
        parts
    }

    /// Unpacks all, the next part being looked through meanwhile. Gives how it ended, and the XXH64 of all.
    fn pass(&mut self, frame: &[u8]) -> (End, u64) {
        let mut walk =
            Walk { frame, plan: self.plan, place: self.plan.header, at: 0, kept: Kept::default(), padded: Vec::new() };
        let (mut sum, mut window) = (XxHash64::with_seed(0), Vec::new());
        let mut here = walk.part();
        loop {
            let (mut part, reached, end) = here;
            let mut next = || (end == End::Open).then(|| walk.part());
            let unpacked = || {
                let content = part.unpacked(frame, &window)?;
                Ok::<_, &'static str>((XxHash64::oneshot(0, &content), content))
            };
            let (content, next) = rayon::join(unpacked, &mut next);
            if part.len > 0 {
                let Ok((own, content)) = content else { return (End::Broken, 0) };
                part.sum = own;
                sum.write(&content);
                self.keep(part, reached, &window);
                window = self.slid(&window, &content);
            }
            let Some(next) = next else { return (end, sum.finish()) };
            here = next;
        }
    }

    /// Takes a part, and what it needs of the window before it.
    fn keep(&mut self, mut part: Part, reached: Option<Vec<u64>>, window: &[u8]) {
        let number = self.parts.len();
        if number.checked_rem(self.stride) == Some(0) {
            let needed = reached.map_or(Cow::Borrowed(window), |reached| Cow::Owned(masked(window, &reached)));
            part.window = zstd::bulk::compress(&needed, 1).ok();
            self.kept = self.kept.saturating_add(part.window.as_ref().map_or(0, Vec::len));
        }
        self.len = self.len.saturating_add(part.len);
        self.grain = self.grain.max(part.len);
        self.parts.push(part);
        while self.kept > self.plan.room && self.stride < self.parts.len() {
            self.stride = self.stride.saturating_mul(2);
            let drop = self.parts.iter_mut().enumerate().filter(|(n, _)| n.checked_rem(self.stride) != Some(0));
            drop.for_each(|(_, part)| part.window = None);
            self.kept = self.parts.iter().flat_map(|part| &part.window).map(Vec::len).sum();
        }
    }

    /// The window behind `content`.
    fn slid(&self, window: &[u8], content: &[u8]) -> Vec<u8> {
        let most = index(self.plan.window);
        let fresh = content.get(content.len().saturating_sub(most)..).unwrap_or_default();
        let old = most.saturating_sub(fresh.len());
        [window.get(window.len().saturating_sub(old)..).unwrap_or_default(), fresh].concat()
    }

    /// The part that holds byte `at` of the frame's content: which bytes, and where they lie in the frame.
    pub(super) fn find(&self, at: u64) -> Option<(Extent, Extent)> {
        let part = self.parts.get(self.row(at)?)?;
        Some((Extent::new(part.at, part.len), part.packed))
    }

    fn row(&self, at: u64) -> Option<usize> {
        self.parts.partition_point(|part| part.at <= at).checked_sub(1).filter(|_| at < self.len)
    }

    /// What the part holds that byte `at` lies in.
    ///
    /// # Errors
    /// Where it is not what it was when the frame was opened.
    pub(super) fn content(&self, frame: &[u8], at: u64) -> Result<Vec<u8>, &'static str> {
        let row = self.row(at).ok_or(DAMAGED)?;
        if let Some(window) = self.window(row)? {
            return self.checked(frame, row, &window);
        }
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let point = (0..row).rev().find(|n| self.parts.get(*n).is_some_and(|part| part.window.is_some()));
        let point = point.ok_or(DAMAGED)?;
        let near = carried.iter().filter(|(n, _)| (point..=row).contains(n)).max_by_key(|(n, _)| *n);
        let (mut number, mut window) = match near {
            Some((number, window)) => (*number, Arc::clone(window)),
            None => (point, Arc::new(self.window(point)?.ok_or(DAMAGED)?)),
        };
        loop {
            let content = self.checked(frame, number, &window)?;
            window = Arc::new(self.slid(&window, &content));
            let next = number.saturating_add(1);
            if carried.iter().all(|(n, _)| *n != next) {
                carried.push_back((next, Arc::clone(&window)));
                let most = CARRIED.checked_div(window.len()).unwrap_or(0).max(2);
                while carried.len() > most {
                    carried.pop_front();
                }
            }
            if number == row {
                return Ok(content);
            }
            number = next;
        }
    }

    /// The window before part `row`, where it is kept.
    fn window(&self, row: usize) -> Result<Option<Vec<u8>>, &'static str> {
        let Some(part) = self.parts.get(row) else { return Ok(None) };
        let len = index(part.at.min(self.plan.window));
        let unpacked = part.window.as_ref().map(|packed| zstd::bulk::decompress(packed, len));
        unpacked.transpose().map_err(|_| DAMAGED)
    }

    fn checked(&self, frame: &[u8], row: usize, window: &[u8]) -> Result<Vec<u8>, &'static str> {
        let part = self.parts.get(row).ok_or(DAMAGED)?;
        let content = part.unpacked(frame, window)?;
        if XxHash64::oneshot(0, &content) == part.sum { Ok(content) } else { Err(DAMAGED) }
    }
}

impl Part {
    /// What it holds, given the window before it.
    fn unpacked(&self, frame: &[u8], window: &[u8]) -> Result<Vec<u8>, &'static str> {
        /// The magic, flags that promise nothing, and a window that is larger than any block.
        const HEADER: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0, 0x88];
        /// An empty block, the last.
        const END: &[u8] = &[1, 0, 0];
        let mut packed = HEADER.to_vec();
        let mut at = index(self.packed.start);
        for changed in &self.changed {
            packed.extend_from_slice(frame.get(at..index(changed.place.start)).ok_or(DAMAGED)?);
            packed.extend_from_slice(&changed.bytes);
            at = index(changed.place.end());
        }
        packed.extend_from_slice(frame.get(at..index(self.packed.end())).ok_or(DAMAGED)?);
        packed.extend_from_slice(if self.last { &[] } else { END });
        let mut dictionary = Vec::new();
        if self.at > 0 {
            // The offsets that a frame begins with lie within the content of every dictionary.
            let missing = 8usize.saturating_sub(window.len());
            dictionary = [&self.dictionary, vec![0; missing].as_slice(), window].concat();
        }
        let mut decoder = zstd::bulk::Decompressor::with_dictionary(&dictionary).map_err(|_| DAMAGED)?;
        let content = decoder.decompress(&packed, index(self.len)).map_err(|_| DAMAGED)?;
        if offset(content.len()) == self.len { Ok(content) } else { Err(DAMAGED) }
    }
}

/// The way through the blocks.
struct Walk<'f> {
    frame: &'f [u8],
    plan: Plan,
    /// The next block.
    place: usize,
    /// How much those before it hold.
    at: u64,
    kept: Kept,
    padded: Vec<u8>,
}

impl Walk<'_> {
    /// The next part; which bytes of the window it reaches back to, a bit for [`GRAIN`] bytes, where none behind it does; and what follows.
    fn part(&mut self) -> (Part, Option<Vec<u64>>, End) {
        let (at, place) = (self.at, self.place);
        let start = at.saturating_sub(self.plan.window);
        let alone = self.plan.window <= self.plan.least;
        let mut reached = alone.then(|| vec![0u64; index(at.saturating_sub(start).div_ceil(GRAIN * 64))]);
        let dictionary = self.kept.dictionary().unwrap_or_default();
        let (mut changed, mut fresh) = (Vec::new(), [true; 3]);
        let mut end = End::Open;
        while end == End::Open && self.at.saturating_sub(at) < self.plan.least {
            let mut reaches = |extent: Extent| {
                let extent = extent.intersect(Extent::between(start, at));
                if let Some(bits) = reached.as_mut().filter(|_| !extent.is_empty()) {
                    mark(bits, extent.start.saturating_sub(start), extent.end().saturating_sub(start));
                }
            };
            end = self.block(&mut changed, &mut fresh, &mut reaches).unwrap_or(End::Broken);
        }
        let packed = Extent::between(offset(place), offset(self.place));
        let len = self.at.saturating_sub(at);
        let last = end == End::Last;
        (Part { at, len, packed, last, dictionary, changed, sum: 0, window: None }, reached, end)
    }

    /// Steps over a block. `None` where it is damaged.
    fn block(
        &mut self,
        changed: &mut Vec<Changed>,
        fresh: &mut [bool; 3],
        reaches: &mut dyn FnMut(Extent),
    ) -> Option<End> {
        let [a, b, c] = self.frame.array::<3>(self.place)?;
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (kind, size) = (header >> 1 & 3, index((header >> 3).into()));
        let stored = if kind == 1 { 1 } else { size };
        let block = self.frame.span(self.place.checked_add(3)?, stored)?;
        let next = self.place.checked_add(3)?.checked_add(stored)?;
        let len = match kind {
            0 | 1 => offset(size),
            2 => {
                let setting = Setting { at: self.at, window: self.plan.window, reaches };
                let seen = self.kept.pass(block, setting, &mut self.padded)?;
                if let Some(rewritten) = seen.rewritten(block, *fresh) {
                    let size = u32::try_from(rewritten.len()).ok()?;
                    let [a, b, c, _] = (header & 7 | size.checked_mul(8)?).to_le_bytes();
                    let place = Extent::between(offset(self.place), offset(next));
                    changed.push(Changed { place, bytes: [&[a, b, c][..], &rewritten].concat() });
                }
                if let Some(own) = seen.own(block) {
                    // What it repeats of one code is its own now.
                    let has = |(row, fresh): (&mut bool, bool)| *row &= !fresh;
                    fresh.iter_mut().zip(own).for_each(has);
                }
                seen.len
            }
            _ => return None,
        };
        self.at = self.at.checked_add(len).filter(|_| len <= MOST)?;
        self.place = next;
        Some(if header & 1 != 0 { End::Last } else { End::Open })
    }
}

/// Sets the bits for `from..to`.
fn mark(bits: &mut [u64], from: u64, to: u64) {
    for bit in from / GRAIN..to.div_ceil(GRAIN) {
        if let Some(word) = bits.get_mut(index(bit / 64)) {
            *word |= 1u64.wrapping_shl((bit % 64) as u32);
        }
    }
}

/// A window with zeros for all that is not reached.
fn masked(window: &[u8], reached: &[u64]) -> Vec<u8> {
    let mut out = window.to_vec();
    for (number, grain) in out.chunks_mut(GRAIN as usize).enumerate() {
        let word = reached.get(number >> 6).copied().unwrap_or(0);
        if word >> (number & 63) & 1 == 0 && !all_zero(grain) {
            grain.fill(0);
        }
    }
    out
}

/// The XXH64 of a frame that has none, as the library unpacks it in one go.
fn plain_sum(frame: &[u8]) -> Option<u64> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).ok()?.single_frame();
    decoder.window_log_max(31).ok()?;
    let (mut sum, mut buffer) = (XxHash64::with_seed(0), vec![0; 1 << 20]);
    loop {
        let len = decoder.read(&mut buffer).ok()?;
        sum.write(buffer.get(..len).filter(|bytes| !bytes.is_empty()).unwrap_or_default());
        if len == 0 {
            return Some(sum.finish());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use zstd::zstd_safe::CParameter;

    /// Bytes of all kinds: noise, text, runs, what came before a while ago.
    fn bytes(kinds: &[(u8, u16, u32)]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for (kind, len, seed) in kinds {
            let mut state = *seed | 1;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state
            };
            let len = usize::from(*len) * 8;
            let next: Vec<u8> = match kind {
                0 => (0..len).map(|_| random() as u8).collect(),
                1 => (0..len / 6).flat_map(|_| format!("{:06} ", random() % 999).into_bytes()).collect(),
                2 => vec![*seed as u8; len],
                3 => (0..len).map(|n| (n / 64 * 7) as u8).collect(),
                _ => {
                    let from = *seed as usize % out.len().max(1);
                    out[from..(from + len).min(out.len())].to_vec()
                }
            };
            out.extend(next);
        }
        out
    }

    fn packed(bytes: &[u8], level: i32, window: u32, summed: bool) -> Vec<u8> {
        let mut packer = zstd::stream::Encoder::new(Vec::new(), level).unwrap();
        packer.set_parameter(CParameter::WindowLog(window)).unwrap();
        packer.include_checksum(summed).unwrap();
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn parts(frame: &[u8], least: u64, room: usize) -> Parts {
        let head = super::super::header(frame).unwrap();
        let plan = Plan { header: head.len, window: head.window, summed: head.summed, sum: None, least, room };
        Parts::read(frame, plan)
    }

    fn holds(parts: &Parts, frame: &[u8], bytes: &[u8]) {
        assert_eq!((parts.fault.as_deref(), parts.len), (None, bytes.len() as u64));
        let mut at = bytes.len() as u64;
        // From behind, so that nothing is carried on.
        while let Some((held, _)) = at.checked_sub(1).and_then(|last| parts.find(last)) {
            let there = &bytes[held.start as usize..held.end() as usize];
            assert!(
                parts.content(frame, held.start).unwrap() == there,
                "the part at {} is not what it was",
                held.start
            );
            at = held.start;
        }
        assert_eq!((at, parts.find(bytes.len() as u64)), (0, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_part_is_what_it_was(
            kinds in prop::collection::vec((0u8..6, any::<u16>(), any::<u32>()), 1..8),
            level in -5i32..20,
            window in 10u32..21,
            summed in any::<bool>(),
            least in prop_oneof![Just(1u64), Just(1 << 17), Just(1 << 20)],
            room in prop_oneof![Just(0usize), Just(3000), Just(usize::MAX)],
        ) {
            let bytes = bytes(&kinds);
            let frame = packed(&bytes, level, window, summed);
            holds(&parts(&frame, least, room), &frame, &bytes);
        }

        #[test]
        fn damage_is_told(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
            let bytes = bytes(&[(1, 30_000, 5), (0, 2000, 7), (4, 9000, 100), (3, 20_000, 1)]);
            let mut frame = packed(&bytes, 3, 17, true);
            let header = super::super::header(&frame).unwrap().len;
            let at = header + at.index(frame.len() - header);
            if cut {
                frame.truncate(at);
            } else {
                frame[at] ^= 1 << bit;
            }
            let parts = parts(&frame, 1 << 17, usize::MAX);
            prop_assert!(parts.fault.is_some());
            let mut from = 0;
            while let Some((held, _)) = parts.find(from) {
                prop_assert_eq!(parts.content(&frame, from).unwrap().len() as u64, held.len);
                from = held.end();
            }
            prop_assert_eq!(from, parts.len);
        }
    }

    #[test]
    fn a_table_of_one_code_is_repeated_across_parts() {
        // By `decodecorpus -s77 -n2500 --content-size --max-content-size-log=14` of zstd 1.5.4; no other packer repeats such a table.
        let hex = "\
            28b52ffd8404b5000000000000fc01006a03940012b025e987431125600dc7121d133d46216009030003000300df7d0c4fe7\
            0f9fca37fb330306a8f0e22e3f170f604c60f6b00f60d29a68aaa899054c0000c5028e0154000324376d00000005c0460587\
            016e0007030bcced9c6838";
        let frame = crate::bytes::unhex(hex).unwrap();
        let bytes = zstd::decode_all(&frame[..]).unwrap();
        let parts = parts(&frame, 1, usize::MAX);
        assert_eq!(parts.parts.iter().map(|part| part.changed.len()).sum::<usize>(), 1);
        holds(&parts, &frame, &bytes);
    }
}
