//! LZO as btrfs keeps it: a length of all, then stretches of at most a page with a length each. A length never stands on a
//! border of pages: where less than its four bytes is left of one, the next begins with it.
//!
//! Kernel `fs/btrfs/lzo.c`, its head.

use super::lzo1x;
use crate::bytes::{Fields, index};

/// What a stretch is unpacked to, and the page on whose borders no length stands.
const PAGE: usize = 4096;
const LENGTH: usize = 4;

/// The first `size` bytes that `stored` holds, with zeros where it ends early; `None` where it is damaged.
pub fn decompress(stored: &[u8], size: usize) -> Option<Vec<u8>> {
    let whole = stored.get(..index(stored.le32(0)?.into()))?;
    let mut bytes = Vec::with_capacity(size);
    let mut at = LENGTH;
    while at < whole.len() && bytes.len() < size {
        let left = PAGE.checked_sub(at.checked_rem(PAGE)?)?;
        if left < LENGTH {
            at = at.checked_add(left)?;
        }
        let Some(len) = whole.le32(at) else { break };
        at = at.checked_add(LENGTH)?;
        let stretch = whole.span(at, index(len.into()))?;
        bytes.extend_from_slice(&lzo1x::decompress(stretch, PAGE)?);
        at = at.checked_add(stretch.len())?;
    }
    bytes.resize(size, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_joined_and_damage_is_none() {
        // LZO1X: 0x17 begins with six literals, then the mark of the end.
        let stretch = [0x17, b'l', b'e', b't', b't', b'e', b'r', 0x11, 0, 0];
        let mut stored = 32u32.to_le_bytes().to_vec();
        for _ in 0..2 {
            stored.extend((stretch.len() as u32).to_le_bytes());
            stored.extend(stretch);
        }
        assert_eq!(decompress(&stored, 14).as_deref(), Some(&b"letterletter\0\0"[..]));
        assert_eq!(decompress(&stored, 3).map(|bytes| bytes.len()), Some(3));
        stored[4] = 200;
        assert_eq!(decompress(&stored, 12), None);
        assert_eq!(decompress(&[1], 1), None);
    }
}
