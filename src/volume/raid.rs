//! How arrays spread their bytes over their members, as Linux does (`drivers/md/raid0.c`, `raid5.c`, `raid10.c`; the md(4) manual
//! page): striped, mirrored, with one or two blocks of parity a stripe. LVM2's arrays are laid out alike.

use super::Stretch;
use crate::extent::Extent;
use crate::image::galois;

/// More pieces than this are not put together: an array of 2 TiB in chunks of 512 KiB has so many.
const MOST: u64 = 1 << 22;

/// What an array's level says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// One member behind the other.
    Linear,
    /// 0.
    Striped,
    /// 1.
    Mirrored,
    /// 4, 5 and 6: so many blocks of parity a stripe, placed by the layout's number.
    Parity { blocks: usize, layout: u64 },
    /// 10: near copies, far copies, and whether far copies are offset by a chunk instead.
    Both { near: u64, far: u64, offset: bool },
}

/// An array.
pub(super) struct Array {
    pub level: Level,
    /// Bytes of a chunk.
    pub chunk: u64,
    /// What each member gives, in order: its stretches and their length; none where it is missing.
    pub members: Vec<Option<Vec<Stretch>>>,
    /// Size of the array in bytes.
    pub size: u64,
    /// Bytes of each member that the array uses; of a striped one each may have its own.
    pub each: Vec<u64>,
}

/// Bytes that are stored nowhere: the sum of what stands at these places, each multiplied; of none, where they are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// Where they begin in the volume.
    pub start: u64,
    /// Their number.
    pub len: u64,
    /// Rows of members, where in them, and what each byte there is multiplied with (see [`galois`]).
    pub of: Vec<(usize, u64, u8)>,
}

/// Members that are all here, of an array with parity: at each offset their bytes together give zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parity<P> {
    /// What each member gives, in order.
    pub members: Vec<Vec<P>>,
    /// Bytes of each.
    pub len: u64,
    /// Bytes of a chunk.
    pub chunk: u64,
    blocks: usize,
    layout: u64,
}

impl<P> Parity<P> {
    /// Of the stripe at byte `at` of the members: which has the parity, and which takes no part, since it has the second one.
    pub fn at(&self, at: u64) -> Option<(usize, Option<usize>)> {
        let disks = self.members.len();
        let (data, number) = (disks.checked_sub(self.blocks)?, at.checked_div(self.chunk)?);
        Row { disks, data, blocks: self.blocks, layout: self.layout, number }.parity()
    }

    /// The same, with its members told in another way.
    pub fn map<Q>(&self, each: impl FnMut(&Vec<P>) -> Vec<Q>) -> Parity<Q> {
        let members = self.members.iter().map(each).collect();
        Parity { members, len: self.len, chunk: self.chunk, blocks: self.blocks, layout: self.layout }
    }
}

/// Where the bytes of an array stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub stretches: Vec<Stretch>,
    pub computed: Vec<Computed>,
    /// Where mirrors have the same bytes once more.
    pub copies: Vec<Stretch>,
    /// Where parity is kept, and all that it was made of.
    pub parities: Vec<Parity<Stretch>>,
    /// Bytes that are lost with the members that are missing.
    pub lost: u64,
}

impl Spread {
    /// Notes bytes that no member has any more: they are computed of nothing, and nobody takes them for zeros that were there.
    fn lose(&mut self, start: u64, len: u64) {
        self.lost = self.lost.saturating_add(len);
        self.computed.push(Computed { start, len, of: Vec::new() });
    }
}

