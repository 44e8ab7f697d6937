//! Object maps: in which block an object is, at the time of a transaction.
//!
//! Apple File System Reference, "Object Maps".

use super::btree::{Node, walk};
use super::object::{Blocks, OMAP};
use crate::bytes::Fields;
use crate::fuel::Fuel;

/// The bits of a row that say that the object is gone, and that it is encrypted.
const DELETED: u32 = 1;
const ENCRYPTED: u32 = 4;

/// A row: object, transaction, flags, block.
#[derive(Clone, Copy)]
struct Row {
    oid: u64,
    xid: u64,
    flags: u32,
    block: u64,
}

/// An object map, read whole.
#[derive(Default)]
pub(super) struct Omap {
    rows: Vec<Row>,
    pub(super) wrong: Vec<(u64, String)>,
}

impl Omap {
    /// The map in a block; `None` where there is none.
    pub(super) fn read(blocks: &Blocks<'_>, block: u64, fuel: &mut Fuel) -> Option<Self> {
        let raw = blocks.object(block, OMAP)?;
        let root = raw.le64(48)?;
        let walked = walk(blocks, root, 16, &Some, fuel);
        let mut map = Self { rows: Vec::new(), wrong: walked.wrong };
        for leaf in walked.leaves {
            match blocks.sound(leaf).and_then(Node::new) {
                Some(node) => map.rows.extend(node.rows((16, 16)).filter_map(|(key, value, _)| row(key, value))),
                None => {
                    let what = format!("object map: the leaf in block {leaf} is damaged");
                    map.wrong.push((blocks.place(leaf), what));
                }
            }
        }
        map.rows.sort_by_key(|row| (row.oid, row.xid));
        Some(map)
    }

    fn row(&self, oid: u64, xid: u64) -> Option<&Row> {
        let behind = self.rows.partition_point(|row| (row.oid, row.xid) <= (oid, xid));
        self.rows.get(behind.checked_sub(1)?).filter(|row| row.oid == oid && row.flags & DELETED == 0)
    }

    /// The block of an object, as it was in a transaction.
    pub(super) fn block(&self, oid: u64, xid: u64) -> Option<u64> {
        self.row(oid, xid).map(|row| row.block)
    }

    /// Whether it ever had an object.
    pub(super) fn knows(&self, oid: u64) -> bool {
        self.rows.binary_search_by_key(&oid, |row| row.oid).is_ok()
    }

    /// Whether an object is encrypted.
    pub(super) fn is_encrypted(&self, oid: u64, xid: u64) -> bool {
        self.row(oid, xid).is_some_and(|row| row.flags & ENCRYPTED != 0)
    }

    /// The blocks of all objects, as they were in a transaction.
    pub(super) fn blocks(&self, xid: u64) -> impl Iterator<Item = u64> + '_ {
        let is_last = move |(row, next): &(&Row, Option<&Row>)| {
            row.xid <= xid && next.is_none_or(|next| next.oid != row.oid || next.xid > xid)
        };
        let next = self.rows.iter().skip(1).map(Some).chain([None]);
        self.rows.iter().zip(next).filter(is_last).filter(|(row, _)| row.flags & DELETED == 0).map(|(row, _)| row.block)
    }
}

fn row(key: &[u8], value: &[u8]) -> Option<Row> {
    Some(Row { oid: key.le64(0)?, xid: key.le64(8)?, flags: value.le32(0)?, block: value.le64(8)? })
}
