//! Words as the index keeps them: runs of letters and digits, folded ([`crate::text::fold`]); each ideograph and kana of
//! Chinese and Japanese is a word by itself, so that any run of them is found as a phrase.
//!
//! An address such as `a.b@example.org` becomes its words; a query for it becomes the phrase of the same words.

use crate::text::fold_char;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// The name under which the index knows this tokenizer.
pub const NAME: &str = "evidex";
/// A longer run is cut: no word is, and base64 is no word.
const MAX_WORD: usize = 128;

/// The tokenizer.
#[derive(Clone, Default)]
pub struct Tokens {
    token: Token,
}

/// A text under way.
pub struct Stream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

impl Tokenizer for Tokens {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        self.token.reset();
        Stream { text, at: 0, token: &mut self.token }
    }
}

/// How a character takes part in words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Between words.
    Gap,
    /// Part of a word.
    Word,
    /// A word by itself.
    Alone,
    /// Belongs to the character before it: a combining mark.
    Mark,
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Word,
        '\0'..='\u{7f}' => Class::Gap,
        '\u{2e80}'..='\u{2fdf}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => {
            Class::Alone
        }
        '\u{20000}'..='\u{3ffff}' => Class::Alone,
        '\u{ad}' | '\u{200c}' | '\u{200d}' => Class::Mark,
        c if c.is_alphanumeric() => Class::Word,
        c if unicode_normalization::char::is_combining_mark(c) => Class::Mark,
        _ => Class::Gap,
    }
}

impl Stream<'_> {
    /// Start of the next word at or behind the current place.
    fn next_start(&self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        // ASCII, most of all text, is passed without decoding characters.
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii_alphanumeric() {
                return Some(at);
            }
            if byte.is_ascii() {
                at = at.saturating_add(1);
                continue;
            }
            let c = self.text.get(at..)?.chars().next()?;
            if matches!(class(c), Class::Word | Class::Alone) {
                return Some(at);
            }
            at = at.saturating_add(c.len_utf8());
        }
        None
    }

    /// Puts the word that starts at `start` into the token; gives its end.
    fn take_word(&mut self, start: usize) -> usize {
        let ascii = self.take_ascii(start);
        let mut end = start.saturating_add(ascii);
        // What stops ASCII letters and digits is nearly always another ASCII byte: the word is whole.
        if ascii >= MAX_WORD || self.text.as_bytes().get(end).is_none_or(u8::is_ascii) {
            return end;
        }
        let start = end;
        let rest = self.text.get(start..).unwrap_or_default();
        for (i, c) in rest.char_indices() {
            let class = class(c);
            let alone = class == Class::Alone;
            let first = i == 0 && ascii == 0;
            if class == Class::Gap || (alone && !first) || self.token.text.len() >= MAX_WORD {
                break;
            }
            if class != Class::Mark {
                fold_char(c, &mut self.token.text);
            }
            end = start.saturating_add(i).saturating_add(c.len_utf8());
            if alone {
                break;
            }
        }
        end
    }
}

impl Stream<'_> {
    /// Puts the ASCII letters and digits at `start` into the token, in lower case; gives how many they are.
    fn take_ascii(&mut self, start: usize) -> usize {
        let bytes = self.text.as_bytes().get(start..).unwrap_or_default();
        let len = bytes.iter().take(MAX_WORD).take_while(|b| b.is_ascii_alphanumeric()).count();
        self.token.text.push_str(self.text.get(start..start.saturating_add(len)).unwrap_or_default());
        self.token.text.make_ascii_lowercase();
        len
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        loop {
            let Some(start) = self.next_start() else { return false };
            self.token.text.clear();
            let end = self.take_word(start);
            self.at = end;
            if !self.token.text.is_empty() {
                self.token.offset_from = start;
                self.token.offset_to = end;
                self.token.position = self.token.position.wrapping_add(1);
                return true;
            }
        }
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// The words of a text, folded, with their places in it.
pub fn words(text: &str) -> Vec<Word> {
    let mut tokens = Tokens::default();
    let mut stream = tokens.token_stream(text);
    let mut words = Vec::new();
    while stream.advance() {
        let token = stream.token();
        words.push(Word { folded: token.text.clone(), from: token.offset_from, to: token.offset_to });
    }
    words
}

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Folded.
    pub folded: String,
    /// First byte in the text.
    pub from: usize,
    /// The byte behind its last.
    pub to: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).into_iter().map(|w| w.folded).collect()
    }

    #[test]
    fn words_are_folded_and_ideographs_stand_alone() {
        assert_eq!(folded("Ärger mit J.Doe@Example.ORG"), ["arger", "mit", "j", "doe", "example", "org"]);
        assert_eq!(folded("cafe\u{301} 東京タワー x"), ["cafe", "東", "京", "タ", "ワ", "ー", "x"]);
        assert_eq!(folded("don\u{ad}key"), ["donkey"]);
    }

    proptest! {
        #[test]
        fn any_text_ends_and_places_are_true(text in "\\PC{0,80}") {
            for word in words(&text) {
                prop_assert!(text.get(word.from..word.to).is_some_and(|w| !w.is_empty()));
                prop_assert!(!word.folded.is_empty());
            }
        }
    }
}
