//! Whether a readable run is likely to be more than chance.
//!
//! Each character weighs the binary logarithm of how much likelier text than random bytes has it after the one before.
//! The weights are estimates, set by hand and not counted from a body of text; `random_bytes_give_nearly_nothing`
//! next door holds the rate of false runs down.

/// What the heaviest part must weigh, in bits.
const ENOUGH: i32 = 15;
/// What a part without a vowel must weigh: names and keys are long.
const ENOUGH_WITHOUT_VOWEL: i32 = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lower,
    Upper,
    Digit,
    /// A letter of another script, with the block of 128 characters it lies in.
    Other(u32),
    Mark,
    Rare,
}

const fn ascii_kind(c: char) -> Kind {
    match c {
        'a'..='z' => Kind::Lower,
        'A'..='Z' => Kind::Upper,
        '0'..='9' => Kind::Digit,
        ' ' | '\t' | '.' | '-' | '_' | '/' | '\\' | ':' | '@' | ',' | '=' => Kind::Mark,
        _ => Kind::Rare,
    }
}

/// The kind of a character beyond ASCII.
fn kind(c: char) -> Kind {
    match c {
        '\u{c0}'..='\u{24f}' if c.is_lowercase() => Kind::Lower,
        '\u{c0}'..='\u{24f}' => Kind::Upper,
        '\u{2e80}'..='\u{d7ff}' => Kind::Other(0x2e80 >> 7),
        _ if c.is_alphabetic() => Kind::Other(u32::from(c) >> 7),
        _ => Kind::Rare,
    }
}

const fn is_vowel(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

/// A byte's kind and whether it is a vowel, for ASCII.
static ASCII: [(Kind, bool); 128] = ascii();

const fn ascii() -> [(Kind, bool); 128] {
    let mut table = [(Kind::Rare, false); 128];
    let mut byte = 0u8;
    while byte < 128 {
        let c = byte as char;
        #[expect(clippy::indexing_slicing, reason = "the byte is below 128")]
        {
            table[byte as usize] = (ascii_kind(c), is_vowel(c));
        }
        byte = byte.wrapping_add(1);
    }
    table
}

fn look(c: char) -> (Kind, bool) {
    let ascii = usize::try_from(u32::from(c)).ok().and_then(|at| ASCII.get(at));
    ascii.copied().unwrap_or_else(|| (kind(c), true))
}

/// True for a short run that is mostly ASCII letters and digits: enough where its frame already says that it is a field.
pub(super) fn is_field(text: &str) -> bool {
    let named = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    text.is_ascii() && text.len() <= 64 && named.saturating_mul(2) >= text.len()
}

/// True where some part of `text` weighs enough, and has a word's or a number's shape.
pub(super) fn counts(text: &str) -> bool {
    let (mut sum, mut len, mut letters, mut vowels) = (0i32, 0u32, 0u32, 0u32);
    let mut before = None;
    for c in text.chars() {
        let (this, vowel) = look(c);
        sum = sum.wrapping_add(bits(before, this));
        if sum <= 0 {
            (sum, len, letters, vowels, before) = (0, 0, 0, 0, None);
            continue;
        }
        len = len.wrapping_add(1);
        if !matches!(this, Kind::Digit | Kind::Mark | Kind::Rare) {
            letters = letters.wrapping_add(1);
            vowels = vowels.wrapping_add(u32::from(vowel));
        }
        before = Some(this);
        let enough = if letters < 2 || vowels > 0 { ENOUGH } else { ENOUGH_WITHOUT_VOWEL };
        if sum >= enough && len >= 5 {
            return true;
        }
    }
    false
}

const fn bits(before: Option<Kind>, this: Kind) -> i32 {
    use Kind::{Digit, Lower, Mark, Other, Rare, Upper};
    match (before, this) {
        (None, Lower | Upper | Digit | Other(_)) => 3,
        (None, Mark | Rare) => 0,
        (Some(Lower), Lower) | (Some(Upper), Upper | Lower) => 3,
        (Some(Digit), Digit) => 3,
        (Some(Other(a)), Other(b)) => {
            if a == b {
                4
            } else {
                -4
            }
        }
        (Some(Lower | Upper | Digit | Other(_)), Mark) => 1,
        (Some(Mark), Lower | Upper | Digit | Other(_)) => 1,
        (Some(Mark | Rare), Mark) => -1,
        (Some(Lower), Upper) => -2,
        (Some(Lower | Upper), Digit) | (Some(Digit), Lower | Upper) => -1,
        (Some(Rare), Lower | Upper | Digit) => 1,
        (Some(_), Other(_)) | (Some(Other(_)), _) => -3,
        (Some(_), Rare) => -3,
    }
}
