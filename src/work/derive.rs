//! An item's content and text once more, out of the evidence, through its provenance: what search, `show` and `extract`
//! give is read where it stands, not in a copy.

use super::members::Parts;
use super::{fuel_for, guarded, read_out, space_text};
use crate::artifact::{Artifact, Kind};
use crate::content::Content;
use crate::extract::{Findings, Member};
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::{HEAD, identify};
use crate::image::View;
use crate::text::{Place, Text};

/// Opens the content of an item: `top` is the item itself or, for a member, the outermost holder, and `steps` the way
/// from there. `false` where the way leads nowhere (the evidence is not what was indexed).
pub fn with_content(disk: View<'_>, top: &Artifact, steps: &[u32], take: &mut dyn FnMut(&Content<'_>)) -> bool {
    let content = top.content(disk);
    if steps.is_empty() {
        take(&content);
        return true;
    }
    let mut finder = Finder { steps, next: 0, found: false, take };
    let mut fuel = fuel_for(content.size());
    finder.enter(&content, &mut fuel);
    finder.found
}

/// Calls `take` with the given parts of an item's text, in order, until it says `false`. `parts` are sorted; the content
/// is read through once, however many they are.
pub fn text_parts(item: &Artifact, content: &Content<'_>, parts: &[u32], take: &mut dyn FnMut(u32, Text) -> bool) {
    if matches!(item.kind, Kind::Unallocated | Kind::Slack | Kind::Anomaly) {
        let _ = parts.iter().all(|part| take(*part, space_text(content, (*part).into())));
        return;
    }
    let Some(last) = parts.last() else { return };
    let identity = identify(&content.prefix(HEAD), content.size());
    let mut sink = Sink { wanted: parts, last: *last, parts: Parts::default(), open: true, take };
    let mut fuel = fuel_for(content.size());
    let _ = guarded(|| read_out(content, &identity, &mut sink, &mut fuel));
    let (number, text) = sink.parts.close();
    if sink.open {
        sink.give(number, text);
    }
}

/// Walks down to one member.
struct Finder<'f> {
    steps: &'f [u32],
    next: u32,
    found: bool,
    take: &'f mut dyn FnMut(&Content<'_>),
}

impl Finder<'_> {
    fn enter(&mut self, content: &Content<'_>, fuel: &mut Fuel) {
        let identity = identify(&content.prefix(HEAD), content.size());
        let _ = guarded(|| read_out(content, &identity, self, fuel));
    }
}

impl Findings for Finder<'_> {
    fn text(&mut self, _: &str, _: Option<Place>) -> Result<(), Spent> {
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, fuel: &mut Fuel) -> Result<(), Spent> {
        let Some((step, rest)) = self.steps.split_first() else { return Err(Spent) };
        let this = self.next;
        self.next = self.next.saturating_add(1);
        if this != *step {
            return Ok(());
        }
        if rest.is_empty() {
            (self.take)(&member.content);
            self.found = true;
        } else {
            let mut inner = Finder { steps: rest, next: 0, found: false, take: &mut *self.take };
            inner.enter(&member.content, fuel);
            self.found = inner.found;
        }
        Err(Spent)
    }

    fn property(&mut self, _: &'static str, _: &str) {}
    fn fault(&mut self, _: Fault) {}
    fn encrypted(&mut self) {}
}

/// Hands on the parts that are wanted.
struct Sink<'s> {
    wanted: &'s [u32],
    last: u32,
    parts: Parts,
    /// False once nothing more is wanted.
    open: bool,
    take: &'s mut dyn FnMut(u32, Text) -> bool,
}

impl Sink<'_> {
    fn give(&mut self, number: u32, text: Text) {
        if self.wanted.binary_search(&number).is_ok() {
            self.open = (self.take)(number, text);
        }
        self.open &= number < self.last;
    }
}

impl Findings for Sink<'_> {
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent> {
        if let Some((number, text)) = self.parts.push(piece, place) {
            self.give(number, text);
        }
        if self.open { Ok(()) } else { Err(Spent) }
    }

    fn member(&mut self, _: Member<'_>, _: &mut Fuel) -> Result<(), Spent> {
        Ok(())
    }

    fn property(&mut self, _: &'static str, _: &str) {}
    fn fault(&mut self, _: Fault) {}
    fn encrypted(&mut self) {}
}
