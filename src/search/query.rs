//! The query language.
//!
//! ```text
//! or      := and ("OR" and)*
//! and     := unary ("AND"? unary)*
//! unary   := ("NOT" | "-") unary | primary
//! primary := "(" or ")" | [field ":"] value
//! value   := "\"" words "\"" ["~" N] | "/" regular expression "/" | "[" bound "TO" bound "]" | word ["~" [N]]
//! ```
//! In a word `*` stands for any characters and `?` for one. An error names the column and what was expected there.

use std::fmt;
use thiserror::Error;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

/// The fields that a query may name.
pub const FIELDS: &[&str] = &[
    "path",
    "name",
    "ext",
    "mime",
    "kind",
    "status",
    "image",
    "id",
    "md5",
    "sha1",
    "sha256",
    "blake3",
    "deleted",
    "allocated",
    "size",
    "mtime",
    "offset",
    "author",
    "exact",
];

/// What to look for in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words in a row, or with up to `slop` others between them.
    Words {
        /// As they were typed.
        text: String,
        /// How many others may stand between them.
        slop: u32,
    },
    /// A word with `*` and `?` in it.
    Wildcard(String),
    /// A word with up to so many changes.
    Fuzzy {
        /// As it was typed.
        text: String,
        /// Characters that may differ: 1 or 2.
        distance: u8,
    },
    /// A regular expression for one whole word.
    Regex(String),
    /// From one value to another, both included; `None` is open.
    Range(Option<String>, Option<String>),
}

impl Value {
    /// Whether hexadecimal digits are what was asked for, or begin with it where a `*` follows.
    pub fn begins(&self, whole: &str) -> bool {
        match self {
            Self::Words { text, .. } => whole.eq_ignore_ascii_case(text),
            Self::Wildcard(pattern) => {
                let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
                whole.get(..beginning.len()).is_some_and(|b| b.eq_ignore_ascii_case(beginning))
            }
            _ => false,
        }
    }
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Everything.
    All,
    /// All of them.
    And(Vec<Query>),
    /// Any of them.
    Or(Vec<Query>),
    /// What it does not find.
    Not(Box<Query>),
    /// A value in a field; without one, in text and path.
    Leaf {
        /// The field; empty for text and path.
        field: &'static str,
        /// What to look for.
        value: Value,
    },
}

/// A query that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("query, column {column}: {expected}")]
pub struct QueryError {
    /// The first column is 1.
    pub column: usize,
    /// What was expected there.
    pub expected: String,
}

impl Query {
    /// The item whose id begins with `id`.
    pub fn id(id: &str) -> Self {
        Self::Leaf { field: "id", value: Value::Wildcard(format!("{}*", id.to_lowercase())) }
    }

    /// One exact value of a field.
    pub fn field(field: &'static str, text: &str) -> Self {
        Self::Leaf { field, value: Value::Words { text: text.to_owned(), slop: 0 } }
    }

    /// The leaves that say what a hit in the text is: not the negated ones.
    pub fn leaves(&self) -> Vec<&Query> {
        match self {
            Self::All | Self::Not(_) => Vec::new(),
            Self::And(all) | Self::Or(all) => all.iter().flat_map(Self::leaves).collect(),
            Self::Leaf { .. } => vec![self],
        }
    }

    /// True where the index knows less than is asked, so that its answer has to be checked.
    pub fn needs_check(&self) -> bool {
        matches!(self, Self::Leaf { field: "exact" | "id" | "md5" | "sha1" | "sha256" | "blake3", .. })
    }

    /// True where all parts of an item give the same answer, and the index alone can tell it.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::All => true,
            Self::And(all) | Self::Or(all) => all.iter().all(Self::is_shared),
            Self::Not(inner) => inner.is_shared(),
            Self::Leaf { field, .. } => !field.is_empty() && !self.needs_check(),
        }
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, query) | (query, Self::All) => query,
            (a, b) => Self::And(vec![a, b]),
        }
    }
}

/// Reads a query.
///
/// # Errors
/// Where it cannot be understood.
pub fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    if parser.rest().is_empty() {
        return Err(parser.error("expected a word, a \"phrase\" or field:value"));
    }
    let query = parser.or(0)?;
    if parser.rest().is_empty() { Ok(query) } else { Err(parser.error("nothing is open that `)` could close")) }
}

/// What a field may hold, where that is a short list; empty where it is not.
fn values(field: &str) -> &'static [&'static str] {
    match field {
        "kind" => &[
            "file",
            "directory",
            "symlink",
            "stream",
            "member",
            "attachment",
            "carved",
            "slack",
            "unallocated",
            "special",
            "anomaly",
        ],
        "status" => &["ok", "encrypted", "damaged", "truncated", "skipped"],
        "deleted" | "allocated" => &["true", "false"],
        _ => &[],
    }
}

fn known_value(field: &str, text: &str) -> bool {
    let known = values(field);
    known.is_empty() || known.iter().any(|value| value.eq_ignore_ascii_case(text))
}

