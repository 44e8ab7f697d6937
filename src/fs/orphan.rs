//! Directories in free clusters that nothing names any more: in which order they are listed.

use super::cluster::Free;
use std::collections::HashSet;

/// A free cluster that looks like a piece of a directory.
pub(super) struct Found {
    /// A directory begins here, rather than goes on.
    pub(super) begins: bool,
    /// Where the directories begin that its entries name.
    pub(super) named: Vec<u32>,
}

/// The free clusters that `look` takes for directories: first those that no other of them names.
pub(super) fn find(free: &Free, look: impl Fn(u32) -> Option<Found>) -> Vec<u32> {
    let (mut all, mut named) = (Vec::new(), HashSet::new());
    for cluster in free.spans().iter().flat_map(|span| span.first..span.end()) {
        if let Some(found) = look(cluster) {
            all.push((cluster, found.begins));
            named.extend(found.named);
        }
    }
    let first = all.iter().filter(|(cluster, begins)| *begins && !named.contains(cluster));
    first.chain(&all).map(|(cluster, _)| *cluster).collect()
}
