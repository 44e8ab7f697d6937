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

/// Part `part` of an item's text.
pub fn text_part(item: &Artifact, content: &Content<'_>, part: u32) -> Text {
    if matches!(item.kind, Kind::Unallocated | Kind::Slack) {
        return space_text(content, part.into());
    }
    let identity = identify(&content.prefix(HEAD), content.size());
    let mut sink = Sink { wanted: part, parts: Parts::default(), found: None };
    let mut fuel = fuel_for(content.size());
    let _ = guarded(|| read_out(content, &identity, &mut sink, &mut fuel));
    let last = sink.parts.close();
    sink.found.or_else(|| (last.0 == part).then_some(last.1)).unwrap_or_default()
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

/// Keeps one part of the text.
struct Sink {
    wanted: u32,
    parts: Parts,
    found: Option<Text>,
}

impl Findings for Sink {
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent> {
        match self.parts.push(piece, place) {
            Some((number, text)) if number == self.wanted => {
                self.found = Some(text);
                Err(Spent)
            }
            _ => Ok(()),
        }
    }

    fn member(&mut self, _: Member<'_>, _: &mut Fuel) -> Result<(), Spent> {
        Ok(())
    }

    fn property(&mut self, _: &'static str, _: &str) {}
    fn fault(&mut self, _: Fault) {}
    fn encrypted(&mut self) {}
}
