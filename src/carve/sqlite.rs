//! SQLite: as many pages as the header counts, each checked for what a page may begin with.
//!
//! Source: sqlite.org/fileformat2.html, 1.3 (header), 1.6 (b-tree pages), 1.5 and 1.7 (freelist, overflow), 1.8
//! (pointer map). Checked against seven databases of the benchmark image.

use super::Carved;
use crate::bytes::{Fields, index, offset};
use crate::fuel::{Fuel, Spent};

/// What starts a file.
pub const HEADERS: &[&[u8]] = &[b"SQLite format 3\0"];

/// Measures the database at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let Some((page_size, count, maps)) = header(bytes) else { return Ok(None) };
    let mut held = 1u32;
    for page in bytes.chunks_exact(page_size).take(index(u64::from(count))).skip(1) {
        fuel.burn(16)?;
        if !is_page(page, count, maps) {
            break;
        }
        held = held.saturating_add(1);
    }
    let len = page_size.saturating_mul(index(u64::from(held)));
    let whole = held == count;
    let found = Carved { len: offset(len), extension: "sqlite", mime: "application/vnd.sqlite3", whole };
    Ok((len <= bytes.len() && (whole || held > 1)).then_some(found))
}

/// Size and number of pages, and whether some of them are pointer maps; `None` where the header lies.
fn header(bytes: &[u8]) -> Option<(usize, u32, bool)> {
    let size = match bytes.be16(16)? {
        1 => 65536,
        n @ 512..=32768 if n.is_power_of_two() => usize::from(n),
        _ => return None,
    };
    let versions = matches!(bytes.byte(18)?, 1 | 2) && matches!(bytes.byte(19)?, 1 | 2);
    let fractions = bytes.span(21, 3)? == [64, 32, 32];
    let schema = bytes.be32(44)? <= 4 && bytes.be32(56)? <= 3;
    let root = matches!(bytes.byte(100)?, 5 | 13);
    // The count is valid if the version that wrote it was the last to change the file; older programs left it 0.
    let count = bytes.be32(28).filter(|n| *n > 0 && bytes.be32(24) == bytes.be32(92));
    let maps = bytes.be32(52)? != 0;
    (versions && fractions && schema && root).then_some((size, count.unwrap_or(u32::MAX), maps))
}

/// A b-tree page by its type, an overflow or freelist page by its pointer to the next, a pointer map by its first entry.
fn is_page(page: &[u8], count: u32, maps: bool) -> bool {
    let tree = matches!(page.first(), Some(2 | 5 | 10 | 13)) && page.be16(3).is_some_and(|cells| cells < 0x4000);
    let chained = page.be32(0).is_some_and(|next| next <= count.min(0x00ff_ffff));
    let map = maps && matches!(page.first(), Some(1..=5));
    tree || chained || map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(pages: u32) -> Vec<u8> {
        let mut file = vec![0u8; 512 * pages as usize];
        file[..16].copy_from_slice(HEADERS[0]);
        file[16..24].copy_from_slice(&[2, 0, 1, 1, 0, 64, 32, 32]);
        file[28..32].copy_from_slice(&pages.to_be_bytes());
        file[44..48].copy_from_slice(&4u32.to_be_bytes());
        file[56..60].copy_from_slice(&1u32.to_be_bytes());
        file[100] = 13;
        for page in file.chunks_mut(512).skip(1) {
            page[0] = 13;
        }
        file
    }

    #[test]
    fn the_header_counts_the_pages() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        let file = database(4);
        let found = run(&[&file[..], &[0xee; 900]].concat()).unwrap();
        assert!(found.whole && found.len == 2048);
        let cut = run(&[&file[..1024], &[0xee; 4000]].concat()).unwrap();
        assert!(!cut.whole && cut.len == 1024);
        assert_eq!(run(&[HEADERS[0], &[0xee; 4000]].concat()), None);
    }
}
