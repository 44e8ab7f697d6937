//! The descriptor: lines of text that say what the disk is, of which extents it consists, and what it is based on.

/// The first line of every descriptor.
const TITLE: &str = "# Disk DescriptorFile";
/// The longest descriptor.
const MOST: usize = 1 << 20;
/// More extents than any program writes: each may need a map.
const MOST_PARTS: usize = 2048;
/// The content id of no disk.
const NONE: u32 = u32::MAX;

/// What kind of extent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Flat,
    Sparse,
    Zero,
    NoAccess,
    /// None that is read.
    Other,
}

/// An extent as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) sectors: u64,
    pub(super) form: Form,
    /// The word for its kind.
    pub(super) kind: String,
    pub(super) name: String,
    /// The sector of its file at which it begins.
    pub(super) offset: u64,
}

/// What a descriptor says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// The type that it was made as.
    pub(super) kind: String,
    /// The content id.
    pub(super) id: Option<u32>,
    /// The content id of the disk below.
    pub(super) parent_id: Option<u32>,
    pub(super) parent_name: String,
    pub(super) parts: Vec<Part>,
}

/// True where a file begins as a descriptor does.
pub(super) fn begins(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(TITLE.as_bytes())
}

impl Descriptor {
    /// Reads it; `None` where the bytes are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..bytes.len().min(MOST))?;
        if !begins(bytes) {
            return None;
        }
        let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        let mut descriptor = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            descriptor.take(line);
        }
        Some(descriptor)
    }

    fn take(&mut self, line: &str) {
        if let Some(part) = part(line) {
            if self.parts.len() < MOST_PARTS {
                self.parts.push(part);
            }
            return;
        }
        let Some((key, value)) = line.split_once('=') else { return };
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "createtype" => value.clone_into(&mut self.kind),
            "cid" => self.id = u32::from_str_radix(value, 16).ok(),
            "parentcid" => self.parent_id = u32::from_str_radix(value, 16).ok(),
            "parentfilenamehint" => value.clone_into(&mut self.parent_name),
            _ => {}
        }
    }

    /// True where it is based on another disk.
    pub(super) fn is_child(&self) -> bool {
        self.parent_id.is_some_and(|id| id != NONE)
    }
}

/// `RW 4192256 SPARSE "disk-s001.vmdk" 0`.
fn part(line: &str) -> Option<Part> {
    let (access, rest) = line.split_once(char::is_whitespace)?;
    if !matches!(access, "RW" | "RDONLY" | "NOACCESS") {
        return None;
    }
    let (sectors, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (kind, rest) = rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
    let mut quoted = rest.splitn(3, '"').skip(1);
    let (name, behind) = (quoted.next().unwrap_or_default(), quoted.next().unwrap_or_default());
    let form = match kind {
        _ if access == "NOACCESS" => Form::NoAccess,
        "FLAT" | "VMFS" => Form::Flat,
        "SPARSE" | "VMFSSPARSE" => Form::Sparse,
        "ZERO" => Form::Zero,
        _ => Form::Other,
    };
    Some(Part {
        sectors: sectors.parse().ok()?,
        form,
        kind: kind.to_owned(),
        name: name.to_owned(),
        offset: behind.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extents_and_the_disk_below_are_read() {
        let text = "\n# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID = 12ab34cd\ncreateType=\"custom\"\n\
                    parentFileNameHint=\"C:\\a b.vmdk\"\nRW 63 FLAT \"a - flat.vmdk\" 7\nRDONLY 9 ZERO\nNOACCESS 1 SPARSE \"x\"\n\
                    RW 8 VMFSRDM \"y\"\nddb.x = \"1\"\n";
        let read = Descriptor::read(text.as_bytes()).unwrap_or_default();
        assert_eq!((read.kind.as_str(), read.parent_name.as_str()), ("custom", "C:\\a b.vmdk"));
        assert_eq!((read.id, read.parent_id, read.is_child()), (Some(0xffff_fffe), Some(0x12ab_34cd), true));
        let parts: Vec<_> = read.parts.iter().map(|p| (p.sectors, p.form, p.name.as_str(), p.offset)).collect();
        let expected = [
            (63, Form::Flat, "a - flat.vmdk", 7),
            (9, Form::Zero, "", 0),
            (1, Form::NoAccess, "x", 0),
            (8, Form::Other, "y", 0),
        ];
        assert_eq!(parts, expected);
        assert_eq!(Descriptor::read(b"KDMV"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(RW|CID|=|\"| |[0-9]{1,30}|SPARSE|\n){0,60}") {
            let text = format!("{TITLE}\n{text}");
            prop_assert!(Descriptor::read(text.as_bytes()).is_some());
        }
    }
}
