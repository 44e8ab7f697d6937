//! Puts the pieces of a page together: a word that tags or entities cut is one word again.

use crate::extract::Findings;
use crate::fuel::Spent;
use crate::text::Place;

/// Text is told at the latest when so much of it waits.
const MOST: usize = 32 << 10;

/// The text that waits for what follows it.
pub(super) struct Joiner<'f> {
    found: &'f mut dyn Findings,
    waiting: String,
    place: Option<Place>,
    title: Option<String>,
}

impl<'f> Joiner<'f> {
    pub(super) fn new(found: &'f mut dyn Findings) -> Self {
        Self { found, waiting: String::new(), place: None, title: None }
    }

    /// Adds text that follows what waits without a gap.
    pub(super) fn push(&mut self, text: &str, place: Option<Place>) -> Result<(), Spent> {
        if let Some(title) = &mut self.title
            && title.len() < MOST
        {
            title.push_str(text);
        }
        if self.waiting.is_empty()
            || text.starts_with(char::is_whitespace)
            || self.waiting.ends_with(char::is_whitespace)
        {
            return self.replace(text, place);
        }
        self.join(text, place)
    }

    /// The last word that waits and the first of `text` are one, which stands nowhere as such.
    fn join(&mut self, text: &str, place: Option<Place>) -> Result<(), Spent> {
        let cut = self
            .waiting
            .rfind(char::is_whitespace)
            .map_or(0, |at| self.waiting.ceil_char_boundary(at.saturating_add(1)));
        let word = self.waiting.split_off(cut);
        self.replace(&word, None)?;
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (first, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        self.waiting.push_str(first);
        if rest.is_empty() {
            return if self.waiting.len() > MOST { self.flush() } else { Ok(()) };
        }
        let place = place.map(|p| Place { offset: p.offset.saturating_add(p.encoding.len_of(first)), ..p });
        self.replace(rest, place)
    }

    fn replace(&mut self, text: &str, place: Option<Place>) -> Result<(), Spent> {
        self.flush()?;
        let mut rest = text;
        let mut at = place;
        while rest.len() > MOST {
            let len = rest.floor_char_boundary(MOST);
            let Some((piece, next)) = rest.split_at_checked(len) else { break };
            self.found.text(piece, at)?;
            at = at.map(|p| Place { offset: p.offset.saturating_add(p.encoding.len_of(piece)), ..p });
            rest = next;
        }
        self.waiting.push_str(rest);
        self.place = at;
        Ok(())
    }

    /// Tells what waits.
    pub(super) fn flush(&mut self) -> Result<(), Spent> {
        let told = if self.waiting.trim().is_empty() { Ok(()) } else { self.found.text(&self.waiting, self.place) };
        self.waiting.clear();
        self.place = None;
        told
    }

    /// Tells text that is not part of what is read in order.
    pub(super) fn aside(&mut self, text: &str, place: Option<Place>) -> Result<(), Spent> {
        let text = text.get(..text.floor_char_boundary(MOST)).unwrap_or(text);
        if text.trim().is_empty() { Ok(()) } else { self.found.text(text, place) }
    }

    /// An element opens or closes: the title's text is a property.
    pub(super) fn title(&mut self, name: &str, opens: bool) -> Result<(), Spent> {
        if name != "title" {
            return Ok(());
        }
        let title = std::mem::replace(&mut self.title, opens.then(String::new));
        if let Some(title) = title.as_deref().map(str::trim).filter(|title| !title.is_empty()) {
            self.found.property("title", title);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Spent> {
        self.flush()
    }
}