impl Array {
    /// Spreads the array.
    ///
    /// # Errors
    /// A sentence where its fields make no sense, or where it has too many pieces.
    pub(super) fn spread(&self) -> Result<Spread, String> {
        let count = self.members.len() as u64;
        if count == 0 || self.members.len() != self.each.len() {
            return Err("it has no members".to_owned());
        }
        if !matches!(self.level, Level::Linear | Level::Mirrored) {
            let chunks = self.size.checked_div(self.chunk).ok_or("its chunks have no size")?;
            if chunks > MOST {
                return Err(format!("it has {chunks} chunks: more than {MOST} are not put together"));
            }
        }
        let mut spread = Spread::default();
        match self.level {
            Level::Linear => self.linear(&mut spread),
            Level::Striped => self.striped(&mut spread),
            Level::Mirrored => self.mirrored(&mut spread),
            Level::Parity { blocks, layout } => self.parity(blocks, layout, &mut spread)?,
            Level::Both { near, far, offset } => self.both(near, far, offset, &mut spread)?,
        }
        Ok(spread)
    }

    /// Adds `len` bytes at `start` of the array, which stand at `at` of a member.
    fn put(&self, spread: &mut Spread, start: u64, member: usize, extent: Extent) -> bool {
        let Some(Some(stretches)) = self.members.get(member) else { return false };
        spread.stretches.extend(
            slice(stretches, extent).map(|piece| Stretch {
                start: start.saturating_add(piece.start.saturating_sub(extent.start)),
                ..piece
            }),
        );
        true
    }

    fn linear(&self, spread: &mut Spread) {
        let mut start = 0u64;
        for (member, len) in self.each.iter().enumerate() {
            if !self.put(spread, start, member, Extent::new(0, *len)) {
                spread.lose(start, *len);
            }
            start = start.saturating_add(*len);
        }
    }

    /// Zones: all members as far as the shortest goes, then those that are longer.
    fn striped(&self, spread: &mut Spread) {
        let (mut start, mut from) = (0u64, 0u64);
        while let Some(to) = self.each.iter().filter(|len| **len > from).min().copied() {
            let zone: Vec<usize> =
                (0..self.each.len()).filter(|m| self.each.get(*m).is_some_and(|len| *len > from)).collect();
            let mut at = from;
            while at < to && start < self.size {
                for member in &zone {
                    let extent = Extent::new(at, self.chunk.min(self.size.saturating_sub(start)));
                    if !self.put(spread, start, *member, extent) {
                        spread.lose(start, extent.len);
                    }
                    start = start.saturating_add(extent.len);
                }
                at = at.saturating_add(self.chunk);
            }
            from = to;
        }
    }

    fn mirrored(&self, spread: &mut Spread) {
        let there = self.members.iter().position(Option::is_some);
        let all = Extent::new(0, self.size);
        if !there.is_some_and(|member| self.put(spread, 0, member, all)) {
            spread.lose(0, self.size);
        }
        let others = self.members.iter().enumerate().filter(|(member, _)| Some(*member) != there);
        let others = others.filter_map(|(_, member)| member.as_ref());
        spread.copies.extend(others.flat_map(|stretches| slice(stretches, all)));
    }

    fn parity(&self, blocks: usize, layout: u64, spread: &mut Spread) -> Result<(), String> {
        let disks = self.members.len();
        let data =
            disks.checked_sub(blocks).filter(|data| *data > 0).ok_or("it has fewer members than parity needs")?;
        let chunks = self.size.div_ceil(self.chunk);
        for number in 0..chunks {
            let (row, column) =
                (number.checked_div(data as u64).unwrap_or(0), number.checked_rem(data as u64).unwrap_or(0));
            let column = usize::try_from(column).unwrap_or(0);
            let place = Row { disks, data, blocks, layout, number: row };
            let member = place.member(column).ok_or("its layout is not known")?;
            let start = number.saturating_mul(self.chunk);
            let extent = Extent::new(row.saturating_mul(self.chunk), self.chunk.min(self.size.saturating_sub(start)));
            if !self.put(spread, start, member, extent) {
                self.compute(spread, start, member, extent, &place);
            }
        }
        if let Some(members) = self.members.iter().cloned().collect() {
            let len = chunks.div_ceil(data as u64).saturating_mul(self.chunk);
            let len = len.min(self.each.iter().min().copied().unwrap_or(0));
            spread.parities.push(Parity { members, len, chunk: self.chunk, blocks, layout });
        }
        Ok(())
    }

