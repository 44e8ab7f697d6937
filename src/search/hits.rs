//! Where in an item a query's words stand: read again from the evidence, with the byte of the image at which each hit
//! begins.

use super::query::{Query, Value};
use crate::artifact::{Artifact, Kind};
use crate::content::Content;
use crate::index::tokens::{Word, words};
use crate::text::{Text, fold};
use crate::work::{TEXT_STEP, derive};
use serde::Serialize;

/// Characters of context on each side of a snippet's hit.
const CONTEXT: usize = 60;

/// One hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// As it stands in the text.
    pub term: String,
    /// Offset in the item's extracted text (in the part of it named by `part`), in bytes of UTF-8.
    pub text_offset: u64,
    /// Which part of the text.
    pub part: u32,
    /// Where its first byte lies in the evidence; `None` where no single place exists.
    pub image_offset: Option<u64>,
    /// Offset in the item's content; `None` where the text does not stand in it as such.
    pub content_offset: Option<u64>,
    /// Its length in the text, in characters.
    pub length: u64,
    /// How many bytes it takes in the evidence.
    pub image_length: Option<u64>,
    /// How its characters lie there.
    pub encoding: Option<String>,
}

/// The hits of an item.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// In order.
    pub list: Vec<Hit>,
    /// Text around the first, the hit between `<<` and `>>`.
    pub snippet: String,
}

/// What is looked for.
enum Pattern {
    /// Folded words in a row, with up to so many others between.
    Words(Vec<String>, usize),
    /// The very characters.
    Exact(String),
    /// A folded word that the expression matches as a whole.
    Regex(regex::Regex),
    /// A folded word within so many changes.
    Fuzzy(Vec<char>, usize),
}

/// The hits of `query` in the given parts of an item's text, at most `limit`.
pub fn in_item(item: &Artifact, content: &Content<'_>, parts: &[u32], query: &Query, limit: usize) -> Hits {
    let patterns: Vec<Pattern> = query.leaves().into_iter().filter_map(pattern).collect();
    let mut hits = Hits::default();
    derive::text_parts(item, content, parts, &mut |part, text| {
        for (from, to) in find(&text.body, &patterns) {
            let hit = hit(&text, content, part, from, to);
            // Pieces of raw space overlap: a hit belongs to the piece in which it begins.
            let raw = matches!(item.kind, Kind::Unallocated | Kind::Slack | Kind::Anomaly);
            let end = u64::from(part).saturating_add(1).saturating_mul(TEXT_STEP);
            if raw && hit.content_offset.is_some_and(|at| at >= end) {
                continue;
            }
            if hits.snippet.is_empty() {
                hits.snippet = snippet(&text.body, from, to);
            }
            hits.list.push(hit);
            if hits.list.len() >= limit {
                return false;
            }
        }
        true
    });
    hits
}

fn hit(text: &Text, content: &Content<'_>, part: u32, from: usize, to: usize) -> Hit {
    let term = text.body.get(from..to).unwrap_or_default().to_owned();
    let place = text.locate(from);
    // A hit that runs on into a piece with another place stands in no single place.
    let length = place.map(|p| p.encoding.len_of(&term));
    let image_offset = place.and_then(|p| content.locate(p.offset));
    Hit {
        text_offset: from as u64,
        part,
        image_offset,
        content_offset: place.map(|p| p.offset),
        length: term.chars().count() as u64,
        image_length: image_offset.and(length),
        encoding: place.map(|p| p.encoding.name()),
        term,
    }
}

fn pattern(leaf: &Query) -> Option<Pattern> {
    let Query::Leaf { field, value } = leaf else { return None };
    if !matches!(*field, "" | "exact") {
        return None;
    }
    match value {
        Value::Words { text, .. } if *field == "exact" => Some(Pattern::Exact(text.clone())),
        Value::Words { text, slop } => {
            let folded = words(text).into_iter().map(|w| w.folded).collect();
            Some(Pattern::Words(folded, crate::bytes::index(u64::from(*slop))))
        }
        Value::Wildcard(text) => whole_word(&super::compile::wildcard(&fold(text))),
        Value::Regex(text) => whole_word(text),
        Value::Fuzzy { text, distance } => {
            let word = words(text).into_iter().next()?.folded;
            Some(Pattern::Fuzzy(word.chars().collect(), usize::from(*distance)))
        }
        Value::Range(..) => None,
    }
}

fn whole_word(pattern: &str) -> Option<Pattern> {
    regex::Regex::new(&format!("^(?:{pattern})$")).ok().map(Pattern::Regex)
}

