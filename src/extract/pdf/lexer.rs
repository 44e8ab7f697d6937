//! Tokens of content streams and of CMaps.
//!
//! Source: ISO 32000-1, 7.2 and 7.3; 8.9.7 (inline images, stepped over).

use std::borrow::Cow;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'b> {
    Number(f32),
    Name(&'b [u8]),
    Text(Cow<'b, [u8]>),
    Open,
    Close,
    Operator(&'b [u8]),
}

/// Cuts bytes into tokens.
pub(super) struct Lexer<'b> {
    rest: &'b [u8],
}

const fn is_white(b: u8) -> bool {
    matches!(b, 0 | 9 | 10 | 12 | 13 | 32)
}

const fn is_delimiter(b: u8) -> bool {
    matches!(b, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

impl<'b> Lexer<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    fn skip(&mut self, n: usize) {
        self.rest = self.rest.get(n..).unwrap_or_default();
    }

    fn white(&mut self) {
        loop {
            let white = self.rest.iter().position(|b| !is_white(*b)).unwrap_or(self.rest.len());
            self.skip(white);
            if self.rest.first() != Some(&b'%') {
                return;
            }
            let line = memchr::memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
            self.skip(line);
        }
    }

    fn word(&mut self) -> &'b [u8] {
        let len = self.rest.iter().position(|b| is_white(*b) || is_delimiter(*b)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        word
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Token<'b>> {
        loop {
            self.white();
            match (self.rest.first()?, self.rest.get(1)) {
                (b'/', _) => {
                    self.skip(1);
                    return Some(Token::Name(self.word()));
                }
                (b'(', _) => return Some(Token::Text(self.literal())),
                // A dictionary's marks mean nothing here; its keys and values are operands that nobody takes.
                (b'<', Some(b'<')) | (b'>', Some(b'>')) => self.skip(2),
                (b'<', _) => return Some(Token::Text(Cow::Owned(self.hex()))),
                (b'[', _) => {
                    self.skip(1);
                    return Some(Token::Open);
                }
                (b']', _) => {
                    self.skip(1);
                    return Some(Token::Close);
                }
                (b'{' | b'}' | b')' | b'>', _) => self.skip(1),
                (b'0'..=b'9' | b'+' | b'-' | b'.', _) => return Some(Token::Number(number(self.word()))),
                _ => {
                    let word = self.word();
                    if word == b"ID" {
                        self.inline_image();
                        continue;
                    }
                    return Some(Token::Operator(word));
                }
            }
        }
    }

    /// 7.3.4.2: balanced parentheses and escapes.
    fn literal(&mut self) -> Cow<'b, [u8]> {
        self.skip(1);
        let simple = memchr::memchr3(b'(', b')', b'\\', self.rest);
        if let Some((text, rest)) = simple.and_then(|at| self.rest.split_at_checked(at))
            && rest.first() == Some(&b')')
        {
            self.rest = rest.get(1..).unwrap_or_default();
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.escaped())
    }

    fn escaped(&mut self) -> Vec<u8> {
        let (mut out, mut depth) = (Vec::new(), 1u32);
        while let Some((byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'(' => depth = depth.saturating_add(1),
                b')' if depth == 1 => return out,
                b')' => depth = depth.saturating_sub(1),
                b'\\' => {
                    self.escape(&mut out);
                    continue;
                }
                _ => {}
            }
            out.push(*byte);
        }
        out
    }

    fn escape(&mut self, out: &mut Vec<u8>) {
        let Some((byte, rest)) = self.rest.split_first() else { return };
        let octal = self.rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        if octal > 0 {
            let digits = self.rest.get(..octal).unwrap_or_default();
            out.push(digits.iter().fold(0u8, |n, d| n.wrapping_shl(3) | (d & 7)));
            return self.skip(octal);
        }
        self.rest = rest;
        match byte {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'\r' if self.rest.first() == Some(&b'\n') => self.skip(1),
            b'\r' | b'\n' => {}
            byte => out.push(*byte),
        }
    }

    fn hex(&mut self) -> Vec<u8> {
        self.skip(1);
        let end = memchr::memchr(b'>', self.rest).unwrap_or(self.rest.len());
        let digits = self.rest.get(..end).unwrap_or_default().iter().filter_map(|b| char::from(*b).to_digit(16));
        let digits: Vec<u8> = digits.filter_map(|d| u8::try_from(d).ok()).collect();
        self.skip(end.saturating_add(1));
        digits.chunks(2).map(|pair| pair.first().unwrap_or(&0) << 4 | pair.get(1).unwrap_or(&0)).collect()
    }

    /// Steps over the data of an inline image: to `EI` between white space.
    fn inline_image(&mut self) {
        let end = memchr::memmem::find_iter(self.rest, b"EI").find(|at| {
            let before = at.checked_sub(1).and_then(|at| self.rest.get(at));
            let after = at.checked_add(2).and_then(|at| self.rest.get(at));
            before.is_some_and(|b| is_white(*b)) && after.is_none_or(|b| is_white(*b))
        });
        self.skip(end.map_or(self.rest.len(), |at| at.saturating_add(2)));
    }
}

/// A number as PDF writes it: no exponent; what is none counts as 0.
fn number(word: &[u8]) -> f32 {
    let negative = word.first() == Some(&b'-');
    let digits = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"+")).unwrap_or(word);
    let (mut value, mut scale) = (0f32, 0f32);
    for byte in digits {
        match byte {
            b'0'..=b'9' if scale == 0.0 => value = value * 10.0 + f32::from(byte & 15),
            b'0'..=b'9' => {
                value += f32::from(byte & 15) * scale;
                scale /= 10.0;
            }
            b'.' if scale == 0.0 => scale = 0.1,
            _ => break,
        }
    }
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_token_is_cut() {
        let mut lexer = Lexer::new(b"/F1 -1.5 Tf%c\n(a\\(\\101(b)\\\n) <4 1 4> [1] BI /W 1 ID \x01EI\x02 EI Q");
        let mut all = Vec::new();
        while let Some(token) = lexer.next() {
            all.push(token);
        }
        let text = |t: &[u8]| Token::Text(Cow::Owned(t.to_vec()));
        let expected = [
            Token::Name(b"F1"),
            Token::Number(-1.5),
            Token::Operator(b"Tf"),
            text(b"a(A(b)"),
            text(b"A@"),
            Token::Open,
            Token::Number(1.0),
            Token::Close,
            Token::Operator(b"BI"),
            Token::Name(b"W"),
            Token::Number(1.0),
            Token::Operator(b"Q"),
        ];
        assert_eq!(all, expected);
    }
}