    /// A chunk of a member that is missing: the rest of its stripe gives it.
    fn compute(&self, spread: &mut Spread, start: u64, missing: usize, extent: Extent, place: &Row) {
        let gone: Vec<usize> =
            (0..self.members.len()).filter(|m| self.members.get(*m).is_some_and(Option::is_none)).collect();
        let one = |(member, factor): (usize, u8)| {
            let mut pieces = slice(self.members.get(member)?.as_ref()?, extent);
            let (row, at) = pieces.next().filter(|piece| piece.len == extent.len)?.place?;
            Some((row, at, factor))
        };
        let terms =
            place.terms(missing, &gone).and_then(|terms| terms.into_iter().map(one).collect::<Option<Vec<_>>>());
        match terms {
            Some(of) => spread.computed.push(Computed { start, len: extent.len, of }),
            None => spread.lose(start, extent.len),
        }
    }

    fn both(&self, near: u64, far: u64, offset: bool, spread: &mut Spread) -> Result<(), String> {
        let disks = self.members.len() as u64;
        let copies =
            near.checked_mul(far).filter(|copies| (1..=disks).contains(copies)).ok_or("its layout is not known")?;
        // Chunks of a member up to its second copies.
        let member = self.each.iter().min().and_then(|len| len.checked_div(self.chunk)?.checked_div(far)).unwrap_or(0);
        let chunks = member.saturating_mul(disks).checked_div(near).unwrap_or(0);
        let used = chunks.saturating_mul(copies).div_ceil(disks.max(1));
        let stride = if offset { 1 } else { used.checked_div(far).unwrap_or(0) }.saturating_mul(self.chunk);
        for number in 0..self.size.div_ceil(self.chunk) {
            let start = number.saturating_mul(self.chunk);
            let len = self.chunk.min(self.size.saturating_sub(start));
            let first = number.saturating_mul(near);
            let (row, column) = (first.checked_div(disks).unwrap_or(0), first.checked_rem(disks).unwrap_or(0));
            let row = if offset { row.saturating_mul(far) } else { row };
            let copy = |copy: u64| {
                let (f, n) = (copy.checked_div(near)?, copy.checked_rem(near)?);
                let (column, wraps) = (column.checked_add(n)?, column.checked_add(n)?.checked_div(disks)?);
                let row = row.checked_add(wraps)?;
                let column = column.checked_add(f.checked_mul(near)?)?.checked_rem(disks)?;
                let at = row.checked_mul(self.chunk)?.checked_add(f.checked_mul(stride)?)?;
                Some((usize::try_from(column).ok()?, at))
            };
            let mut places = (0..copies).filter_map(copy);
            if !places.any(|(member, at)| self.put(spread, start, member, Extent::new(at, len))) {
                spread.lose(start, len);
            }
        }
        Ok(())
    }
}

/// A stripe of an array with parity.
struct Row {
    disks: usize,
    data: usize,
    blocks: usize,
    layout: u64,
    number: u64,
}

impl Row {
    /// The member of the first parity, and of the second where there are two.
    fn parity(&self) -> Option<(usize, Option<usize>)> {
        let turn = usize::try_from(self.number.checked_rem(self.disks as u64)?).ok()?;
        let last = self.disks.checked_sub(1)?;
        let next = |member: usize| member.checked_add(1)?.checked_rem(self.disks);
        let first = match self.layout {
            // Left: the parity moves towards the first member; right: towards the last.
            0 | 2 | 10 => last.checked_sub(turn)?,
            1 | 3 | 8 => turn,
            // As 0, one stripe further.
            9 => last.checked_sub(turn.checked_add(1)?.checked_rem(self.disks)?)?,
            4 => 0,
            5 => self.data,
            // RAID 6 as RAID 5 on all members but the last, which has the second parity.
            16..=20 => return self.five().map(|p| (p, Some(last))),
            _ => return None,
        };
        let second = if self.layout == 10 { first.checked_add(last)?.checked_rem(self.disks) } else { next(first) };
        Some((first, second.filter(|_| self.blocks == 2)))
    }

