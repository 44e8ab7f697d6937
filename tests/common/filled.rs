//! Volumes that the kernel's own driver fills with files of every kind, and the comparison with what was written.

use super::truth::sha256;
use evidex::fs::{Entry, EntryKind, FileSystem, claims, entries};
use evidex::image::{View, open};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is known of an entry: kind, size, seconds of its last change, and SHA-256 of its content or its target.
type Known = (EntryKind, u64, i64, String);

/// A volume and what was written to it.
pub struct Filled {
    folder: tempfile::TempDir,
    pub image: PathBuf,
    known: BTreeMap<String, Known>,
}

pub fn done(command: &mut Command) -> bool {
    command.output().is_ok_and(|out| out.status.success())
}

/// Makes a volume of `size` bytes with `mkfs`, mounts it with `options`, fills it and does `more` to it; `None` where that
/// is not possible here.
pub fn volume(size: u64, mkfs: &dyn Fn(&Path) -> bool, options: &str, more: &dyn Fn(&Path)) -> Option<Filled> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (image, at) = (folder.path().join("image"), folder.path().join("at"));
    fs::create_dir(&at).expect("a folder is made");
    File::create(&image).and_then(|file| file.set_len(size)).expect("an image is made");
    let options = format!("loop,nodiscard,{options}");
    if !mkfs(&image) || !done(Command::new("mount").args(["-o", options.trim_end_matches(',')]).arg(&image).arg(&at)) {
        return None;
    }
    fill(&at);
    more(&at);
    // What is known is read back once all is on the disk: inline and packed content settle then.
    assert!(done(Command::new("sync").arg("-f").arg(&at)), "the volume is synced");
    let known = known(&at);
    super::unmount(&at);
    Some(Filled { folder, image, known })
}

/// Bytes that look random and are the same on every run.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    bytes
}

/// Files of every size and kind: in the inode, in one piece, in hundreds, sparse, allocated and never written; large
/// directories, long names, links, devices, attributes.
pub fn fill(at: &Path) {
    let put = |name: &str, bytes: &[u8]| fs::write(at.join(name), bytes).expect("a file is written");
    fs::create_dir_all(at.join("deep/er/and deeper/still")).expect("folders are made");
    for (seed, len) in [0usize, 1, 60, 511, 2000, 4096, 4097, 70_000, 1 << 20].into_iter().enumerate() {
        put(&format!("deep/noise of {len}"), &noise(seed as u64 + 1, len));
        put(
            &format!("deep/er/text of {len}"),
            &b"all work and no play makes a dull file. ".repeat(len / 40 + 1)[..len],
        );
    }
    for folder in ["few", "some", "many"] {
        fs::create_dir(at.join(folder)).expect("a folder is made");
    }
    (0..3u64).for_each(|n| put(&format!("few/{n}"), &noise(n + 50, 100)));
    (0..90u64).for_each(|n| put(&format!("some/file {n:03} with a name"), &noise(n + 100, 37 * n as usize)));
    (0..3000u64).for_each(|n| put(&format!("many/{n:05} {}", "long ".repeat(n as usize % 20)), &n.to_le_bytes()));
    put(&format!("{}.txt", "n".repeat(251)), b"a name as long as names may be");
    put("\u{fc}ml\u{e4}ut \u{8cc7}\u{6599} \u{1f600}", b"a name beyond ASCII");
    fragmented(at);
    sparse(at);
    symlink("deep/er", at.join("short link")).expect("a link is made");
    symlink("deep/".repeat(200), at.join("long link")).expect("a link is made");
    fs::hard_link(at.join("deep/noise of 4097"), at.join("second name")).expect("a link is made");
    for (name, args) in [("pipe", &["p"][..]), ("null", &["c", "1", "3"]), ("disk", &["b", "7", "300"])] {
        assert!(done(Command::new("mknod").arg(at.join(name)).args(args)), "a device is made");
    }
    let attribute = |name: &str, value: &str| {
        done(Command::new("setfattr").args(["-n", name, "-v", value]).arg(at.join("deep/noise of 1")));
    };
    attribute("user.note", "in the inode");
    attribute("user.large", &"x".repeat(3000));
    (0..60).for_each(|n| attribute(&format!("user.number {n}"), "one of many"));
}

/// Two files that grow in turns, and one of which every other block is taken away.
fn fragmented(at: &Path) {
    let open = |name: &str| File::create(at.join(name)).expect("a file is made");
    let (a, b) = (open("braid a"), open("braid b"));
    for turn in 0..60u64 {
        for (seed, mut file) in [(turn, &a), (turn + 1000, &b)] {
            file.write_all(&noise(seed, 8192)).expect("a file is written");
            file.sync_data().expect("a file is synced");
        }
    }
    fs::write(at.join("perforated"), noise(7, 4 << 20)).expect("a file is written");
    for block in (0..1024u64).step_by(2) {
        let args = ["-p", "-o", &(block * 4096).to_string(), "-l", "4096"];
        done(Command::new("fallocate").args(args).arg(at.join("perforated")));
    }
}

