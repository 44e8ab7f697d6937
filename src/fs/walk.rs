//! The walk through a tree of directories that file systems have in common: what a directory holds follows on its own entry,
//! and entries are made together, by all cores.

use super::{Batch, Entry};
use crate::fault::Fault;
use rayon::prelude::*;
use std::sync::Arc;

/// No path may be deeper.
pub(super) const MAX_DEPTH: usize = 1024;
/// Entries that are made together.
const BATCH: usize = 1024;

/// The directories on the way, and what is left of their names.
pub(super) struct Frames<N>(Vec<(Arc<str>, std::vec::IntoIter<N>)>);

impl<N> Frames<N> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Enters a directory: its names are the next.
    pub(super) fn enter(&mut self, path: Arc<str>, names: Vec<N>) {
        self.0.push((path, names.into_iter()));
    }

    /// The next name, and the path of its directory.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, N)> {
        while let Some((path, names)) = self.0.last_mut() {
            if let Some(name) = names.next() {
                return Some((Arc::clone(path), name));
            }
            self.0.pop();
        }
        None
    }

    /// Whether no directory may be entered below those that were.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_DEPTH
    }
}

/// The entries of the next steps; `None` where there are no more.
pub(super) fn batch<S: Send>(
    mut step: impl FnMut() -> Option<S>,
    make: impl Fn(S) -> Result<Entry, Fault> + Sync + Send,
) -> Option<Batch> {
    let mut steps = Vec::with_capacity(BATCH);
    while steps.len() < BATCH
        && let Some(step) = step()
    {
        steps.push(step);
    }
    let made: Batch = steps.into_par_iter().map(make).collect();
    (!made.is_empty()).then_some(made)
}
