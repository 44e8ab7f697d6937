//! Short and long names of FAT, and how the one proves the other.
//!
//! Microsoft FAT specification 1.03, "FAT Directory Structure" and "FAT Long Directory Entries". Short names are in the
//! code page of the system that wrote them, which the volume does not tell: code page 437 is assumed.

/// The upper half of code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The lower-case bits of `DIR_NTRes`.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;

/// What stands for the first letter that deletion took.
pub(super) const LOST: char = '_';

fn oem_char(b: u8) -> char {
    match b.checked_sub(0x80) {
        None => char::from(b),
        Some(n) => CP437.chars().nth(usize::from(n)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// A field of the directory or of the boot sector, without the blanks behind it.
pub(super) fn oem_trimmed(field: &[u8]) -> String {
    let text: String = field.iter().map(|b| oem_char(*b)).collect();
    text.trim_end_matches([' ', '\0']).to_owned()
}

/// `NAME.EXT` of the eleven bytes of `DIR_Name`, in lower case where `DIR_NTRes` says so; `first` takes the place of
/// the first byte.
pub(super) fn short(name: [u8; 11], nt: u8, first: char) -> String {
    let (base, extension) = name.split_at(8);
    let mut text = String::with_capacity(12);
    text.push(first);
    let rest = oem_trimmed(base.get(1..).unwrap_or_default());
    text.push_str(&rest);
    if nt & LOWER_BASE != 0 {
        text.make_ascii_lowercase();
    }
    let mut extension = oem_trimmed(extension);
    if nt & LOWER_EXTENSION != 0 {
        extension.make_ascii_lowercase();
    }
    if !extension.is_empty() {
        text.push('.');
        text.push_str(&extension);
    }
    text
}

/// The first character of a live short name: 0x05 stands for 0xE5, which marks the deleted.
pub(super) fn first_char(name: [u8; 11]) -> char {
    let [first, ..] = name;
    oem_char(if first == 0x05 { 0xe5 } else { first })
}

/// True for bytes that a short name can be made of.
pub(super) fn possible_short(name: &[u8]) -> bool {
    name.iter().all(|b| *b >= 0x20 && *b != 0x7f && !b"\"*+,/:;<=>?[\\]|".contains(b))
}

/// The checksum of a short name that every part of its long name carries.
pub(super) fn checksum(name: [u8; 11]) -> u8 {
    name.iter().fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b))
}

/// The first byte that `name` must have had for its checksum to be `sum`, if the long name agrees: a letter or digit
/// at its start is the short name's start too.
pub(super) fn restore_first(mut name: [u8; 11], sum: u8, long: &str) -> Option<u8> {
    let fits = |b: &u8| {
        if let Some(first) = name.first_mut() {
            *first = *b;
        }
        checksum(name) == sum
    };
    let found = (0x21..=0xffu8).find(fits).filter(|b| possible_short(&[*b]))?;
    let start = long.trim_start_matches(['.', ' ']).chars().next()?;
    let agrees = !start.is_ascii_alphanumeric() || start.to_ascii_uppercase() == char::from(found);
    agrees.then_some(found)
}

/// A long name out of its UTF-16 units. What cannot stand in a path is replaced: no system writes it.
pub(super) fn long(units: &[u16]) -> String {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    let units = units.get(..end).unwrap_or(units).iter().copied();
    char::decode_utf16(units).map(|c| path_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))).collect()
}

/// A character as it may stand in a path.
pub(super) const fn path_char(c: char) -> char {
    match c {
        '/' | '\0' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_first_letter_comes_back_from_the_checksum() {
        let name = *b"LONGNA~1TXT";
        let mut deleted = name;
        deleted[0] = 0xe5;
        assert_eq!(restore_first(deleted, checksum(name), "longname.txt"), Some(b'L'));
        assert_eq!(restore_first(deleted, checksum(name), "other.txt"), None);
    }

    #[test]
    fn short_names_follow_the_case_bits() {
        assert_eq!(short(*b"README  TXT", 0x18, 'R'), "readme.txt");
        assert_eq!(short(*b"README  TXT", 0x08, 'R'), "readme.TXT");
        assert_eq!(short(*b"\xe5EADME     ", 0, LOST), "_EADME");
        assert_eq!(oem_trimmed(b"\x9aBER   "), "ÜBER");
    }
}
