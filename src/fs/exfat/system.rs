//! What the root directory says of the volume itself: its label, its bitmap of clusters, its table of capitals.
//!
//! Microsoft exFAT specification, section 7.1 "Allocation Bitmap", 7.2 "Up-case Table", 7.3 "Volume Label". The two
//! files are listed under the names that The Sleuth Kit gives them.

use super::NAME;
use super::boot::Boot;
use super::set::{self, Cells};
use super::table::{self, Table};
use super::upcase::{self, Upcase};
use crate::bytes::Fields;
use crate::content::Stream;
use crate::fault::Fault;
use crate::fs::cluster::total;
use crate::fs::{Anomaly, Entry, EntryKind};
use crate::fuel::Fuel;
use crate::image::View;

const BITMAP: u8 = 0x81;
const UPCASE: u8 = 0x82;
const LABEL: u8 = 0x83;
/// No bitmap of a volume of 2^32 clusters is longer.
const MAX_SYSTEM: u64 = 1 << 29;

/// The root directory's own entries.
#[derive(Default)]
pub(super) struct System {
    pub(super) label: String,
    pub(super) upcase: Option<Upcase>,
    pub(super) files: Vec<Entry>,
    pub(super) faults: Vec<Fault>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl System {
    /// Reads them, and gives the table its bitmap.
    pub(super) fn read(view: View<'_>, boot: &Boot, table: &mut Table<'_>, root: &Cells<'_>) -> Self {
        let mut system = Self::default();
        let mut bitmap = false;
        for (row, cell) in (0..root.end()).filter_map(|row| Some((row, root.get(row)?))) {
            let at = root.place(row);
            match root.kind(row) {
                LABEL => system.label = label(cell).unwrap_or_default(),
                UPCASE => system.take_upcase(view, boot, table, cell, at),
                BITMAP => {
                    let bits = system.file(view, boot, table, cell, at, "/$ALLOC_BITMAP");
                    // BitmapFlags: the bitmap of the first or the second table.
                    if cell.byte(1).is_some_and(|flags| flags & 1 == boot.active) {
                        system.check_bitmap(view, boot, &bits, at);
                        table.set_bitmap(&bits);
                        bitmap = true;
                    }
                }
                _ => {}
            }
        }
        if !bitmap {
            let what = "there is no allocation bitmap: nothing is known to be free";
            system.faults.push(Fault::new(view.absolute(boot.heap.start), NAME, what));
        }
        system
    }

    /// Lists a file that has no name, and gives its bytes.
    fn file(&mut self, view: View<'_>, boot: &Boot, table: &Table<'_>, cell: &[u8], at: u64, path: &str) -> Vec<u8> {
        let first = cell.le32(20).unwrap_or(0); // FirstCluster
        let size = cell.le64(24).unwrap_or(0); // DataLength
        let mut entry = Entry::new(path.to_owned(), EntryKind::File, format!("{}:{at}", boot.root), at);
        let count = boot.heap.clusters_for(size);
        let mut chain = table.chain(first, &mut Fuel::new(u64::from(boot.heap.last)));
        if total(&chain.spans) < count {
            chain.wrong.get_or_insert_with(|| "its chain is too short".to_owned());
            chain.spans = vec![boot.heap.span(first, count)];
        }
        if let Some(wrong) = chain.wrong {
            let what = format!("{wrong}; it is taken to lie in one piece");
            entry.faults.push(Fault::new(view.absolute(at), NAME, what));
        }
        entry.stream = Stream::plain(boot.heap.runs(&chain.spans), size);
        self.files.push(entry);
        table::bytes(view, &boot.heap, &chain.spans, size.min(MAX_SYSTEM)).into_owned()
    }

    fn check_bitmap(&mut self, view: View<'_>, boot: &Boot, bits: &[u8], at: u64) {
        let clusters = u64::from(boot.heap.last).saturating_sub(1);
        if (bits.len() as u64) < clusters.div_ceil(8) {
            let what = format!("the allocation bitmap has {} bytes for {clusters} clusters", bits.len());
            self.faults.push(Fault::new(view.absolute(at), NAME, what));
        }
    }

    fn take_upcase(&mut self, view: View<'_>, boot: &Boot, table: &Table<'_>, cell: &[u8], at: u64) {
        let bytes = self.file(view, boot, table, cell, at, "/$UPCASE_TABLE");
        // TableChecksum
        if cell.le32(4) == Some(upcase::checksum(&bytes)) {
            self.upcase = Some(Upcase::parse(&bytes));
            return;
        }
        let what = "the checksum of the up-case table does not fit: the hashes of names are not checked";
        self.anomalies.push(Anomaly { sign: Fault::new(view.absolute(at), NAME, what), extents: Vec::new() });
    }
}

/// CharacterCount and VolumeLabel.
fn label(cell: &[u8]) -> Option<String> {
    let count = usize::from(cell.byte(1)?.min(11));
    let units: Vec<u16> = cell.get(2..)?.chunks_exact(2).take(count).filter_map(|pair| pair.le16(0)).collect();
    Some(set::name(&units))
}
