//! The walk through a tree of directories that file systems have in common: what a directory holds follows on its own entry,
//! and entries are made together, by all cores.

use super::{Batch, Entry};
use crate::fault::Fault;
use rayon::prelude::*;

/// No path may be deeper.
pub(super) const MAX_DEPTH: usize = 1024;
/// Entries that are made together.
pub(super) const BATCH: usize = 1024;

/// The directories on the way, each with what its names need to know of it (its path), and what is left of these.
pub(super) struct Frames<D, N>(Vec<(D, std::vec::IntoIter<N>)>);

impl<D: Clone, N> Frames<D, N> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Enters a directory: its names are the next.
    pub(super) fn enter(&mut self, directory: D, names: Vec<N>) {
        self.0.push((directory, names.into_iter()));
    }

    /// The next name, and its directory.
    pub(super) fn next(&mut self) -> Option<(D, N)> {
        while let Some((directory, names)) = self.0.last_mut() {
            if let Some(name) = names.next() {
                return Some((directory.clone(), name));
            }
            self.0.pop();
        }
        None
    }

    /// Whether no directory may be entered below those that were.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_DEPTH
    }

    /// Whether no directory is on the way.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The entries of the next steps; `None` where there are no more.
pub(super) fn batch<S: Send>(
    mut step: impl FnMut() -> Option<S>,
    make: impl Fn(S) -> Result<Entry, Fault> + Sync + Send,
) -> Option<Batch> {
    let made: Batch = steps(&mut step).into_par_iter().map(make).collect();
    (!made.is_empty()).then_some(made)
}

/// The next steps, as many as entries are made together.
pub(super) fn steps<S>(step: &mut dyn FnMut() -> Option<S>) -> Vec<S> {
    std::iter::from_fn(step).take(BATCH).collect()
}