fn sparse(at: &Path) {
    let file = File::create(at.join("sparse")).expect("a file is made");
    for place in [0u64, 40_000, 300_000, 70_000_000, 200 << 20] {
        file.write_all_at(&noise(place, 1500), place).expect("a file is written");
    }
    file.set_len(200 << 20).expect("it is cut");
    File::create(at.join("hole")).and_then(|file| file.set_len(1 << 20)).expect("a file is made");
    let reserved = at.join("reserved");
    fs::write(&reserved, noise(9, 10_000)).expect("a file is written");
    done(Command::new("fallocate").args(["-l", "200000"]).arg(&reserved));
    File::options().write(true).open(&reserved).and_then(|f| f.write_all_at(b"there", 150_000)).expect("written");
    done(Command::new("fallocate").args(["-n", "-l", "500000"]).arg(at.join("deep/noise of 2000")));
}

/// What stands below a folder, as its file system shows it.
fn known(at: &Path) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::new();
    for entry in walkdir::WalkDir::new(at).min_depth(1) {
        let entry = entry.expect("it is listed");
        let path = format!("/{}", entry.path().strip_prefix(at).expect("below").to_str().expect("UTF-8"));
        let meta = entry.path().symlink_metadata().expect("it is there");
        let kind = meta.file_type();
        let told = if kind.is_dir() {
            (EntryKind::Directory, 0, meta.mtime(), String::new())
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link is read");
            (EntryKind::Symlink, meta.len(), meta.mtime(), target.to_str().expect("UTF-8").to_owned())
        } else if kind.is_file() {
            (EntryKind::File, meta.len(), meta.mtime(), hash(entry.path()))
        } else {
            let device = kind.is_block_device() || kind.is_char_device();
            let (major, minor) = (meta.rdev() >> 8 & 0xfff, meta.rdev() & 0xff | meta.rdev() >> 12 & 0xfff00);
            let told = if device { format!("device {major}:{minor}") } else { String::new() };
            (EntryKind::Special, 0, meta.mtime(), told)
        };
        known.insert(path, told);
    }
    known
}

/// The SHA-256 of a file, read as it is mounted.
fn hash(path: &Path) -> String {
    let mut sum = Sha256::new();
    std::io::copy(&mut File::open(path).expect("it opens"), &mut Writer(&mut sum)).expect("it is read");
    sum.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

struct Writer<'s>(&'s mut Sha256);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Opens a volume with the surest file system.
pub fn read<T>(image: &Path, with: impl FnOnce(&dyn FileSystem, View<'_>) -> T) -> T {
    let image = open(image).expect("the image opens");
    let view = View::whole(image.as_ref());
    let (row, _) = claims(view).into_iter().next().expect("a file system claims it");
    let fs = (row.open)(view).expect("it opens");
    with(fs.as_ref(), view)
}

/// Compares all live entries with what stands below a folder that was copied to the volume; times are not compared.
#[track_caller]
pub fn same_as(image: &Path, name: &str, folder: &Path) -> usize {
    compare(image, name, known(folder), false)
}

/// Compares all live entries with what was written: path, kind, size, time, target, content; none may have a fault. Gives
/// how many there are.
#[track_caller]
fn compare(image: &Path, name: &str, mut left: BTreeMap<String, Known>, timed: bool) -> usize {
    read(image, |fs, view| {
        assert_eq!(fs.facts().name, name);
        let (listed, faults) = entries(fs);
        assert!(faults.is_empty(), "{faults:?}");
        let live: Vec<Entry> = listed.into_iter().filter(|entry| entry.allocated).collect();
        for entry in &live {
            assert!(entry.faults.is_empty(), "{}: {:?}", entry.path, entry.faults);
            let mut known = left.remove(&entry.path).unwrap_or_else(|| panic!("{} was never written", entry.path));
            let told = told(view, entry);
            // The place of a subvolume in a snapshot has no time: the kernel makes one up.
            let timeless = entry.kind == EntryKind::Directory && entry.times.mtime.is_none();
            if !timed || timeless {
                known.2 = told.2;
            }
            assert_eq!(told, known, "{}", entry.path);
        }
        assert!(left.is_empty(), "not listed: {:?}", left.keys());
        live.len()
    })
}

impl Filled {
    /// Opens the volume with the surest file system.
    pub fn read<T>(&self, with: impl FnOnce(&dyn FileSystem, View<'_>) -> T) -> T {
        assert!(self.folder.path().exists(), "the volume is still there");
        read(&self.image, with)
    }

    /// Compares all live entries with what was written.
    #[track_caller]
    pub fn compare(&self, name: &str) -> usize {
        compare(&self.image, name, self.known.clone(), true)
    }

    /// Bytes of free space.
    pub fn free(&self) -> u64 {
        self.read(|fs, _| fs.unallocated().map(|extent| extent.expect("it is read").len).sum())
    }

    /// Attributes that an entry is listed with.
    pub fn attributes(&self, path: &str) -> Vec<(String, String)> {
        let of = |entries: Vec<Entry>| entries.into_iter().find(|entry| entry.path == path).expect("it is listed");
        self.read(|fs, _| of(entries(fs).0).attributes)
    }
}

fn told(view: View<'_>, entry: &Entry) -> Known {
    let content = match entry.kind {
        EntryKind::Directory => String::new(),
        EntryKind::Symlink => entry.target.clone().unwrap_or_default(),
        EntryKind::Special => entry.note.clone().unwrap_or_default(),
        _ => sha256(view, entry).unwrap_or_else(|| "its content cannot be read".to_owned()),
    };
    (entry.kind, entry.stream.size, entry.times.mtime.map_or(0, |time| time.seconds), content)
}