    fn five(&self) -> Option<usize> {
        let disks = self.disks.checked_sub(1)?;
        let turn = usize::try_from(self.number.checked_rem(disks as u64)?).ok()?;
        match self.layout {
            16 | 18 => disks.checked_sub(1)?.checked_sub(turn),
            17 | 19 => Some(turn),
            _ => Some(0),
        }
    }

    /// What a member is multiplied with in the second parity is the generator so many times with itself: as `raid5.c` counts, from
    /// the member behind that parity, or by the members' numbers in the layouts of DDF.
    fn exponent(&self, member: usize) -> Option<usize> {
        let (first, second) = self.parity()?;
        if matches!(self.layout, 8..=10) {
            return Some(member);
        }
        let from = second?.checked_add(1)?;
        let mut ring = (0..self.disks).filter_map(|n| n.checked_add(from)?.checked_rem(self.disks));
        ring.by_ref().filter(|m| *m != first && Some(*m) != second).position(|m| m == member)
    }

    /// The members that give the chunk of one that is missing, and what each is multiplied with. `gone`: all that are missing.
    fn terms(&self, missing: usize, gone: &[usize]) -> Option<Vec<(usize, u8)>> {
        let (first, second) = self.parity()?;
        let there = (0..self.disks).filter(|member| !gone.contains(member));
        let others: Vec<usize> =
            gone.iter().copied().filter(|member| *member != missing && Some(*member) != second).collect();
        let Some(other) = others.first().copied() else {
            return Some(there.filter(|member| Some(*member) != second).map(|member| (member, 1)).collect());
        };
        let second = second.filter(|second| others.len() == 1 && !gone.contains(second))?;
        let of = |member: usize| self.exponent(member).map(galois::power);
        let x = of(missing)?;
        // Both parities together where another block of data is missing, too, else the second alone.
        let (by_first, by_second) = if other == first {
            (0, galois::inverse(x))
        } else {
            let (y, both) = (of(other)?, galois::inverse(x ^ of(other)?));
            (galois::times(y, both), both)
        };
        let factor = |member: usize| match member {
            member if member == first => Some(by_first),
            member if member == second => Some(by_second),
            member => Some(by_first ^ galois::times(by_second, of(member)?)),
        };
        there.map(|member| Some((member, factor(member)?))).collect()
    }

    /// The member that holds the data block of this number.
    fn member(&self, column: usize) -> Option<usize> {
        let (first, second) = self.parity()?;
        match self.layout {
            // Symmetric: the data goes on behind the parity.
            2 | 3 => column.checked_add(first)?.checked_add(self.blocks)?.checked_rem(self.disks),
            10 => column.checked_add(first)?.checked_add(1)?.checked_rem(self.disks),
            18 | 19 => column.checked_add(first)?.checked_add(1)?.checked_rem(self.disks.checked_sub(1)?),
            // The others leave out the members with parity.
            _ => {
                let mut free = (0..self.disks).filter(|member| *member != first && Some(*member) != second);
                free.nth(column)
            }
        }
    }
}

/// What of stretches in order lies in `extent`.
pub(super) fn slice(stretches: &[Stretch], extent: Extent) -> impl Iterator<Item = Stretch> + '_ {
    let first = stretches.partition_point(|s| s.start.saturating_add(s.len) <= extent.start);
    let rest = stretches.get(first..).unwrap_or_default().iter();
    rest.take_while(move |s| s.start < extent.end()).map(move |s| {
        let common = Extent::new(s.start, s.len).intersect(extent);
        let skip = common.start.saturating_sub(s.start);
        let place = s.place.map(|(row, at)| (row, at.saturating_add(skip)));
        Stretch { start: common.start, len: common.len, place }
    })
}
