//! The demonstration disk against The Sleuth Kit: every live file that `fls` names is listed with the SHA-256 that
//! `icat` gives, and nothing is called live that `fls` does not name. Needs `fls` and `icat`; `tests/run` installs them.

use evidex::content::Content;
use evidex::fs::{self, EntryKind};
use evidex::hash::{Algorithm, Hasher};
use evidex::image::{self, View};
use evidex::volume::{self, VolumeKind};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn tool(name: &str, args: &[&str]) -> Outcome<Vec<u8>> {
    let output = Command::new(name).args(args).output().map_err(|e| format!("{name}: {e}: run tests/run once"))?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{name} {args:?} failed").into()) }
}

fn sha256(bytes: &[u8]) -> Option<String> {
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    hasher.update(bytes);
    hasher.finish().sha256
}

/// Path and hash of every live file and stream, as The Sleuth Kit has them.
fn sleuthkit(disk: &str, sector: u64) -> Outcome<BTreeMap<String, Option<String>>> {
    let sector = sector.to_string();
    let listing = String::from_utf8(tool("fls", &["-r", "-p", "-F", "-u", "-o", &sector, disk])?)?;
    let mut files = BTreeMap::new();
    for line in listing.lines() {
        let (head, path) = line.split_once(":\t").ok_or("fls prints `type inode:\tpath`")?;
        let (kind, inode) = head.split_once(' ').ok_or("fls prints a type and an inode")?;
        // `v` stands for what The Sleuth Kit makes up; its own view of the boot sector and the bitmaps.
        let file = kind.starts_with('r') || kind.starts_with("-/r");
        if file && !by_design(&format!("/{path}")) {
            let bytes = tool("icat", &["-o", &sector, disk, inode])?;
            files.insert(format!("/{path}"), sha256(&bytes));
        }
    }
    Ok(files)
}

/// What the two see differently by design: The Sleuth Kit lists the indexes of NTFS's own files (`$Secure:$SII`) as if
/// they were streams, and FAT's volume label as a file.
fn by_design(path: &str) -> bool {
    let internal = ["/$Extend/", "/$Secure"].iter().any(|p| path.starts_with(p));
    internal || path.ends_with(" (Volume Label Entry)")
}

#[test]
fn live_files_are_those_of_the_sleuth_kit() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.dd");
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/demo/disk.dd.zst");
    std::fs::write(&disk, zstd::decode_all(std::fs::File::open(packed)?)?)?;
    let image = image::open(&disk)?;
    let view = View::whole(image.as_ref());
    let mut checked = 0;
    for volume in volume::divide(view).volumes.iter().filter(|v| v.kind == VolumeKind::Partition) {
        let part = view.sub(volume.extent);
        let claims = fs::claims(part);
        let (row, _) = claims.first().ok_or("a volume without a file system")?;
        let file_system = (row.open)(part).map_err(|f| f.to_string())?;
        let mut ours = BTreeMap::new();
        for entry in file_system.entries().flatten() {
            let entry = entry.map_err(|f| f.to_string())?;
            if entry.allocated && !by_design(&entry.path) && matches!(entry.kind, EntryKind::File | EntryKind::Stream) {
                let content = Content::new(part, &entry.stream);
                let bytes = content.contiguous(1 << 30).ok_or("a file of more than a gigabyte")?;
                ours.insert(entry.path.clone(), sha256(&bytes));
            }
        }
        let theirs = sleuthkit(disk.to_str().ok_or("a path that is no text")?, volume.extent.start / 512)?;
        assert!(!theirs.is_empty());
        checked += theirs.len();
        assert_eq!(ours, theirs, "{} ({})", row.name, volume.name);
    }
    assert!(checked >= 20, "only {checked} files were compared");
    Ok(())
}
