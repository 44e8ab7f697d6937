//! The metadata of a volume: RDF in Turtle ("RDF 1.1 Turtle", W3C 2014), as far as AFF4 writes it.
//!
//! Prefixes, `a`, lists of predicates and objects, URIs, prefixed names, literals with types or languages, numbers, booleans; blank
//! nodes and collections are gone through and kept under names of their own.

use std::collections::{BTreeMap, HashSet};

/// Statements that are kept; behind them the text counts as damaged.
const MAX_STATEMENTS: usize = 1 << 21;
/// Bytes of a URI.
const MAX_URI: usize = 1 << 16;
/// Bytes that all names and statements take, written out; behind them the text counts as damaged.
const MAX_BYTES: usize = 1 << 30;
/// Nodes in nodes.
const MAX_DEPTH: usize = 16;
const RDF_TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    /// The URI, or the text of a literal.
    pub(super) text: String,
    /// The type of a literal, empty where none is given; `None` for a URI.
    pub(super) datatype: Option<String>,
}

/// Statements by their subjects.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    subjects: BTreeMap<String, Vec<(String, Object)>>,
}

impl Graph {
    /// Reads all statements; where the text is damaged those before it, and at which byte.
    pub(super) fn read(text: &str) -> (Self, Option<usize>) {
        Self::within(text, MAX_BYTES)
    }

    /// The same, where names and statements take `left` bytes at most.
    fn within(text: &str, left: usize) -> (Self, Option<usize>) {
        let mut parser =
            Parser { text, at: 0, prefixes: BTreeMap::new(), graph: Self::default(), nodes: 0, count: 0, left };
        loop {
            parser.skip();
            if parser.rest().is_empty() {
                return (parser.graph, None);
            }
            let start = parser.at;
            if parser.statement().is_none() {
                return (parser.graph, Some(start));
            }
        }
    }

    /// Takes over the statements of another volume.
    pub(super) fn merge(&mut self, other: Self) {
        for (subject, said) in other.subjects {
            let own = self.subjects.entry(subject).or_default();
            let known: HashSet<_> = own.iter().collect();
            let new: Vec<_> = said.iter().map(|said| !known.contains(said)).collect();
            own.extend(said.into_iter().zip(new).filter_map(|(said, new)| new.then_some(said)));
        }
    }

