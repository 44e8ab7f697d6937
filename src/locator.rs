//! Where something stands: `image/vol2/dir/a.zip!word/document.xml@512`. Prints and parses back.
//!
//! ```text
//! locator := image "/" volume path *( "!" member ) [ "@" offset ]
//! ```
//! A path starts with `/`. In every part `%`, `!`, `@` and control characters are written `%XX` (their UTF-8
//! bytes), so that the marks above are unambiguous whatever a disk calls its files.

use std::fmt;

/// The way from an image to an item, and to a byte of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The evidence's name in the case.
    pub image: String,
    /// Number of the volume (`vol1`).
    pub volume: u32,
    /// Path inside the volume, starting with `/`.
    pub path: String,
    /// Members, outermost first.
    pub members: Vec<String>,
    /// Offset in the item's content.
    pub offset: Option<u64>,
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/vol{}{}", escape(&self.image, true), self.volume, escape(&self.path, false))?;
        for member in &self.members {
            write!(f, "!{}", escape(member, false))?;
        }
        match self.offset {
            Some(at) => write!(f, "@{at}"),
            None => Ok(()),
        }
    }
}

impl Locator {
    /// Parses what `Display` prints; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (way, offset) = match text.rsplit_once('@') {
            Some((way, at)) => (way, Some(at.parse().ok()?)),
            None => (text, None),
        };
        let mut parts = way.split('!');
        let (image, rest) = parts.next()?.split_once("/vol")?;
        let slash = rest.find('/')?;
        let (volume, path) = rest.split_at(slash);
        Some(Self {
            image: unescape(image)?,
            volume: volume.parse().ok()?,
            path: unescape(path)?,
            members: parts.map(unescape).collect::<Option<_>>()?,
            offset,
        })
    }
}

fn escape(part: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(part.len());
    for c in part.chars() {
        if matches!(c, '%' | '!' | '@') || c.is_control() || (slashes && c == '/') {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prints_and_parses_back(image in "[^\u{0}]{1,9}", volume in 0u32..99, path in "/\\PC{0,20}",
                                  members in prop::collection::vec("\\PC{1,9}", 0..3), offset: Option<u64>) {
            let there = Locator { image, volume, path, members, offset };
            prop_assert_eq!(Locator::parse(&there.to_string()), Some(there));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            let _ = Locator::parse(&text);
        }
    }
}
