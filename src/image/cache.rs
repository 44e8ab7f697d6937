//! Decoded chunks that are likely to be asked for again: a fixed number of places, one of which is each chunk's own.
//!
//! Chunks that lie side by side have places side by side, so a stretch as long as the whole cache is kept whole. Each
//! place has a lock of its own, held only to copy a pointer: nobody waits while somebody decodes, and two who want the
//! same chunk at the same time both decode it.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that one image keeps decoded.
const KEPT: u64 = 128 << 20;
/// Places that there are at least, however large a chunk is.
const FEWEST: u64 = 8;

type Place = Mutex<Option<(u64, Arc<Vec<u8>>)>>;

/// Decoded chunks by the offset at which they begin.
pub struct Cache {
    grain: u64,
    places: Vec<Place>,
}

impl Cache {
    /// For chunks of `grain` bytes at most.
    pub fn new(grain: u64) -> Self {
        let places = KEPT.checked_div(grain).unwrap_or(FEWEST).clamp(FEWEST, KEPT >> 12);
        Self { grain: grain.max(1), places: (0..places).map(|_| Mutex::new(None)).collect() }
    }

    fn place(&self, start: u64) -> Option<&Place> {
        let row = start.checked_div(self.grain)?.checked_rem(self.places.len() as u64)?;
        self.places.get(crate::bytes::index(row))
    }

    /// The chunk that begins at `start`, where it is kept.
    pub fn get(&self, start: u64) -> Option<Arc<Vec<u8>>> {
        let kept = self.place(start)?.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|(of, _)| *of == start).map(|(_, bytes)| Arc::clone(bytes))
    }

    /// Keeps it; what had its place is dropped.
    pub fn put(&self, start: u64, bytes: Arc<Vec<u8>>) {
        let old = self.place(start).and_then(|place| {
            let mut kept = place.lock().unwrap_or_else(PoisonError::into_inner);
            kept.replace((start, bytes))
        });
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_push_each_other_out() {
        let cache = Cache::new(1 << 20);
        (0..128).for_each(|n| cache.put(n << 20, Arc::new(vec![n as u8])));
        assert!((0..128).all(|n| cache.get(n << 20).is_some_and(|b| *b == [n as u8])));
        cache.put(128 << 20, Arc::new(vec![0]));
        assert_eq!(cache.get(0), None);
        assert!(Cache::new(0).get(7).is_none());
    }
}
