//! Takes what an extractor finds: text goes into parts for the index, members are examined at once, before the
//! extractor decodes the next.

use super::{DEPTH, Done, TextPart, Worker, panicked};
use crate::artifact::{Kind, Status};
use crate::extract::{Findings, Member};
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::text::{Place, Text};

/// A part of an item's text is closed when it has so many bytes.
const PART: usize = 4 << 20;
/// No item has more parts than this.
const MAX_PARTS: u32 = 1 << 16;
/// No item has more members than this.
const MAX_MEMBERS: u32 = 1 << 20;

/// Cuts the text of an item into parts, always at the same places.
#[derive(Default)]
pub(super) struct Parts {
    text: Text,
    number: u32,
}

impl Parts {
    /// Takes a piece; gives a part and its number when one is full.
    pub(super) fn push(&mut self, piece: &str, place: Option<Place>) -> Option<(u32, Text)> {
        self.text.push(piece, place);
        (self.text.body.len() >= PART).then(|| self.close())
    }

    /// Closes the last part.
    pub(super) fn close(&mut self) -> (u32, Text) {
        let number = self.number;
        self.number = self.number.saturating_add(1);
        (number, std::mem::take(&mut self.text))
    }
}

/// Collects the findings of one item.
pub(super) struct Collector<'c, 'a> {
    worker: &'c Worker<'a>,
    done: &'c mut Done,
    /// Row of the item in `done.items`.
    row: usize,
    depth: usize,
    step: u32,
    parts: Parts,
}

impl<'c, 'a> Collector<'c, 'a> {
    pub(super) fn new(worker: &'c Worker<'a>, row: usize, depth: usize, done: &'c mut Done) -> Self {
        Self { worker, done, row, depth, step: 0, parts: Parts::default() }
    }

    /// Closes the item with how its extractor ended.
    pub(super) fn finish(mut self, outcome: Result<Result<(), Spent>, String>, identity: &Identity) {
        let (number, last) = self.parts.close();
        self.keep(number, last);
        let name = crate::extract::extractor_for(identity).map_or("strings", |row| row.name);
        let Some(item) = self.done.items.get_mut(self.row) else { return };
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(Spent)) => {
                item.degrade(Status::Truncated);
                item.faults.push(Fault::new(
                    0,
                    name,
                    "its limit of work was reached; what was read until then is kept",
                ));
            }
            Err(why) => {
                item.degrade(Status::Damaged);
                item.faults.push(panicked(name, &why));
            }
        }
    }

    fn keep(&mut self, part: u32, text: Text) {
        if text.body.is_empty() {
            return;
        }
        self.done.texts.push(TextPart { item: self.row, part, body: text.body });
        if let Some(item) = self.done.items.get_mut(self.row) {
            item.text_parts = part.saturating_add(1);
        }
    }
}

impl Findings for Collector<'_, '_> {
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent> {
        if let Some((number, text)) = self.parts.push(piece, place) {
            self.keep(number, text);
            if number >= MAX_PARTS {
                return Err(Spent);
            }
        }
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, fuel: &mut Fuel) -> Result<(), Spent> {
        let Some(holder) = self.done.items.get(self.row) else { return Err(Spent) };
        let kind = if member.attachment { Kind::Attachment } else { Kind::Member };
        let mut item = holder.member(self.step, &member.name, kind);
        self.step = self.step.saturating_add(1);
        let stored = member.content.extents().is_some();
        if stored {
            item.set_place(&member.content, None);
        } else {
            item.extents.clone_from(&holder.extents);
            item.codec.clone_from(&holder.codec);
            item.valid = holder.valid;
        }
        item.size = member.size.unwrap_or_else(|| member.content.size());
        item.set_time("mtime", member.mtime);
        let damaged = !member.faults.is_empty();
        item.faults = member.faults;
        if member.encrypted {
            item.status = Status::Encrypted;
            self.done.items.push(item);
        } else if self.depth >= DEPTH {
            item.status = Status::Skipped;
            item.note = Some(format!("it lies more than {DEPTH} levels deep"));
            self.done.items.push(item);
        } else {
            if damaged {
                item.status = Status::Damaged;
            }
            let row = self.done.items.len();
            self.worker.examine(item, &member.content, self.depth.saturating_add(1), fuel, self.done);
            // Only part of it was decoded: those bytes' hash is not the member's.
            if let Some(item) = self.done.items.get_mut(row).filter(|_| damaged) {
                item.hashes = crate::hash::Hashes::default();
                item.note.get_or_insert_with(|| "only part of it could be decoded".to_owned());
            }
        }
        if self.step >= MAX_MEMBERS || fuel.left() == 0 { Err(Spent) } else { Ok(()) }
    }

    fn property(&mut self, name: &'static str, value: &str) {
        let value: String = value.chars().take(4096).collect();
        if let Some(item) = self.done.items.get_mut(self.row).filter(|_| !value.trim().is_empty()) {
            item.properties.entry(name.to_owned()).or_insert(value);
        }
    }

    fn fault(&mut self, fault: Fault) {
        if let Some(item) = self.done.items.get_mut(self.row) {
            item.degrade(Status::Damaged);
            item.faults.push(fault);
        }
    }

    fn encrypted(&mut self) {
        if let Some(item) = self.done.items.get_mut(self.row) {
            item.degrade(Status::Encrypted);
        }
    }
}