struct Parser<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Parser<'q> {
    fn rest(&self) -> &'q str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, expected: impl fmt::Display) -> QueryError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        QueryError { column: before.chars().count().saturating_add(1), expected: expected.to_string() }
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.text.len());
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len().saturating_sub(rest.trim_start().len()));
    }

    /// Takes `mark` and the space behind it.
    fn take(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.advance(mark.len());
        }
        found
    }

    /// Takes an operator that stands as a word by itself.
    fn take_word(&mut self, word: &str) -> bool {
        let behind = self.rest().strip_prefix(word).map(|rest| rest.chars().next());
        let found = matches!(behind, Some(None)) || matches!(behind, Some(Some(c)) if c.is_whitespace() || c == '(');
        if found {
            self.advance(word.len());
            self.skip_space();
        }
        found
    }

    fn or(&mut self, depth: usize) -> Result<Query, QueryError> {
        if depth > MAX_DEPTH {
            return Err(self.error("the query is nested too deeply"));
        }
        let mut any = vec![self.and(depth)?];
        while self.take_word("OR") {
            any.push(self.and(depth)?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Query::Or(any) })
    }

    fn and(&mut self, depth: usize) -> Result<Query, QueryError> {
        let mut all = vec![self.unary(depth)?];
        loop {
            self.skip_space();
            let explicit = self.take_word("AND");
            let at_end = self.rest().is_empty() || self.rest().starts_with(')') || self.at_or();
            if at_end && !explicit {
                break;
            }
            all.push(self.unary(depth)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Query::And(all) })
    }

    fn at_or(&self) -> bool {
        self.rest()
            .strip_prefix("OR")
            .is_some_and(|rest| rest.chars().next().is_none_or(|c| c.is_whitespace() || c == '('))
    }

    fn unary(&mut self, depth: usize) -> Result<Query, QueryError> {
        if depth > MAX_DEPTH {
            return Err(self.error("the query is nested too deeply"));
        }
        let deeper = depth.saturating_add(1);
        if self.take_word("NOT") || (self.rest().starts_with('-') && self.take("-")) {
            return Ok(Query::Not(Box::new(self.unary(deeper)?)));
        }
        if self.take("(") {
            self.skip_space();
            let inner = self.or(deeper)?;
            self.skip_space();
            if !self.take(")") {
                return Err(self.error("expected `)`"));
            }
            return Ok(inner);
        }
        self.leaf()
    }

    fn leaf(&mut self) -> Result<Query, QueryError> {
        if self.rest().is_empty() || self.rest().starts_with(')') || self.at_or() {
            return Err(self.error("expected a word, a \"phrase\" or field:value"));
        }
        let field = self.field()?;
        let value = self.value(field)?;
        Ok(Query::Leaf { field, value })
    }

    fn field(&mut self) -> Result<&'static str, QueryError> {
        let rest = self.rest();
        let name_len = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let (name, behind) = rest.split_at(name_len);
        if name.is_empty() || !behind.starts_with(':') || behind.starts_with("://") {
            return Ok("");
        }
        let field = FIELDS.iter().find(|f| **f == name.to_ascii_lowercase());
        let field = field.ok_or_else(|| {
            let fields = FIELDS.join(", ");
            self.error(format!("there is no field `{name}`; expected one of {fields} (or quote the word)"))
        })?;
        self.advance(name_len.saturating_add(1));
        Ok(field)
    }

    fn value(&mut self, field: &str) -> Result<Value, QueryError> {
        let words = matches!(field, "" | "exact" | "author");
        let value = match self.rest().chars().next() {
            Some('"') => self.phrase()?,
            Some('[') => self.range()?,
            Some('/') if !matches!(field, "path" | "name") => self.regex()?,
            Some(c) if !c.is_whitespace() && c != ')' => self.word(words)?,
            _ => return Err(self.error("expected a value behind the field")),
        };
        self.check(field, &value)?;
        Ok(value)
    }

    fn check(&self, field: &str, value: &Value) -> Result<(), QueryError> {
        let numeric = matches!(field, "size" | "mtime" | "offset");
        match value {
            Value::Range(from, to) if numeric => {
                for bound in [from, to].into_iter().flatten() {
                    self.check_bound(field, bound)?;
                }
                Ok(())
            }
            Value::Range(..) => Err(self.error("only size:, offset: and mtime: take a range")),
            Value::Words { text, .. } if numeric => self.check_bound(field, text),
            _ if numeric => Err(self.error(format!("{field}: takes a value or a range [A TO B]"))),
            Value::Words { text, .. } | Value::Fuzzy { text, .. }
                if matches!(field, "" | "author" | "exact") && crate::index::tokens::words(text).is_empty() =>
            {
                Err(self.error("expected a word: there is no letter or digit in what stands before this"))
            }
            Value::Regex(pattern) if !super::compile::is_regex(pattern) => {
                Err(self.error("before this, expected a regular expression for one word, without ^, $ and \\b"))
            }
            Value::Words { text, .. } if !known_value(field, text) => {
                Err(self.error(format!("before this, {field}: expected one of {}", values(field).join(", "))))
            }
            _ => Ok(()),
        }
    }

    fn check_bound(&self, field: &str, bound: &str) -> Result<(), QueryError> {
        let (fits, expected) = match field {
            "mtime" => {
                (super::bound::day_or_time(bound).is_some(), "a date such as 2024-01-31 or 2024-01-31T12:00:00Z")
            }
            _ => (super::bound::number(bound).is_some(), "a number of bytes such as 1000, 64K or 2M"),
        };
        if fits { Ok(()) } else { Err(self.error(format!("before this, {field}: expected {expected}"))) }
    }

    fn phrase(&mut self) -> Result<Value, QueryError> {
        self.advance(1);
        let Some(end) = self.rest().find('"') else { return Err(self.error("expected a closing `\"`")) };
        let text = self.rest().get(..end).unwrap_or_default().to_owned();
        self.advance(end.saturating_add(1));
        let slop = if self.take("~") { self.digits()?.unwrap_or(1) } else { 0 };
        Ok(Value::Words { text, slop })
    }

    fn digits(&mut self) -> Result<Option<u32>, QueryError> {
        let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().map_err(|_| self.error("this number is too large"))?;
        self.advance(digits.len());
        Ok(Some(number))
    }

    fn regex(&mut self) -> Result<Value, QueryError> {
        self.advance(1);
        let Some(end) = self.rest().find('/') else { return Err(self.error("expected a closing `/`")) };
        let pattern = self.rest().get(..end).unwrap_or_default().to_owned();
        self.advance(end.saturating_add(1));
        Ok(Value::Regex(pattern))
    }

    fn range(&mut self) -> Result<Value, QueryError> {
        self.advance(1);
        let Some(end) = self.rest().find(']') else { return Err(self.error("expected a closing `]`")) };
        let inner = self.rest().get(..end).unwrap_or_default();
        let Some((from, to)) = inner.split_once(" TO ") else { return Err(self.error("expected `A TO B`")) };
        let bound = |b: &str| Some(b.trim().to_owned()).filter(|b| b != "*");
        let range = Value::Range(bound(from), bound(to));
        self.advance(end.saturating_add(1));
        Ok(range)
    }

    /// A word; `~` behind it means something only where words are looked for, elsewhere it may be part of a name.
    fn word(&mut self, fuzzy: bool) -> Result<Value, QueryError> {
        let stops = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
        let end = self.rest().find(stops).unwrap_or(self.rest().len());
        let word = self.rest().get(..end).unwrap_or_default();
        let (text, tilde) = match word.split_once('~') {
            Some((text, distance)) if fuzzy => (text, Some(distance)),
            _ => (word, None),
        };
        let value = match tilde {
            None if text.contains(['*', '?']) => Value::Wildcard(text.to_owned()),
            None => Value::Words { text: text.to_owned(), slop: 0 },
            Some("") => Value::Fuzzy { text: text.to_owned(), distance: 1 },
            Some("1") => Value::Fuzzy { text: text.to_owned(), distance: 1 },
            Some("2") => Value::Fuzzy { text: text.to_owned(), distance: 2 },
            Some(_) => {
                self.advance(text.len().saturating_add(1));
                return Err(self.error("expected 1 or 2 behind `~`"));
            }
        };
        self.advance(end);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(text: &str) -> Query {
        Query::field("", text)
    }

    #[test]
    fn operators_bind_as_written() -> Result<(), QueryError> {
        assert_eq!(parse("a b")?, Query::And(vec![word("a"), word("b")]));
        assert_eq!(parse("a AND b OR c")?, Query::Or(vec![Query::And(vec![word("a"), word("b")]), word("c")]));
        assert_eq!(parse("(a OR b) -c")?.leaves().len(), 2);
        let near = Query::Leaf { field: "", value: Value::Words { text: "x y".to_owned(), slop: 5 } };
        assert_eq!(parse("\"x y\"~5")?, near);
        let range = Value::Range(Some("1000".to_owned()), None);
        assert_eq!(parse("size:[1000 TO *]")?, Query::Leaf { field: "size", value: range });
        assert_eq!(parse("https://example.org")?, word("https://example.org"));
        assert_eq!(parse("ORDER")?, word("ORDER"));
        Ok(())
    }

    #[test]
    fn an_error_names_its_column() {
        for (text, column) in
            [("", 1), ("a (b", 5), ("colour:red", 1), ("a \"b", 4), ("size:[1 TO x]", 14), ("a )", 3), ("a OR", 5)]
        {
            assert_eq!(parse(text).map_err(|e| e.column), Err(column), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[-a-z:()\"~*?/\\[\\] TORAND0-9]{0,60}") {
            let _ = parse(&text);
        }
    }
}
