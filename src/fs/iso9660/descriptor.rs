//! Volume descriptors of ISO 9660 (ECMA-119, section 8): which trees a session has, and where they begin.

use super::record::Record;
use crate::bytes::{Fields, latin1, utf16_be};
use crate::extent::Extent;
use crate::image::View;

/// Bytes of a sector, a descriptor's size.
pub(super) const SECTOR: u64 = 2048;
/// Descriptors that one session may have.
const MAX_DESCRIPTORS: u64 = 256;
/// How far behind the end of a session the next one is looked for: the lead-out and lead-in of a disc lie between them.
const MAX_GAP: u64 = 64 << 20;

/// In which characters a tree's names are, and who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// The primary tree.
    Primary,
    /// A supplementary tree in UCS-2, big-endian.
    Joliet,
    /// A supplementary tree in other characters.
    Supplementary,
    /// An enhanced tree: long names, without their versions.
    Enhanced,
}

impl Names {
    /// What the tree is called.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Joliet => "Joliet",
            Self::Supplementary => "supplementary",
            Self::Enhanced => "enhanced",
        }
    }
}

/// A descriptor that has a tree.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// Byte of the volume at which it stands.
    pub(super) at: u64,
    pub(super) names: Names,
    pub(super) label: String,
    /// Bytes of a logical block, in which places are counted.
    pub(super) block: u64,
    /// Bytes of the whole session, counted from the start of the disc or of the session.
    pub(super) size: u64,
    /// The record of the root directory.
    pub(super) root: Vec<u8>,
    /// The path table, with numbers in little-endian order.
    pub(super) table: Extent,
    /// When the volume was created, digits as they stand there.
    pub(super) created: String,
    /// Fields whose two copies differ.
    pub(super) differing: Vec<&'static str>,
}

impl Volume {
    fn parse(raw: &[u8], at: u64) -> Option<Self> {
        let names = match (raw.byte(0)?, raw.byte(6)?) {
            (1, _) => Names::Primary,
            (2, 2) => Names::Enhanced,
            (2, _) if is_joliet(raw.span(88, 32)?) => Names::Joliet,
            (2, _) => Names::Supplementary,
            _ => return None,
        };
        let block = u64::from(raw.le16(128)?);
        let root = raw.span(156, 34)?.to_vec();
        let sound = block.is_power_of_two() && (512..=SECTOR).contains(&block) && root.byte(0)? >= 34;
        sound.then_some(())?;
        let label = raw.span(40, 32)?;
        let both32 = |field: usize| Some((raw.le32(field)?, raw.be32(field.checked_add(4)?)?));
        let both16 = |field: usize| Some((raw.le16(field)?, raw.be16(field.checked_add(2)?)?));
        let mut differing = Vec::new();
        for (name, field) in [("volume space size", 80), ("path table size", 132)] {
            let (little, big) = both32(field)?;
            differing.extend((little != big).then_some(name));
        }
        for (name, field) in [("volume set size", 120), ("volume sequence number", 124), ("block size", 128)] {
            let (little, big) = both16(field)?;
            differing.extend((little != big).then_some(name));
        }
        let table = Extent::new(u64::from(raw.le32(140)?).saturating_mul(block), u64::from(raw.le32(132)?));
        Some(Self {
            at,
            names,
            label: if names == Names::Joliet { trimmed(&utf16_be(label)) } else { latin1(label) },
            block,
            size: u64::from(raw.le32(80)?).saturating_mul(block),
            root,
            table,
            created: latin1(raw.span(813, 16)?),
            differing,
        })
    }
}

fn is_joliet(escapes: &[u8]) -> bool {
    [b"%/@", b"%/C", b"%/E"].iter().any(|level| escapes.starts_with(*level))
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches(['\0', ' ']).to_owned()
}

/// The descriptors of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Where the descriptors lie.
    pub(super) extent: Extent,
    pub(super) volumes: Vec<Volume>,
    /// Byte at which the catalogue of boot images stands.
    pub(super) boot: Option<u64>,
    /// They end without a terminator.
    pub(super) is_open: bool,
}

impl Session {
    /// The session whose descriptors begin at byte `at`; none where no primary one is among them.
    pub(super) fn read(view: View<'_>, at: u64) -> Option<Self> {
        let mut session = Self { extent: Extent::new(at, 0), is_open: true, ..Self::default() };
        for number in 0..MAX_DESCRIPTORS {
            let here = at.saturating_add(number.saturating_mul(SECTOR));
            let raw = view.read_up_to(here, SECTOR);
            if raw.span(1, 5) != Some(b"CD001") {
                break;
            }
            session.extent = Extent::between(at, here.saturating_add(SECTOR));
            match raw.byte(0)? {
                0 if raw.span(7, 23) == Some(b"EL TORITO SPECIFICATION") => {
                    session.boot = Some(u64::from(raw.le32(71)?).saturating_mul(SECTOR));
                }
                255 => {
                    session.is_open = false;
                    break;
                }
                _ => session.volumes.extend(Volume::parse(&raw, here)),
            }
        }
        session.primary()?;
        Some(session)
    }

    pub(super) fn primary(&self) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.names == Names::Primary)
    }

    /// The sessions of a disc, in the order of their writing.
    pub(super) fn all(view: View<'_>) -> Vec<Self> {
        let mut all: Vec<Self> = Self::read(view, 16 * SECTOR).into_iter().collect();
        while let Some(primary) = all.last().and_then(Self::primary) {
            // A later session counts its size from its own start or from that of the disc.
            let start = primary.at.saturating_sub(16 * SECTOR);
            let end = if primary.size > start { primary.size } else { start.saturating_add(primary.size) };
            let Some(next) = Self::next(view, end.max(primary.at.saturating_add(SECTOR))) else { break };
            all.push(next);
        }
        all
    }

    /// Older sessions whose descriptors stand in `free`: a disc that can be rewritten has the newest ones in their first place,
    /// and copies of the others where each session began.
    pub(super) fn replaced(view: View<'_>, free: &[Extent]) -> Vec<Self> {
        let (mut all, mut left) = (Vec::new(), MAX_GAP);
        for extent in free {
            let start = extent.start.next_multiple_of(SECTOR);
            let end = extent.end().min(start.saturating_add(left));
            left = left.saturating_sub(end.saturating_sub(start));
            let places = (start..end).step_by(2048).filter(|at| view.read_up_to(*at, 6).as_ref() == b"\x01CD001");
            all.extend(places.filter_map(|at| Self::read(view, at)).filter(|session| session.is_at_home(view)));
        }
        all
    }

    /// Whether its root directory is where it says: not so in what is left of another volume.
    fn is_at_home(&self, view: View<'_>) -> bool {
        let Some((volume, root)) = self.primary().and_then(|v| Some((v, Record::parse(&v.root)?))) else {
            return false;
        };
        let own = view.read_up_to(root.extent(volume.block).start, 34);
        Record::parse(&own).is_some_and(|own| own.name == [0] && own.block == root.block)
    }

    fn next(view: View<'_>, behind: u64) -> Option<Self> {
        let first = behind.next_multiple_of(SECTOR);
        let last = first.saturating_add(MAX_GAP).min(view.size());
        let mut places = (first..last).step_by(2048);
        places.find_map(|at| if view.read_up_to(at, 6).as_ref() == b"\x01CD001" { Self::read(view, at) } else { None })
    }
}
