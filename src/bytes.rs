//! Numbers out of distrusted bytes: every read is checked, none panics. And bytes as text.

/// Fixed-width fields of an on-disk structure; `None` where it ends before the field does.
pub trait Fields {
    /// `N` bytes at `at`.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
    /// `len` bytes at `at`.
    fn span(&self, at: usize, len: usize) -> Option<&[u8]>;

    /// The byte at `at`.
    fn byte(&self, at: usize) -> Option<u8> {
        self.array::<1>(at).map(|[b]| b)
    }
    /// Little-endian 16 bits at `at`.
    fn le16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }
    /// Little-endian 32 bits at `at`.
    fn le32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    /// Little-endian 64 bits at `at`.
    fn le64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    /// Big-endian 16 bits at `at`.
    fn be16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }
    /// Big-endian 32 bits at `at`.
    fn be32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
    /// Big-endian 64 bits at `at`.
    fn be64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
}

impl Fields for [u8] {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }

    fn span(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.get(at..at.checked_add(len)?)
    }
}

/// A length or an offset of the evidence as an index; saturates where the machine's words are shorter.
pub fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// An index as a length or an offset of the evidence.
pub fn offset(n: usize) -> u64 {
    n as u64
}

/// True where every byte is zero.
pub fn all_zero(bytes: &[u8]) -> bool {
    // Folding 64 bytes at a time compiles to vector instructions; `all` on single bytes does not.
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0u8, |or, b| or | b) == 0)
}

/// UTF-16, little-endian, with unpaired surrogates replaced.
pub fn utf16_le(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    // Nearly all names are ASCII, a byte for a unit.
    let ascii = units.clone().fold(0, |or, unit| or | unit) < 0x80;
    if ascii && let Ok(text) = String::from_utf8(pairs.iter().map(|[low, _]| *low).collect()) {
        return text;
    }
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// A fixed field of text, one byte a character (ISO 8859-1), up to its first zero and without blanks at its end.
pub fn latin1(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    text.iter().map(|byte| char::from(*byte)).collect::<String>().trim_end().to_owned()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(*b)]).collect()
}

/// The first `most` bytes as text where they are text, else in hexadecimal.
pub fn text_or_hex(value: &[u8], most: usize) -> String {
    let value = value.get(..value.len().min(most)).unwrap_or_default();
    let trimmed = value.strip_suffix(&[0]).unwrap_or(value);
    match std::str::from_utf8(trimmed) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.to_owned(),
        _ => hex(value),
    }
}

/// UTF-16, big-endian, with unpaired surrogates replaced.
pub fn utf16_be(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// A GUID as Windows prints it: its first three numbers are little-endian.
pub fn guid([a, b, c, d, e, f, g, h, rest @ ..]: [u8; 16]) -> String {
    let first = u32::from_le_bytes([a, b, c, d]);
    let (second, third) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let rest = u64::from_be_bytes(rest);
    format!("{first:08x}-{second:04x}-{third:04x}-{:04x}-{:012x}", rest >> 48, rest & 0xffff_ffff_ffff)
}

/// A UUID as `blkid` prints it: its bytes in order.
pub fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex(&bytes);
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_printed_as_windows_does() {
        let bytes = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(guid(bytes), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    }

    #[test]
    fn a_field_behind_the_end_is_none() {
        let b: &[u8] = &[1, 2, 3];
        assert_eq!(b.le16(1), Some(0x0302));
        assert_eq!(b.be16(1), Some(0x0203));
        assert_eq!(b.le16(2), None);
        assert_eq!(b.le64(usize::MAX), None);
        assert_eq!(b.span(usize::MAX, 2), None);
    }

    #[test]
    fn zeros_are_found_at_every_length() {
        for n in 0..200 {
            let mut b = vec![0u8; n];
            assert!(all_zero(&b));
            if let Some(last) = b.last_mut() {
                *last = 1;
                assert!(!all_zero(&b));
            }
        }
    }
}
