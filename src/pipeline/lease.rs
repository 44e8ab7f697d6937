//! Bounded memory: a unit takes a lease on its worst case before it starts, and the lease goes with its results until
//! the index has taken them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A number of bytes that all units together may hold.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    size: u64,
    taken: Mutex<u64>,
    freed: Condvar,
}

/// Bytes that are spoken for; given back when dropped.
pub struct Lease {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Budget {
    /// A budget of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self(Arc::new(Shared { size: size.max(1), taken: Mutex::new(0), freed: Condvar::new() }))
    }

    /// Waits until `bytes` (at most the whole budget) are free, and takes them.
    pub fn lease(&self, bytes: u64) -> Lease {
        let bytes = bytes.min(self.0.size);
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.saturating_add(bytes) > self.0.size {
            taken = self.0.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = taken.saturating_add(bytes);
        Lease { shared: Arc::clone(&self.0), bytes }
    }
}

impl Lease {
    /// Gives back all but `bytes`: what the work needed is free again when only its result is left.
    pub fn shrink(&mut self, bytes: u64) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes = self.bytes.saturating_sub(back);
        self.give(back);
    }

    fn give(&self, bytes: u64) {
        let mut taken = self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(bytes);
        self.shared.freed.notify_all();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_waits_for_the_one_before_it() {
        let budget = Budget::new(10);
        let mut first = budget.lease(100);
        let other = budget.clone();
        let waiting = std::thread::spawn(move || drop(other.lease(6)));
        first.shrink(4);
        assert!(waiting.join().is_ok());
        drop(first);
        drop(budget.lease(10));
    }
}
