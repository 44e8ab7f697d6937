//! Members that are packed as a whole (indexes and hashes of bevies, and bevies), unpacked when they are asked for. Those of the
//! whole image that came last are kept, up to a number of bytes.

use super::zip::{self, Member};
use crate::image::file::Source;
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes that are kept.
const KEPT: u64 = 256 << 20;

/// File, place and size of a member.
type Key = (usize, u64, u64);
/// What it holds, and whether its checksum holds.
type Content = OnceLock<Option<(Vec<u8>, bool)>>;

/// Those of an image.
#[derive(Default)]
pub(super) struct Tables(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rows: HashMap<Key, Arc<Content>>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: u64,
}

/// What a member holds.
pub(super) struct Unpacked(Arc<Content>);

impl Deref for Unpacked {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.get().and_then(Option::as_ref).map(|(bytes, _)| bytes.as_slice()).unwrap_or_default()
    }
}

impl Unpacked {
    /// Whether its checksum holds, or it has none.
    pub(super) fn holds(&self) -> bool {
        self.0.get().and_then(Option::as_ref).is_some_and(|(_, holds)| *holds)
    }
}

impl Tables {
    /// What a member holds, where that is at most `most` bytes; who wants the same one at the same time waits for it.
    pub(super) fn get(&self, member: &Member, source: &Source, most: u64) -> Option<Unpacked> {
        if member.size > most {
            return None;
        }
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).slot(member.key(), KEPT);
        slot.get_or_init(|| zip::content(member, source, most));
        slot.get().is_some_and(Option::is_some).then_some(Unpacked(slot))
    }
}

impl Kept {
    /// The place of a member; what came first is dropped where all would be more than `most` bytes.
    fn slot(&mut self, key: Key, most: u64) -> Arc<Content> {
        if let Some(slot) = self.rows.get(&key) {
            return Arc::clone(slot);
        }
        let (_, _, size) = key;
        while self.bytes.saturating_add(size) > most
            && let Some(old) = self.order.pop_front()
        {
            self.rows.remove(&old);
            self.bytes = self.bytes.saturating_sub(old.2);
        }
        self.bytes = self.bytes.saturating_add(size);
        self.order.push_back(key);
        Arc::clone(self.rows.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut kept = Kept::default();
        let first = kept.slot((0, 0, 40), 100);
        first.get_or_init(|| Some((vec![1; 40], true)));
        assert_eq!(kept.slot((0, 0, 40), 100).get(), first.get());
        (1..50).for_each(|at| drop(kept.slot((0, at, 40), 100)));
        assert_eq!((kept.rows.len(), kept.order.len(), kept.bytes), (2, 2, 80));
        assert!(kept.slot((0, 0, 40), 100).get().is_none());
        assert_eq!((Unpacked(first).len(), kept.slot((1, 0, 1000), 100).get(), kept.rows.len()), (40, None, 1));
    }
}
