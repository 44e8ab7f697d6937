//! What the set says of the disk that it holds: the volume section of the first format, device information and case data
//! of the second.

use crate::bytes::Fields;
use crate::image::about::About;

/// The disk, as it is described.
#[derive(Default)]
pub(super) struct Media {
    /// What the set says of itself.
    pub(super) about: About,
    sector: u64,
    sectors: u64,
    per_chunk: u64,
    chunks: u64,
    /// The set's identifier.
    id: Option<[u8; 16]>,
    /// True where the description's checksum held.
    sure: bool,
}

impl Media {
    /// Bytes of the disk.
    pub(super) fn size(&self) -> Option<u64> {
        self.sectors.checked_mul(self.sector)
    }

    /// Bytes of a sector.
    pub(super) const fn sector(&self) -> u64 {
        self.sector
    }

    /// Bytes of a chunk.
    pub(super) const fn chunk(&self) -> u64 {
        self.per_chunk.saturating_mul(self.sector)
    }

    /// Takes a volume, disk or data section of the first format, whose checksum holds or not. The first that is sure
    /// counts; the others have to agree.
    pub(super) fn volume(&mut self, data: &[u8], holds: bool, place: &str) {
        // SMART's is 94 bytes long and counts sectors in 32 bits; EnCase's is 1,052 bytes long and has an identifier.
        let sectors = if data.len() < 1052 { data.le32(16).map(u64::from) } else { data.le64(16) };
        let fields = [data.le32(4), data.le32(8), data.le32(12)].map(|f| u64::from(f.unwrap_or(0)));
        let [chunks, per_chunk, sector] = fields;
        let (sectors, id) = (sectors.unwrap_or(0), if data.len() < 1052 { None } else { data.array::<16>(64) });
        if !holds {
            self.about.fault(format!("{place}: the checksum of the description of the disk does not hold"));
        }
        if self.sure {
            let same = (self.sectors, self.per_chunk, self.sector) == (sectors, per_chunk, sector) && self.id == id;
            if holds && !same {
                self.about
                    .fault(format!("{place}: describes another disk than the first segment: it is of another set"));
            }
            return;
        }
        if self.sectors != 0 && !holds {
            return;
        }
        (self.sectors, self.per_chunk, self.sector, self.chunks) = (sectors, per_chunk, sector, chunks);
        (self.id, self.sure) = (id, holds);
        if holds {
            self.describe(data);
        }
    }

    fn describe(&mut self, data: &[u8]) {
        let kind = match data.byte(0) {
            Some(0) => "removable",
            Some(1) => "fixed",
            Some(3) => "optical",
            Some(0x0e) => "logical evidence",
            Some(0x10) => "memory",
            _ => "",
        };
        self.about.fact("media", kind);
        self.dimensions();
        self.identify();
    }

    fn dimensions(&mut self) {
        let (sectors, sector, per_chunk) = (self.sectors, self.sector, self.per_chunk);
        self.about.fact("sectors", format!("{sectors} of {sector} bytes, {per_chunk} in a chunk"));
    }

    fn identify(&mut self) {
        let Some(id) = self.id.filter(|id| id.iter().any(|b| *b != 0)) else { return };
        self.about.fact("set", crate::bytes::guid(id));
    }

    /// Takes device information or case data of the second format: tags and their values.
    pub(super) fn described(&mut self, values: &[(String, String)]) {
        let number = |tag: &str| values.iter().find(|(t, _)| t == tag).and_then(|(_, v)| v.parse::<u64>().ok());
        for (tag, field) in
            [("ts", &mut self.sectors), ("bp", &mut self.sector), ("sb", &mut self.per_chunk), ("tb", &mut self.chunks)]
        {
            if let Some(value) = number(tag)
                && *field == 0
            {
                *field = value;
            }
        }
        let complete = self.sectors != 0 && self.per_chunk != 0;
        if complete && !self.sure {
            self.sure = true;
            self.dimensions();
        }
    }

    /// Takes the identifier in a segment's header of the second format.
    pub(super) fn set_id(&mut self, id: Option<[u8; 16]>, place: &str) {
        match self.id {
            None => {
                self.id = id;
                self.identify();
            }
            Some(_) if self.id != id => self.about.fault(format!("{place}: is of another set than the first segment")),
            Some(_) => {}
        }
    }

    /// Takes a range of sectors that the acquisition could not read.
    pub(super) fn error(&mut self, first: u64, count: u64) {
        let at = first.saturating_mul(self.sector);
        let what =
            format!("{count} sectors from sector {first} (byte {at}) could not be read when the disk was acquired");
        self.about.remark(format!("{what}; the container fills them"));
    }
}