    /// The subjects, in order.
    pub(super) fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.keys().map(String::as_str)
    }

    /// What is said of `subject`: predicates and objects.
    pub(super) fn said(&self, subject: &str) -> impl Iterator<Item = &(String, Object)> {
        self.subjects.get(subject).into_iter().flatten()
    }

    /// The URIs of the classes that `subject` is of.
    pub(super) fn types(&self, subject: &str) -> impl Iterator<Item = &str> {
        self.said(subject).filter(|(predicate, _)| predicate == RDF_TYPE).map(|(_, object)| object.text.as_str())
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    prefixes: BTreeMap<String, String>,
    graph: Graph,
    /// Blank nodes so far.
    nodes: usize,
    /// Statements so far.
    count: usize,
    /// Bytes that may still be written out.
    left: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Over white space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at = self.at.saturating_add(rest.len().saturating_sub(trimmed.len()));
            if !trimmed.starts_with('#') {
                return;
            }
            self.at = self.at.saturating_add(trimmed.find('\n').unwrap_or(trimmed.len()));
        }
    }

    /// Over `mark`, where it stands next.
    fn takes(&mut self, mark: &str) -> bool {
        self.skip();
        let there = self.rest().starts_with(mark);
        self.at = self.at.saturating_add(if there { mark.len() } else { 0 });
        there
    }

    fn statement(&mut self) -> Option<()> {
        // The longest of these words has seven letters.
        let near = self.rest().char_indices().nth(8).and_then(|(end, _)| self.rest().get(..end));
        let word = near.unwrap_or(self.rest()).split_whitespace().next().unwrap_or_default();
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("@prefix") || is("prefix") || is("@base") || is("base") {
            self.at = self.at.checked_add(word.len())?;
            self.skip();
            if !word.to_ascii_lowercase().ends_with("base") {
                let name = self.word();
                self.skip();
                let iri = self.iri()?;
                self.prefixes.insert(name.strip_suffix(':')?.to_owned(), iri);
            } else {
                self.iri()?;
            }
            return (self.takes(".") || !word.starts_with('@')).then_some(());
        }
        let subject = self.node(0)?;
        self.skip();
        // A node that says all of itself needs nothing behind it.
        if !(subject.text.starts_with("_:") && self.peek() == Some('.')) {
            self.predicates(&subject.text, 0)?;
        }
        self.takes(".").then_some(())
    }

    /// `predicate object , object ; predicate …`, up to what ends them.
    fn predicates(&mut self, subject: &str, depth: usize) -> Option<()> {
        loop {
            self.skip();
            if matches!(self.peek(), Some('.' | ']') | None) {
                return Some(());
            }
            let predicate = match self.peek()? {
                '<' => self.iri()?,
                _ => match self.word() {
                    "a" => RDF_TYPE.to_owned(),
                    name => self.expanded(name)?,
                },
            };
            loop {
                let object = self.node(depth)?;
                self.count = self.count.checked_add(1).filter(|count| *count <= MAX_STATEMENTS)?;
                self.left = self.left.checked_sub(subject.len())?.checked_sub(predicate.len())?;
                self.graph.subjects.entry(subject.to_owned()).or_default().push((predicate.clone(), object));
                if !self.takes(",") {
                    break;
                }
            }
            if !self.takes(";") {
                return Some(());
            }
            while self.takes(";") {}
        }
    }

    /// A subject or an object.
    fn node(&mut self, depth: usize) -> Option<Object> {
        self.skip();
        let uri = |text| Some(Object { text, datatype: None });
        match self.peek()? {
            '<' => uri(self.iri()?),
            '"' | '\'' => self.literal(),
            open @ ('[' | '(') => {
                let depth = depth.checked_add(1).filter(|depth| *depth < MAX_DEPTH)?;
                self.at = self.at.checked_add(1)?;
                let name = format!("_:node{}", self.nodes);
                self.nodes = self.nodes.checked_add(1)?;
                if open == '[' {
                    self.predicates(&name, depth)?;
                    return self.takes("]").then_some(()).and_then(|()| uri(name));
                }
                while !self.takes(")") {
                    self.node(depth)?;
                }
                uri(name)
            }
            _ => {
                let word = self.word();
                let is_number = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
                if is_number || matches!(word, "true" | "false") {
                    return Some(Object { text: word.to_owned(), datatype: Some(String::new()) });
                }
                let name = self.expanded(word)?;
                uri(name)
            }
        }
    }

    /// Up to white space or a mark that ends a word.
    fn word(&mut self) -> &'t str {
        let rest = self.rest();
        let ends =
            |c: char| c.is_whitespace() || matches!(c, ';' | ',' | '[' | ']' | '(' | ')' | '<' | '"' | '\'' | '^');
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        // The last dot ends the statement.
        let word = word.trim_end_matches('.');
        self.at = self.at.saturating_add(word.len());
        word
    }

    fn expanded(&mut self, name: &str) -> Option<String> {
        let (prefix, local) = name.split_once(':')?;
        if prefix == "_" {
            return Some(name.to_owned());
        }
        let prefix = self.prefixes.get(prefix)?;
        let len = prefix.len().checked_add(local.len()).filter(|len| *len <= MAX_URI)?;
        self.left = self.left.checked_sub(len)?;
        Some([prefix, local.replace('\\', "").as_str()].concat())
    }

    fn iri(&mut self) -> Option<String> {
        let (iri, _) = self.rest().strip_prefix('<')?.split_once('>')?;
        if iri.len() > MAX_URI || iri.contains(['\n', '<', '"']) {
            return None;
        }
        self.at = self.at.checked_add(iri.len())?.checked_add(2)?;
        unescaped(iri)
    }

    fn literal(&mut self) -> Option<Object> {
        let rest = self.rest();
        let mark = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|mark| rest.starts_with(mark))?;
        let body = rest.get(mark.len()..)?;
        let mut end = 0usize;
        loop {
            let next = body.get(end..)?;
            if next.starts_with(mark) {
                break;
            }
            let mut chars = next.chars();
            let first = chars.next()?;
            let second = if first == '\\' { chars.next()?.len_utf8() } else { 0 };
            end = end.checked_add(first.len_utf8())?.checked_add(second)?;
        }
        let text = unescaped(body.get(..end)?)?;
        self.at = self.at.checked_add(end)?.checked_add(mark.len().checked_mul(2)?)?;
        let mut datatype = String::new();
        if self.rest().starts_with("^^") {
            self.at = self.at.checked_add(2)?;
            datatype = match self.peek()? {
                '<' => self.iri()?,
                _ => {
                    let name = self.word();
                    self.expanded(name)?
                }
            };
        } else if self.rest().starts_with('@') {
            self.word();
        }
        Some(Object { text, datatype: Some(datatype) })
    }
}

