//! CMaps: from character codes to Unicode.
//!
//! Source: ISO 32000-1, 9.10.3; Adobe technical note 5014 (CMap syntax).

use super::lexer::{Lexer, Token};

/// More codes than any font maps; a range that goes beyond is cut.
const MOST: usize = 70_000;

/// What a `ToUnicode` stream says.
#[derive(Default)]
pub(super) struct CMap {
    /// Sorted by code once all are read.
    map: Vec<(u32, Box<str>)>,
    /// First and last code, and their length in bytes.
    spaces: Vec<(u32, u32, usize)>,
}

impl CMap {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut lexer = Lexer::new(bytes);
        let (mut cmap, mut operands) = (Self::default(), Vec::new());
        while let Some(token) = lexer.next() {
            let Token::Operator(operator) = token else {
                if operands.len() < MOST {
                    operands.push(token);
                }
                continue;
            };
            match operator {
                b"endcodespacerange" => cmap.spaces(&operands),
                b"endbfchar" => cmap.chars(&operands),
                b"endbfrange" => cmap.ranges(&operands),
                _ => {}
            }
            operands.clear();
        }
        // Of a code that is mapped twice the first one counts.
        cmap.map.sort_by_key(|(code, _)| *code);
        cmap
    }

    fn spaces(&mut self, operands: &[Token<'_>]) {
        for pair in operands.chunks_exact(2) {
            if let [Token::Text(lo), Token::Text(hi)] = pair
                && (1..=4).contains(&lo.len())
                && self.spaces.len() < 256
            {
                self.spaces.push((code(lo), code(hi), lo.len()));
            }
        }
    }

    fn chars(&mut self, operands: &[Token<'_>]) {
        for pair in operands.chunks_exact(2) {
            if let [Token::Text(from), Token::Text(to)] = pair {
                self.put(code(from), utf16(to));
            }
        }
    }

    fn ranges(&mut self, operands: &[Token<'_>]) {
        let mut rest = operands.iter();
        while let (Some(Token::Text(lo)), Some(Token::Text(hi)), Some(to)) = (rest.next(), rest.next(), rest.next()) {
            let (lo, hi) = (code(lo), code(hi));
            match to {
                Token::Text(base) => self.count_up(lo, hi, base),
                Token::Open => {
                    let list = rest.by_ref().take_while(|token| **token != Token::Close);
                    for (at, text) in (lo..=hi).zip(list) {
                        if let Token::Text(text) = text {
                            self.put(at, utf16(text));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The last unit counts up with the code.
    fn count_up(&mut self, lo: u32, hi: u32, base: &[u8]) {
        let mut units: Vec<u16> = units(base).collect();
        for at in lo..=hi {
            if self.map.len() >= MOST {
                return;
            }
            self.put(at, String::from_utf16_lossy(&units));
            if let Some(last) = units.last_mut() {
                *last = last.wrapping_add(1);
            }
        }
    }

    fn put(&mut self, code: u32, text: String) {
        if self.map.len() < MOST {
            self.map.push((code, text.into()));
        }
    }

    pub(super) fn get(&self, code: u32) -> Option<&str> {
        let first = self.map.partition_point(|(at, _)| *at < code);
        self.map.get(first).filter(|(at, _)| *at == code).map(|(_, text)| text.as_ref())
    }

    /// Length in bytes of the code that `bytes` begin with.
    pub(super) fn code_len(&self, bytes: &[u8]) -> usize {
        let fits = |len: usize| {
            let value = bytes.get(..len).map(code)?;
            self.spaces.iter().any(|(lo, hi, n)| *n == len && (*lo..=*hi).contains(&value)).then_some(len)
        };
        (1..=4).find_map(fits).unwrap_or(2)
    }
}

/// Bytes as one big-endian number.
pub(super) fn code(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, b| n << 8 | u32::from(*b))
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let single = (bytes.len() == 1).then(|| bytes.first().map(|b| u16::from(*b))).flatten();
    let pairs = bytes.chunks_exact(2).map(|pair| pair.iter().fold(0u16, |n, b| n << 8 | u16::from(*b)));
    single.into_iter().chain(pairs)
}

fn utf16(bytes: &[u8]) -> String {
    char::decode_utf16(units(bytes)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