/// All places in `body` at which a pattern matches, in order, each once.
fn find(body: &str, patterns: &[Pattern]) -> Vec<(usize, usize)> {
    let words = words(body);
    let mut found = Vec::new();
    for pattern in patterns {
        match pattern {
            Pattern::Words(wanted, slop) => found.extend(phrases(&words, wanted, *slop)),
            Pattern::Exact(text) => found.extend(exact(body, &words, text)),
            Pattern::Regex(regex) => found.extend(single(&words, |w| regex.is_match(w))),
            Pattern::Fuzzy(wanted, distance) => {
                found.extend(single(&words, |w| within(wanted, &w.chars().collect::<Vec<_>>(), *distance)));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn single(words: &[Word], fits: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
    words.iter().filter(|w| fits(&w.folded)).map(|w| (w.from, w.to)).collect()
}

/// Where `wanted` stand: in their order and with nothing between them or, with `slop`, in any order and with at most so
/// many others between all of them.
fn phrases(words: &[Word], wanted: &[String], slop: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (i, start) in words.iter().enumerate().filter(|(_, w)| wanted.contains(&w.folded)) {
        let window = words.get(i..).unwrap_or_default().iter().take(wanted.len().saturating_add(slop));
        let mut missing: Vec<&String> = wanted.iter().collect();
        for (k, word) in window.enumerate() {
            let next = if slop == 0 {
                (missing.first() == Some(&&word.folded)).then_some(0)
            } else {
                missing.iter().position(|m| **m == word.folded)
            };
            match next {
                Some(at) => drop(missing.remove(at)),
                None if slop == 0 || k == 0 => break,
                None => {}
            }
            if missing.is_empty() {
                found.push((start.from, word.to));
                break;
            }
        }
    }
    found
}

/// Where the very characters stand, beginning and ending with words.
fn exact(body: &str, words: &[Word], text: &str) -> Vec<(usize, usize)> {
    let ends: std::collections::HashSet<usize> = words.iter().map(|w| w.to).collect();
    let starts = words.iter().map(|w| w.from);
    let fits = |from: &usize| {
        let to = from.saturating_add(text.len());
        body.get(*from..to) == Some(text) && ends.contains(&to)
    };
    starts.filter(fits).map(|from| (from, from.saturating_add(text.len()))).collect()
}

/// Whether two words differ by at most `limit` insertions, deletions, changes and swaps of neighbours.
fn within(a: &[char], b: &[char], limit: usize) -> bool {
    if a.len().abs_diff(b.len()) > limit {
        return false;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let change = cell(&last, j).saturating_add(usize::from(x != y));
            let step = cell(&row, j).min(cell(&last, j.saturating_add(1))).saturating_add(1);
            let crossed =
                i > 0 && j > 0 && a.get(i.saturating_sub(1)) == Some(y) && b.get(j.saturating_sub(1)) == Some(x);
            let swap = if crossed { cell(&before, j.saturating_sub(1)).saturating_add(1) } else { usize::MAX };
            row.push(change.min(step).min(swap));
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().is_some_and(|d| *d <= limit)
}

/// The hit with its surroundings on one line.
fn snippet(body: &str, from: usize, to: usize) -> String {
    let (before, rest) = body.split_at_checked(from).unwrap_or_default();
    let (term, after) = rest.split_at_checked(to.saturating_sub(from)).unwrap_or_default();
    let start = before.char_indices().rev().nth(CONTEXT.saturating_sub(1)).map_or(0, |(at, _)| at);
    let end = after.char_indices().nth(CONTEXT).map_or(after.len(), |(at, _)| at);
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let space = |c: Option<char>| if c.is_some_and(char::is_whitespace) { " " } else { "" };
    let (left, right) = (before.get(start..).unwrap_or_default(), after.get(..end).unwrap_or_default());
    let (gap_left, gap_right) = (space(left.chars().last()), space(right.chars().next()));
    format!("{}{gap_left}<<{}>>{gap_right}{}", line(left), line(term), line(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::query::{QueryError, parse};

    fn terms(query: &str, text: &str) -> Result<Vec<String>, QueryError> {
        let query = parse(query)?;
        let patterns: Vec<Pattern> = query.leaves().into_iter().filter_map(pattern).collect();
        Ok(find(text, &patterns).into_iter().map(|(from, to)| text[from..to].to_owned()).collect())
    }

    #[test]
    fn every_kind_of_leaf_is_found_again() -> Result<(), QueryError> {
        let text = "The quarterly Ledger of the harbour; ledgers, leger and LEDGER. pay alice@example.org now";
        assert_eq!(terms("ledger", text)?, ["Ledger", "LEDGER"]);
        assert_eq!(terms("exact:Ledger", text)?, ["Ledger"]);
        assert_eq!(terms("ledg*", text)?, ["Ledger", "ledgers", "LEDGER"]);
        assert_eq!(terms("ledger~1", text)?, ["Ledger", "ledgers", "leger", "LEDGER"]);
        assert_eq!(terms("/l.ger/", text)?, ["leger"]);
        assert_eq!(terms("\"quarterly harbour\"~3", text)?, ["quarterly Ledger of the harbour"]);
        assert_eq!(terms("\"quarterly harbour\"~2", text)?, Vec::<String>::new());
        assert_eq!(terms("\"harbour quarterly\"~3", text)?, ["quarterly Ledger of the harbour"]);
        assert_eq!(terms("alice@example.org", text)?, ["alice@example.org"]);
        assert_eq!(terms("pay -now", text)?, ["pay"]);
        Ok(())
    }

    #[test]
    fn a_snippet_is_one_line_with_the_hit_marked() {
        assert_eq!(snippet("a\nb ledger, c", 4, 10), "a b <<ledger>>, c");
    }
}