/// Text without its escapes.
fn unescaped(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            't' => out.push('\t'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            wide @ ('u' | 'U') => {
                let digits: String = chars.by_ref().take(if wide == 'u' { 4 } else { 8 }).collect();
                out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_said() {
        let text = r#"
            @prefix aff4: <http://aff4.org/Schema#> . # a comment
            PREFIX xsd: <http://www.w3.org/2001/XMLSchema#>
            <aff4://1> a aff4:DiskImage, aff4:Image ;
                aff4:size "268435456"^^xsd:long ; aff4:blockSize 512;
                aff4:hash "d5"^^aff4:MD5 , 'e6'^^<http://aff4.org/Schema#SHA1>;
                aff4:note """two
"lines" \u00e4"""@en ; .
            _:b aff4:child [ aff4:name "x"; aff4:kin ( 1 "2" ) ] .
            <aff4://2> aff4:stored <aff4://1>.
            <aff4://3> aff4:torn"#;
        let (graph, damaged) = Graph::read(text);
        assert_eq!(damaged, text.find("<aff4://3>"));
        let types: Vec<_> = graph.types("aff4://1").collect();
        assert_eq!(types, ["http://aff4.org/Schema#DiskImage", "http://aff4.org/Schema#Image"]);
        let said: Vec<_> =
            graph.said("aff4://1").skip(2).map(|(_, o)| (o.text.as_str(), o.datatype.as_deref())).collect();
        let md5 = Some("http://aff4.org/Schema#MD5");
        let long = Some("http://www.w3.org/2001/XMLSchema#long");
        let sha1 = Some("http://aff4.org/Schema#SHA1");
        let expected =
            [("268435456", long), ("512", Some("")), ("d5", md5), ("e6", sha1), ("two\n\"lines\" ä", Some(""))];
        assert_eq!(said, expected);
        let subjects: Vec<_> = graph.subjects().collect();
        assert_eq!(subjects, ["_:b", "_:node0", "aff4://1", "aff4://2"]);
    }

    #[test]
    fn names_and_statements_have_a_bound() {
        let long = format!("@prefix p: <{}> .\n", "x".repeat(60_000));
        let text = format!("{long}{}", "p:a p:b p:c .\n".repeat(100));
        let (graph, damaged) = Graph::within(&text, 1 << 22);
        assert!(damaged.is_some_and(|at| at > long.len()));
        assert_eq!(graph.subjects().count(), 1);
        let (_, damaged) = Graph::read(&format!("<{}> <b> <c> .", "x".repeat(MAX_URI + 1)));
        assert_eq!(damaged, Some(0));
        // A collection keeps nothing of its members, and still writes them out.
        let (_, damaged) = Graph::within(&format!("{long}<a> <b> ( {}) .", "p:c ".repeat(100)), 1 << 22);
        assert_eq!(damaged, Some(long.len()));
    }

    #[test]
    fn statements_of_two_volumes_are_joined() {
        let of = |text: &str| Graph::read(text).0;
        let mut own = of("<a> <b> 1, 2 . <c> <d> <e> .");
        own.merge(of("<a> <b> 2, 3 . <f> <g> 4 ."));
        let texts: Vec<&str> = own.said("a").map(|(_, object)| object.text.as_str()).collect();
        assert_eq!((texts, own.subjects().count()), (vec!["1", "2", "3"], 3));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"([<>"'\[\]().;,:^@#\\ua \n]|aff4:|@prefix |"""){0,60}"#) {
            let (_, damaged) = Graph::read(&text);
            prop_assert!(damaged.is_none_or(|at| at < text.len()));
        }
    }
}
