//! The text in which LVM2 keeps its metadata: `name { … }`, `key = value`, values being numbers, strings and lists of them.
//!
//! Grammar: `man lvm.conf` and the metadata itself; comments run from `#` to the end of the line.

use std::collections::BTreeMap;

/// How deep sections may lie in sections.
const DEPTH: usize = 16;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
}

/// What stands between braces, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section(BTreeMap<String, Value>);

impl Section {
    /// Reads a text; none where it does not follow the grammar.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut tape = Tape { rest: text };
        let section = tape.section(DEPTH)?;
        tape.word().is_none().then_some(section)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn section(&self, key: &str) -> Option<&Self> {
        match self.0.get(key)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// The sections in it, by name.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    /// A list; empty where there is none.
    pub(super) fn list(&self, key: &str) -> &[Value] {
        match self.0.get(key) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    /// A list of names with numbers, as `stripes = ["pv0", 0, "pv1", 0]` is; none where it is something else.
    pub(super) fn pairs(&self, key: &str) -> Option<Vec<(&str, u64)>> {
        let mut pairs = Vec::new();
        for pair in self.list(key).chunks(2) {
            let [Value::Text(name), Value::Number(number)] = pair else { return None };
            pairs.push((name.as_str(), *number));
        }
        Some(pairs)
    }

    /// A list of names.
    pub(super) fn names(&self, key: &str) -> Vec<&str> {
        self.list(key).iter().filter_map(Value::as_text).collect()
    }
}

impl Value {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Tape<'a> {
    rest: &'a [u8],
}

impl<'a> Tape<'a> {
    /// Leaves out blanks and comments; the text ends with its first zero.
    fn skip(&mut self) -> Option<u8> {
        loop {
            match self.rest {
                [b'#', ..] => {
                    let end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                    self.rest = self.rest.get(end..)?;
                }
                [byte, rest @ ..] if byte.is_ascii_whitespace() => self.rest = rest,
                [0, ..] | [] => return None,
                [byte, ..] => return Some(*byte),
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.skip()? == byte).then(|| self.rest = self.rest.get(1..).unwrap_or_default())
    }

    fn word(&mut self) -> Option<&'a [u8]> {
        self.skip()?;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+/".contains(byte);
        let end = self.rest.iter().position(|byte| !is_word(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn section(&mut self, depth: usize) -> Option<Section> {
        let depth = depth.checked_sub(1)?;
        let mut section = Section::default();
        while self.skip().is_some_and(|byte| byte != b'}') {
            let name = String::from_utf8_lossy(self.word()?).into_owned();
            let value = match self.skip()? {
                b'{' => {
                    self.take(b'{')?;
                    let inner = self.section(depth)?;
                    self.take(b'}')?;
                    Value::Section(inner)
                }
                _ => {
                    self.take(b'=')?;
                    self.value(depth)?
                }
            };
            section.0.insert(name, value);
        }
        Some(section)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        match self.skip()? {
            b'"' => self.string().map(Value::Text),
            b'[' => {
                self.take(b'[')?;
                let mut list = Vec::new();
                while self.skip()? != b']' {
                    list.push(self.value(depth)?);
                    if self.skip()? == b',' {
                        self.take(b',')?;
                    }
                }
                self.take(b']')?;
                Some(Value::List(list))
            }
            _ => {
                let word = std::str::from_utf8(self.word()?).ok()?;
                Some(word.parse().map_or_else(|_| Value::Text(word.to_owned()), Value::Number))
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut text = Vec::new();
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return Some(String::from_utf8_lossy(&text).into_owned()),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(*escaped);
                }
                _ => text.push(*byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: &[u8] = br#"
vg { # a group
  id = "ab\"c"
  seqno = 3
  status = ["READ", "WRITE"]
  lv { stripes = ["pv0", 7, "pv1", 8] }
}
made = 5
"#;

    #[test]
    fn a_group_is_read() {
        let text = Section::parse(GROUP).expect("it follows the grammar");
        let group = text.section("vg").expect("it is there");
        assert_eq!((group.text("id"), group.number("seqno")), (Some("ab\"c"), Some(3)));
        assert_eq!(group.names("status"), ["READ", "WRITE"]);
        let pairs = group.section("lv").and_then(|lv| lv.pairs("stripes"));
        assert_eq!(pairs, Some(vec![("pv0", 7), ("pv1", 8)]));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in prop::collection::vec(prop::sample::select(b"a1 =[]{}\",\\#\n\0".to_vec()), 0..200)) {
            let _ = Section::parse(&text);
        }
    }
}
