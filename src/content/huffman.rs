//! Canonical prefix codes, as Xpress and LZX use them: shorter codes first, equal lengths in the order of the symbols.

/// The longest code.
pub(super) const MAX_LENGTH: usize = 16;
/// Codes up to this length are looked up at once.
const FAST: u32 = 9;

/// A code, ready to decode.
pub(super) struct Huffman {
    /// Symbol and length by the next bits; length 0 where the code is longer.
    fast: Vec<(u16, u8)>,
    /// By length: the first code, how many there are, and the place of the first one's symbol.
    rows: [(u32, u32, usize); MAX_LENGTH + 1],
    symbols: Vec<u16>,
}

impl Huffman {
    /// The code whose symbols have these lengths; `None` where they need more codes than there are.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let mut rows = [(0u32, 0u32, 0usize); MAX_LENGTH + 1];
        for length in lengths.iter().filter(|length| **length > 0) {
            let row = rows.get_mut(usize::from(*length))?;
            row.1 = row.1.checked_add(1)?;
        }
        let (mut code, mut place) = (0u32, 0usize);
        for (length, row) in rows.iter_mut().enumerate().skip(1) {
            code <<= 1;
            (row.0, row.2) = (code, place);
            code = code.checked_add(row.1)?;
            place = place.checked_add(usize::try_from(row.1).ok()?)?;
            (code <= 1u32 << length).then_some(())?;
        }
        let mut symbols: Vec<u16> = (0..u16::try_from(lengths.len()).ok()?).collect();
        symbols.retain(|symbol| lengths.get(usize::from(*symbol)).is_some_and(|length| *length > 0));
        symbols.sort_by_key(|symbol| lengths.get(usize::from(*symbol)));
        let mut huffman = Self { fast: Vec::new(), rows, symbols };
        let bits = |next: u32| huffman.slow(next << (32u32.saturating_sub(FAST)), FAST).unwrap_or((0, 0));
        huffman.fast = (0..1u32 << FAST).map(bits).collect();
        Some(huffman)
    }

    /// The symbol at the top of `next`, and the length of its code; `None` where no code begins so.
    pub(super) fn decode(&self, next: u32) -> Option<(u16, u32)> {
        let row = usize::try_from(next >> 32u32.saturating_sub(FAST)).ok()?;
        match self.fast.get(row)? {
            (_, 0) => self.slow(next, 16).map(|(symbol, length)| (symbol, length.into())),
            (symbol, length) => Some((*symbol, (*length).into())),
        }
    }

    fn slow(&self, next: u32, longest: u32) -> Option<(u16, u8)> {
        for length in 1..=longest {
            let (first, count, place) = *self.rows.get(usize::try_from(length).ok()?)?;
            let within = (next >> 32u32.saturating_sub(length)).checked_sub(first);
            if let Some(within) = within.filter(|within| *within < count) {
                let symbol = self.symbols.get(place.checked_add(usize::try_from(within).ok()?)?)?;
                return Some((*symbol, u8::try_from(length).ok()?));
            }
        }
        None
    }
}

/// Repeats what stands `distance` bytes back, `length` bytes long, but not beyond `limit` bytes in all.
pub(super) fn repeat(out: &mut Vec<u8>, distance: usize, length: usize, limit: usize) -> Option<()> {
    let from = out.len().checked_sub(distance).filter(|_| distance > 0)?;
    for at in from..from.checked_add(length.min(limit.checked_sub(out.len())?))? {
        out.push(*out.get(at)?);
    }
    Some(())
}
