//! Byte ranges and sorted sets of them.
//!
//! An [`Extent`] is a claim until a view has checked it: on-disk structures may name any start and any
//! length, so nothing here overflows, and an end beyond `u64::MAX` saturates.

/// `len` bytes from byte `start`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Extent {
    /// `len` bytes from `start`.
    pub const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    /// From `start` up to, but not including, `end`; empty where `end` is not behind `start`.
    pub const fn between(start: u64, end: u64) -> Self {
        Self { start, len: end.saturating_sub(start) }
    }

    /// The byte behind the last one.
    pub const fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// True where it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// What both hold.
    pub fn intersect(self, other: Self) -> Self {
        Self::between(self.start.max(other.start), self.end().min(other.end()))
    }

    /// The same range, `by` bytes further.
    pub const fn shifted(self, by: u64) -> Self {
        Self { start: self.start.saturating_add(by), len: self.len }
    }
}

/// Extents sorted by start, with none that touch or overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtentSet(Vec<Extent>);

impl ExtentSet {
    /// Sorts and merges any extents; empty ones vanish.
    pub fn new(mut extents: Vec<Extent>) -> Self {
        extents.retain(|e| !e.is_empty());
        extents.sort_unstable();
        let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
        for e in extents {
            match merged.last_mut() {
                Some(last) if e.start <= last.end() => {
                    *last = Extent::between(last.start, last.end().max(e.end()));
                }
                _ => merged.push(e),
            }
        }
        Self(merged)
    }

    /// The extents, sorted.
    pub fn as_slice(&self) -> &[Extent] {
        &self.0
    }

    /// How many bytes it holds.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, e| sum.saturating_add(e.len))
    }

    /// What lies in `self` and in `other`.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let common = x.intersect(**y);
            if !common.is_empty() {
                both.push(common);
            }
            if x.end() <= y.end() {
                a.next()
            } else {
                b.next()
            };
        }
        Self(both)
    }

    /// What lies in `self` but not in `other`.
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut cut = other.0.iter().peekable();
        for e in &self.0 {
            let mut at = e.start;
            while let Some(c) = cut.peek() {
                if c.end() <= at {
                    cut.next();
                    continue;
                }
                if c.start >= e.end() {
                    break;
                }
                if c.start > at {
                    rest.push(Extent::between(at, c.start));
                }
                at = c.end();
                if at >= e.end() {
                    break;
                }
            }
            if at < e.end() {
                rest.push(Extent::between(at, e.end()));
            }
        }
        Self(rest)
    }

    /// What lies in `extent`, found in logarithmic time.
    pub fn within(&self, extent: Extent) -> Self {
        let first = self.0.partition_point(|e| e.end() <= extent.start);
        let from = self.0.get(first..).unwrap_or_default().iter();
        from.take_while(|e| e.start < extent.end()).map(|e| e.intersect(extent)).collect()
    }

    /// True where any byte of `extent` lies in the set.
    pub fn touches(&self, extent: Extent) -> bool {
        let next = self.0.partition_point(|e| e.end() <= extent.start);
        self.0.get(next).is_some_and(|e| !e.intersect(extent).is_empty())
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(iter: I) -> Self {
        Self::new(iter.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(set: &ExtentSet) -> u128 {
        (0..128).fold(0, |bits, i| if set.touches(Extent::new(i, 1)) { bits | 1 << i } else { bits })
    }

    fn any_set() -> impl Strategy<Value = ExtentSet> {
        prop::collection::vec((0u64..100, 0u64..20), 0..12)
            .prop_map(|v| v.into_iter().map(|(start, len)| Extent { start, len }).collect())
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets_of_bytes(a in any_set(), b in any_set()) {
            prop_assert_eq!(bits(&a.intersect(&b)), bits(&a) & bits(&b));
            prop_assert_eq!(bits(&a.subtract(&b)), bits(&a) & !bits(&b));
            prop_assert_eq!(a.total(), u64::from(bits(&a).count_ones()));
            for extent in b.as_slice() {
                prop_assert_eq!(a.within(*extent), a.intersect(&ExtentSet::new(vec![*extent])));
            }
        }
    }

    #[test]
    fn an_end_beyond_the_address_space_saturates() {
        assert_eq!(Extent::new(u64::MAX, 9).end(), u64::MAX);
    }
}
