//! What stands behind the name of a record: fields of the System Use Sharing Protocol (IEEE P1281) and the Rock Ridge
//! Interchange Protocol (IEEE P1282), and the mark of zisofs.

use super::record::{long_time, short_time};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fs::{Access, Times, posix};
use crate::fuel::Fuel;
use crate::image::View;

/// Continuation areas of one record.
const MAX_AREAS: usize = 64;
/// The longest name and target.
const MAX_TEXT: usize = 4096;

/// What the fields of one record tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    pub(super) name: Option<String>,
    pub(super) access: Option<Access>,
    pub(super) device: Option<(u32, u32)>,
    pub(super) target: Option<String>,
    pub(super) times: Times,
    /// First block of the directory that stands elsewhere, whose place this is.
    pub(super) child: Option<u32>,
    /// The record is only the place at which a moved directory stands.
    pub(super) is_moved: bool,
    /// Size of the unpacked content, where zisofs packed it.
    pub(super) packed: Option<u32>,
    /// The file is stored with its holes left out.
    pub(super) sparse: bool,
    /// Continuation areas.
    pub(super) areas: Vec<Extent>,
    pub(super) wrong: Option<String>,
}

/// How many bytes stand before the fields of each record; none where the root's own record has no fields.
pub(super) fn skip_of(root: &[u8]) -> Option<usize> {
    let begins =
        |at: &usize| root.span(*at, 2) == Some(b"SP") && root.span(at.saturating_add(4), 2) == Some(b"\xbe\xef");
    if let Some(at) = [0, 14].iter().find(|at| begins(at)) {
        return Some(usize::from(root.byte(at.saturating_add(6))?));
    }
    // A writer that forgot it: the fields that only Rock Ridge has.
    matches!(root.span(0, 2)?, b"RR" | b"PX").then_some(0)
}

impl Extra {
    /// Reads the fields in `system`, and those that they say stand elsewhere.
    pub(super) fn read(view: View<'_>, block: u64, system: &[u8], fuel: &mut Fuel) -> Self {
        let (mut extra, mut parts) = (Self::default(), Parts::default());
        let mut next = extra.fields(system, &mut parts);
        while let Some((first, from, len)) = next {
            let start = u64::from(first).saturating_mul(block).saturating_add(u64::from(from));
            let area = Extent::new(start, u64::from(len));
            if extra.areas.len() >= MAX_AREAS || extra.areas.contains(&area) || fuel.burn(area.len).is_err() {
                extra.wrong = Some("its fields continue without an end".to_owned());
                break;
            }
            let Ok(bytes) = view.read(area.start, area.len) else {
                extra.wrong = Some(format!("its fields continue at block {first}, behind the end of the volume"));
                break;
            };
            extra.areas.push(area);
            next = extra.fields(&bytes, &mut parts);
        }
        extra.name = (!parts.name.is_empty()).then(|| posix::name(&parts.name));
        extra.target = parts.has_target.then(|| String::from_utf8_lossy(&parts.target).into_owned());
        extra
    }

    /// Takes the fields of one area; gives where they continue.
    fn fields(&mut self, area: &[u8], parts: &mut Parts) -> Option<(u32, u32, u32)> {
        let (mut at, mut next) = (0usize, None);
        while let Some(len) = area.byte(at.saturating_add(2)).map(usize::from).filter(|len| *len >= 4) {
            let Some(field) = area.span(at, len) else {
                self.wrong = Some("one of its fields ends behind its area".to_owned());
                break;
            };
            match field.span(0, 2) {
                Some(b"CE") => next = field.le32(4).zip(field.le32(12)).zip(field.le32(20)),
                Some(b"ST") => break,
                _ => {
                    let _ = self.field(field, parts);
                }
            }
            at = at.saturating_add(len);
        }
        next.map(|((block, from), len)| (block, from, len))
    }

    fn field(&mut self, field: &[u8], parts: &mut Parts) -> Option<()> {
        match field.array::<2>(0)? {
            [b'N', b'M'] if field.byte(4)? & 6 == 0 && parts.name.len() < MAX_TEXT => {
                parts.name.extend_from_slice(field.get(5..)?);
            }
            [b'P', b'X'] => {
                self.access = Some(Access { mode: field.le32(4)?, uid: field.le32(20)?, gid: field.le32(28)? });
            }
            [b'P', b'N'] => self.device = Some((field.le32(4)?, field.le32(12)?)),
            [b'S', b'L'] => parts.link(field.get(5..)?),
            [b'T', b'F'] => self.time(field.byte(4)?, field.get(5..)?),
            [b'C', b'L'] => self.child = Some(field.le32(4)?),
            [b'R', b'E'] => self.is_moved = true,
            [b'S', b'F'] => self.sparse = true,
            [b'Z', b'F'] if field.span(4, 2)? == b"pz" => self.packed = Some(field.le32(8)?),
            _ => {}
        }
        Some(())
    }

    fn time(&mut self, flags: u8, raw: &[u8]) {
        let is_long = flags & 0x80 != 0;
        let read = if is_long { long_time } else { short_time };
        let mut stamps = raw.chunks(if is_long { 17 } else { 7 });
        for bit in 0..7u8 {
            if flags >> bit & 1 == 0 {
                continue;
            }
            let time = stamps.next().and_then(read);
            match bit {
                0 => self.times.btime = time,
                1 => self.times.mtime = time,
                2 => self.times.atime = time,
                3 => self.times.ctime = time,
                _ => {}
            }
        }
    }
}

/// Text that several fields make together.
#[derive(Default)]
struct Parts {
    name: Vec<u8>,
    target: Vec<u8>,
    has_target: bool,
    /// The last component goes on in the next.
    goes_on: bool,
}

impl Parts {
    fn link(&mut self, mut rest: &[u8]) {
        self.has_target = true;
        while let Some((flags, len)) = rest.byte(0).zip(rest.byte(1))
            && self.target.len() < MAX_TEXT
        {
            let Some(text) = rest.span(2, usize::from(len)) else { break };
            if !self.goes_on && !self.target.is_empty() && !self.target.ends_with(b"/") {
                self.target.push(b'/');
            }
            match flags & 0x0e {
                2 => self.target.push(b'.'),
                4 => self.target.extend_from_slice(b".."),
                8 => self.target.push(b'/'),
                _ => self.target.extend_from_slice(text),
            }
            self.goes_on = flags & 1 != 0;
            rest = rest.get(index(u64::from(len)).saturating_add(2)..).unwrap_or_default();
        }
    }
}
