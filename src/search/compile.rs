//! From a query to what the index can answer.

use super::bound::{day_or_time, number};
use super::query::{Query, Value};
use crate::index::{Fields, KEYS, key_range, tokens};
use crate::text::fold;
use std::ops::Bound;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery,
    Query as Compiled, RangeQuery, RegexQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DateTime, Term};

/// Compiles a query, to be answered for each part of a text by itself; with `within`, only for items that fit that too.
/// Where the index knows less than is asked ([`Query::needs_check`]), the result is wider.
pub fn compile(query: &Query, within: Option<&Query>, fields: &Fields) -> Box<dyn Compiled> {
    let compiled = one(query, fields);
    match within {
        None | Some(Query::All) => compiled,
        Some(within) => {
            // What narrows the question down says nothing about how well a text fits.
            let filter: Box<dyn Compiled> = Box::new(ConstScoreQuery::new(one(within, fields), 0.0));
            Box::new(BooleanQuery::new(vec![(Occur::Must, compiled), (Occur::Must, filter)]))
        }
    }
}

fn one(query: &Query, fields: &Fields) -> Box<dyn Compiled> {
    match query {
        Query::All => term(fields.head, "true"),
        Query::And(all) => join(all, Occur::Must, fields),
        Query::Or(any) => join(any, Occur::Should, fields),
        Query::Not(_) => join(std::slice::from_ref(query), Occur::Must, fields),
        Query::Leaf { field, value } => leaf(field, value, fields),
    }
}

fn join(parts: &[Query], occur: Occur, fields: &Fields) -> Box<dyn Compiled> {
    let clause = |part: &Query| match part {
        Query::Not(inner) if occur == Occur::Must => (Occur::MustNot, one(inner, fields)),
        Query::All => (occur, Box::new(AllQuery) as Box<dyn Compiled>),
        other => (occur, one(other, fields)),
    };
    let mut clauses: Vec<(Occur, Box<dyn Compiled>)> = parts.iter().map(clause).collect();
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(clauses))
}

/// Whether both the index and the search for hits understand an expression.
pub fn is_regex(pattern: &str) -> bool {
    let index = RegexQuery::from_pattern(pattern, Field::from_field_id(0)).is_ok();
    index && regex::Regex::new(pattern).is_ok()
}

fn leaf(field: &str, value: &Value, f: &Fields) -> Box<dyn Compiled> {
    match field {
        "" => {
            let path = BoostQuery::new(in_words(f.words, value), 0.5);
            let any: Vec<(Occur, Box<dyn Compiled>)> =
                vec![(Occur::Should, in_words(f.text, value)), (Occur::Should, Box::new(path))];
            Box::new(BooleanQuery::new(any))
        }
        "exact" => in_words(f.text, value),
        "author" => in_words(f.author, value),
        "path" => contains(f.path, value),
        "name" => contains(f.name, value),
        "size" => numbers(f.size, value),
        "offset" => numbers(f.offset, value),
        "mtime" => dates(f.mtime, value),
        other if KEYS.contains(&other) => key(other, value, f),
        other => match term_field(other, f) {
            Some(field) => whole(field, value),
            None => Box::new(EmptyQuery),
        },
    }
}

fn term_field(name: &str, f: &Fields) -> Option<Field> {
    let plain = [
        ("ext", f.ext),
        ("mime", f.mime),
        ("kind", f.kind),
        ("status", f.status),
        ("image", f.image),
        ("deleted", f.deleted),
        ("allocated", f.allocated),
    ];
    plain.into_iter().find(|(n, _)| *n == name).map(|(_, field)| field)
}

/// An id or a hash, or with `*` behind it the beginning of one.
fn key(name: &str, value: &Value, f: &Fields) -> Box<dyn Compiled> {
    let field = KEYS.into_iter().zip(f.keys).find(|(n, _)| *n == name).map(|(_, field)| field);
    let digits = match value {
        Value::Words { text, .. } => Some(text.as_str()),
        Value::Wildcard(pattern) => pattern.strip_suffix('*'),
        _ => None,
    };
    let Some((field, (from, to))) = field.zip(digits.and_then(key_range)) else { return Box::new(EmptyQuery) };
    let bound = |n| Bound::Included(Term::from_field_u64(field, n));
    Box::new(RangeQuery::new(bound(from), bound(to)))
}

