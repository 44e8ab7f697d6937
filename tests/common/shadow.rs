//! Writes volume shadow copies into a volume, after the documentation of libvshadow: no free program makes them.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test code")]

/// Bytes of a block.
pub const BLOCK: usize = 0x4000;
const IDENTIFIER: [u8; 16] =
    [0x6b, 0x87, 0x08, 0x38, 0x76, 0xc1, 0x48, 0x4e, 0xb7, 0xae, 0x04, 0x04, 0x6e, 0x6c, 0xc7, 0x52];

/// What a store says of one block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    pub original: u64,
    pub relative: u64,
    pub place: u64,
    pub flags: u32,
    pub sectors: u32,
}

/// A shadow copy.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub id: u8,
    /// FILETIME.
    pub made: u64,
    pub descriptors: Vec<Descriptor>,
    pub current: Vec<u8>,
    pub previous: Option<Vec<u8>>,
}

/// A volume with an area for its shadow copies: places of blocks that are free for them.
pub struct Shadows<'a> {
    pub volume: &'a mut Vec<u8>,
    pub area: Vec<u64>,
}

impl Shadows<'_> {
    /// A block of the area.
    pub fn take(&mut self) -> u64 {
        self.area.pop().expect("the area is large enough")
    }

    /// Keeps the bytes of a block; gives where.
    pub fn keep(&mut self, bytes: &[u8]) -> u64 {
        let place = self.take();
        self.put(place, bytes);
        place
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap();
        self.volume[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A chain of blocks of one kind that holds `bytes`; gives the first.
    fn chain(&mut self, kind: u32, bytes: &[u8]) -> u64 {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![bytes] } else { bytes.chunks(BLOCK - 128).collect() };
        let places: Vec<u64> = pieces.iter().map(|_| self.take()).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let next = places.get(number + 1).copied().unwrap_or(0);
            let mut block = [IDENTIFIER.as_slice(), &1u32.to_le_bytes(), &kind.to_le_bytes()].concat();
            for field in [(number * BLOCK) as u64, places[number], next, bytes.len() as u64] {
                block.extend_from_slice(&field.to_le_bytes());
            }
            block.resize(128, 0);
            block.extend_from_slice(piece);
            block.resize(BLOCK, 0);
            self.put(places[number], &block);
        }
        places[0]
    }

    /// Writes the catalog, and the lists and bitmaps of all copies.
    pub fn write(&mut self, copies: &[Copy]) {
        let size = self.volume.len() as u64;
        let mut entries = Vec::new();
        let mut entry = |fields: [u64; 16]| entries.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        for copy in copies {
            let id = u64::from_le_bytes([copy.id; 8]);
            let list = copy.descriptors.iter().flat_map(|d| {
                let tail = u64::from(d.flags) | u64::from(d.sectors) << 32;
                [d.original, d.relative, d.place, tail].map(u64::to_le_bytes).concat()
            });
            let list: Vec<u8> = list.collect();
            let blocks = self.chain(3, &list);
            let machine: Vec<u8> = "LAB".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let mut told = [[0; 16], [copy.id; 16], [1; 16], [0; 16]].concat();
            for _ in 0..2 {
                told.extend_from_slice(&[6, 0]);
                told.extend_from_slice(&machine);
            }
            let header = self.chain(4, &told);
            let ranges = self.chain(5, &[]);
            let current = self.chain(6, &copy.current);
            let previous = copy.previous.as_ref().map_or(0, |bits| self.chain(6, bits));
            entry([2, size, id, id, 1, 0x40, copy.made, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            entry([3, blocks, id, id, header, ranges, current, 0, 0, previous, 0, 0, 0, 0, 0, 0]);
        }
        let catalog = self.chain(2, &entries);
        let mut head = [IDENTIFIER.as_slice(), &1u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
        for field in [0x1e00, 0x1e00, 0, catalog, 0] {
            head.extend_from_slice(&u64::to_le_bytes(field));
        }
        self.put(0x1e00, &head);
    }
}