fn term(field: Field, text: &str) -> Box<dyn Compiled> {
    Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::WithFreqs))
}

fn regex(field: Field, pattern: &str) -> Box<dyn Compiled> {
    match RegexQuery::from_pattern(pattern, field) {
        Ok(query) => Box::new(query),
        Err(_) => Box::new(EmptyQuery),
    }
}

/// In a field of folded words.
fn in_words(field: Field, value: &Value) -> Box<dyn Compiled> {
    match value {
        Value::Words { text, slop } => {
            let terms: Vec<Term> =
                tokens::words(text).iter().map(|w| Term::from_field_text(field, &w.folded)).collect();
            match terms.as_slice() {
                [] => Box::new(EmptyQuery),
                [one] => Box::new(TermQuery::new(one.clone(), IndexRecordOption::WithFreqs)),
                _ => {
                    let mut phrase = PhraseQuery::new(terms);
                    phrase.set_slop(*slop);
                    Box::new(phrase)
                }
            }
        }
        Value::Wildcard(pattern) => regex(field, &wildcard(&fold(pattern))),
        Value::Regex(pattern) => regex(field, pattern),
        Value::Fuzzy { text, distance } => {
            let word = tokens::words(text).into_iter().next().map(|w| w.folded).unwrap_or_default();
            Box::new(FuzzyTermQuery::new(Term::from_field_text(field, &word), *distance, true))
        }
        Value::Range(..) => Box::new(EmptyQuery),
    }
}

/// Anywhere in a field that is one term in lower case; with wildcards, the whole of it.
fn contains(field: Field, value: &Value) -> Box<dyn Compiled> {
    match value {
        Value::Words { text, .. } => regex(field, &format!(".*{}.*", regex::escape(&text.to_lowercase()))),
        Value::Wildcard(pattern) => regex(field, &wildcard(&pattern.to_lowercase())),
        other => whole(field, other),
    }
}

/// The whole of a field that is one term.
fn whole(field: Field, value: &Value) -> Box<dyn Compiled> {
    match value {
        Value::Words { text, .. } => term(field, &text.to_lowercase()),
        Value::Wildcard(pattern) => regex(field, &wildcard(&pattern.to_lowercase())),
        Value::Regex(pattern) => regex(field, pattern),
        Value::Fuzzy { text, distance } => {
            Box::new(FuzzyTermQuery::new(Term::from_field_text(field, &text.to_lowercase()), *distance, true))
        }
        Value::Range(..) => Box::new(EmptyQuery),
    }
}

/// `*` and `?` as a regular expression; everything else means itself.
pub fn wildcard(pattern: &str) -> String {
    let mut out = String::new();
    let mut utf8 = [0; 4];
    for c in pattern.chars() {
        match c {
            '*' => out.push_str("(?s:.)*"),
            '?' => out.push_str("(?s:.)"),
            c => out.push_str(&regex::escape(c.encode_utf8(&mut utf8))),
        }
    }
    // The index's own expressions know no flags; `.` there takes every character.
    out.replace("(?s:.)", ".")
}

fn numbers(field: Field, value: &Value) -> Box<dyn Compiled> {
    let term = |text: &String| number(text).map(|n| Term::from_field_u64(field, n));
    range(value, &term, &term)
}

fn dates(field: Field, value: &Value) -> Box<dyn Compiled> {
    let of = |seconds: i64| Term::from_field_date(field, DateTime::from_timestamp_secs(seconds));
    // A day ends with its last second.
    let first = |text: &String| day_or_time(text).map(|(from, _)| of(from));
    let last = |text: &String| day_or_time(text).map(|(_, to)| of(to));
    range(value, &first, &last)
}

fn range(
    value: &Value,
    first: &dyn Fn(&String) -> Option<Term>,
    last: &dyn Fn(&String) -> Option<Term>,
) -> Box<dyn Compiled> {
    let (from, to) = match value {
        Value::Range(from, to) => (from.as_ref().and_then(first), to.as_ref().and_then(last)),
        Value::Words { text, .. } => (first(text), last(text)),
        _ => (None, None),
    };
    let bound = |term: Option<Term>| term.map_or(Bound::Unbounded, Bound::Included);
    Box::new(RangeQuery::new(bound(from), bound(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_an_expression() {
        assert_eq!(wildcard("a*.d?c"), "a.*\\.d.c");
    }
}
