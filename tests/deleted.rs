//! Deleted files in the layouts of NIST's tests of deleted-file recovery (one, many, large, fragmented, braided, nested,
//! overwritten once and twice, thousands, deep directories, names beyond ASCII, names used again), on volumes that the
//! kernel's or the format's own driver wrote and deleted from. Where no such volume can be mounted a test says so and
//! passes. The truth is what was written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/fat.rs"]
mod fat;

use common::truth::{Row, sleuthkit};
use evidex::content::Content;
use evidex::fs::{Certainty, Entry, EntryKind, Recovered, claims, entries};
use evidex::image::{View, open};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use fat::{Allocator, FatVolume};

/// What is written and deleted, one step after the other.
#[derive(Clone, Debug)]
enum Step {
    Folder(String),
    /// So many bytes behind what the file holds; made where it is not there.
    Append(String, usize),
    Rename(String, String),
    Delete(String),
    DeleteFolder(String),
    /// The volume is unmounted and mounted again.
    Remount,
}

/// A layout: its steps, and which of its deleted files nothing was written over.
struct Layout {
    name: &'static str,
    steps: Vec<Step>,
    whole: Vec<String>,
}

fn append(path: &str, len: usize) -> Step {
    Step::Append(path.to_owned(), len)
}

fn delete(path: &str) -> Step {
    Step::Delete(path.to_owned())
}

/// Writes and, after a new mount, deletes `files`.
fn plain(name: &'static str, folders: &[String], files: &[(String, usize)]) -> Layout {
    let mut steps: Vec<Step> = folders.iter().map(|f| Step::Folder(f.clone())).collect();
    steps.extend(files.iter().map(|(path, len)| append(path, *len)));
    steps.push(Step::Remount);
    steps.extend(files.iter().map(|(path, _)| delete(path)));
    Layout { name, steps, whole: files.iter().map(|(path, _)| path.clone()).collect() }
}

fn layouts() -> Vec<Layout> {
    let many: Vec<_> = (0..200).map(|i| (format!("/many/file {i:03}.bin"), 100 + i * 97)).collect();
    let thousands: Vec<_> =
        (0..2500).map(|i| (format!("/thousands/{i:05}-a-name-of-some-length.dat"), 1 + i % 700)).collect();
    let mut deep_folders: Vec<String> = vec!["/deep".to_owned()];
    for level in 1..40 {
        deep_folders.push(format!("{}/{level}", deep_folders[level - 1]));
    }
    let deep_file = format!("{}/bottom.bin", deep_folders[39]);
    let names = ["Überweisung €5.txt", "资料 机密.txt", "секрет.doc", "😀 hidden.txt", "naïve-ﬁle.bin"];
    let names: Vec<_> = names.iter().map(|n| (format!("/names/{n}"), 3000)).collect();

    let mut deep = plain("deep directories", &deep_folders, &[(deep_file, 5000)]);
    deep.steps.extend(deep_folders.iter().rev().map(|f| Step::DeleteFolder(f.clone())));

    let turns = |names: &[&str], rounds: usize, len: usize| -> Vec<Step> {
        (0..rounds).flat_map(|_| names.iter().map(|n| append(n, len)).collect::<Vec<_>>()).collect()
    };
    let mut braided = turns(&["/braid a.bin", "/braid b.bin"], 8, 8192);
    braided.extend([Step::Remount, delete("/braid a.bin"), delete("/braid b.bin")]);
    let mut fragmented = turns(&["/frag.bin", "/between.bin"], 5, 20_000);
    fragmented.extend([Step::Remount, delete("/frag.bin")]);
    let nested = vec![
        append("/outer.bin", 30_000),
        append("/inner.bin", 20_000),
        append("/outer.bin", 30_000),
        Step::Remount,
        delete("/outer.bin"),
        delete("/inner.bin"),
    ];
    let again = vec![
        append("/note.txt", 4000),
        Step::Remount,
        delete("/note.txt"),
        append("/filler.bin", 100),
        append("/note.txt", 5000),
        Step::Remount,
        delete("/note.txt"),
    ];
    let renamed = vec![
        append("/draft.tmp", 7000),
        Step::Remount,
        Step::Rename("/draft.tmp".to_owned(), "/final.doc".to_owned()),
        Step::Remount,
        delete("/final.doc"),
    ];
    let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<String>>();
    vec![
        plain("one", &[], &[("/one.bin".to_owned(), 10_000)]),
        plain("many", &["/many".to_owned()], &many),
        plain("large", &[], &[("/large.bin".to_owned(), 6 << 20)]),
        Layout { name: "fragmented", steps: fragmented, whole: all(&["/frag.bin"]) },
        Layout { name: "braided", steps: braided, whole: all(&["/braid a.bin", "/braid b.bin"]) },
        Layout { name: "nested", steps: nested, whole: all(&["/outer.bin", "/inner.bin"]) },
        deep,
        plain("names beyond ASCII", &["/names".to_owned()], &names),
        Layout { name: "a name used again", steps: again, whole: all(&["/note.txt"]) },
        Layout { name: "renamed", steps: renamed, whole: all(&["/final.doc"]) },
        plain("thousands", &["/thousands".to_owned()], &thousands),
    ]
}

/// Layouts in which later files are written over earlier ones; nothing is promised of these but the truth.
fn overwriting() -> Vec<Step> {
    let round = |n: usize, len: usize| -> Vec<Step> {
        let names: Vec<String> = (0..40).map(|i| format!("/over {n}-{i}.bin")).collect();
        let mut steps: Vec<Step> = names.iter().map(|name| append(name, len)).collect();
        steps.push(Step::Remount);
        steps.extend(names.iter().map(|name| delete(name)));
        steps.push(Step::Remount);
        steps
    };
    [round(1, 90_000), round(2, 60_000), round(3, 130_000)].concat()
}

/// What each path held when it was deleted, every time.
type Deleted = HashMap<String, Vec<Vec<u8>>>;

/// Bytes that look random and are the same on every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        bytes
    }
}

const SEED: Noise = Noise(0x1234_5678_9abc_def1);

fn done(command: &mut Command) -> bool {
    command.output().is_ok_and(|out| out.status.success())
}

/// A volume that a driver of the system writes.
struct Mounted {
    image: PathBuf,
    folder: PathBuf,
    mount: fn(&Path, &Path) -> bool,
    deleted: Deleted,
    noise: Noise,
}

impl Mounted {
    fn take(&mut self, step: &Step) {
        let at = |path: &str| self.folder.join(path.trim_start_matches('/'));
        match step {
            Step::Folder(path) => fs::create_dir(at(path)).expect("a folder is made"),
            Step::Append(path, len) => {
                let mut file = fs::File::options().create(true).append(true).open(at(path)).expect("a file is opened");
                file.write_all(&self.noise.bytes(*len)).expect("a file is written");
                // What grows in turns has to reach the disk in turns; thousands of small files would fill the journal.
                if *len >= 8192 {
                    file.sync_all().expect("a file is synced");
                }
            }
            Step::Rename(from, to) => fs::rename(at(from), at(to)).expect("a file is renamed"),
            Step::Delete(path) => {
                let bytes = fs::read(at(path)).expect("a file is read");
                fs::remove_file(at(path)).expect("a file is deleted");
                self.deleted.entry(path.clone()).or_default().push(bytes);
            }
            Step::DeleteFolder(path) => fs::remove_dir(at(path)).expect("a folder is deleted"),
            Step::Remount => {
                self.unmount();
                assert!((self.mount)(&self.image, &self.folder), "the volume mounts again");
            }
        }
    }

    fn unmount(&self) {
        common::unmount(&self.folder);
    }
}

/// Does all steps on a FAT volume.
fn on_fat(volume: &mut FatVolume, steps: &[Step]) -> Deleted {
    let (mut deleted, mut noise) = (Deleted::new(), SEED);
    for step in steps {
        match step {
            Step::Folder(path) => volume.folder(path),
            Step::Append(path, len) => volume.append(path, &noise.bytes(*len)),
            Step::Rename(from, to) => volume.rename(from, to),
            Step::Delete(path) => {
                deleted.entry(path.clone()).or_default().push(volume.read(path));
                volume.delete(path);
            }
            Step::DeleteFolder(path) => volume.delete_folder(path),
            Step::Remount => {}
        }
    }
    deleted
}

/// How well one layout came back.
#[derive(Default)]
struct Score {
    files: usize,
    named: usize,
    whole: usize,
    intact: usize,
}

/// How many of the files The Sleuth Kit gives back whole; it is asked of few, since each is a call of its own.
fn theirs(image: &Path, deleted: &Deleted, whole: &[String]) -> String {
    if whole.len() > 300 {
        return "-".to_owned();
    }
    let rows = sleuthkit(image, 0);
    let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let gives = |path: &&String| {
        let wanted = hash(deleted[*path].last().expect("it was deleted"));
        rows.iter().any(|row: &Row| row.deleted && row.hashes.contains(&wanted))
    };
    whole.iter().filter(gives).count().to_string()
}

/// Lists the image and compares with what was deleted. A content that is called intact has to be one that was there.
fn compare(image: &Path, deleted: &Deleted, whole: &[String]) -> Score {
    let image = open(image).expect("the image opens");
    let view = View::whole(image.as_ref());
    let (row, _) = claims(view).into_iter().next().expect("a file system claims it");
    let fs = (row.open)(view).expect("it opens");
    let (listed, _) = entries(fs.as_ref());
    let truths: HashSet<&[u8]> = deleted.values().flatten().map(Vec::as_slice).collect();
    let read = |entry: &Entry| Content::new(view, &entry.stream).prefix(entry.stream.size).into_owned();
    let mut score = Score { files: whole.len(), ..Score::default() };
    for entry in listed.iter().filter(|e| !e.allocated && e.kind == EntryKind::File && e.stream.size > 0) {
        if entry.recovered == Some(Recovered::Intact) {
            let bytes = read(entry);
            assert!(truths.contains(bytes.as_slice()), "{} is called intact and is not: {:?}", entry.path, entry.note);
        }
    }
    for path in whole {
        let orphan = format!("/$OrphanFiles/{}", path.rsplit('/').next().unwrap());
        let same = |e: &&Entry| !e.allocated && (e.path == *path || e.path == orphan);
        let named: Vec<&Entry> = listed.iter().filter(same).collect();
        let last = deleted[path].last().expect("it was deleted");
        let holds = |e: &&&Entry| e.stream.size == last.len() as u64 && read(e) == *last;
        let found = named.iter().find(holds);
        score.named += usize::from(named.iter().any(|e| e.path == *path));
        score.whole += usize::from(found.is_some());
        let sure = |e: &Entry| {
            e.recovered == Some(Recovered::Intact) && e.certainty.iter().all(|(_, c)| *c != Certainty::Guessed)
        };
        score.intact += usize::from(found.is_some_and(|e| sure(e)));
    }
    score
}

/// Does all steps on a new volume; gives the folder and the name of its image, and what was deleted. `None` where it
/// cannot be made or mounted here.
fn written(kind: &Kind, steps: &[Step]) -> Option<(tempfile::TempDir, PathBuf, Deleted)> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (image, folder) = (dir.path().join("image"), dir.path().join("mnt"));
    match kind.driver {
        Driver::Own { cluster, wide, allocator } => {
            let mut volume = FatVolume::new(SIZE, cluster, wide, allocator);
            let deleted = on_fat(&mut volume, steps);
            volume.save(&image);
            Some((dir, image, deleted))
        }
        Driver::System { make, mount } => {
            fs::create_dir(&folder).expect("a folder is made");
            fs::File::create(&image).and_then(|f| f.set_len(SIZE as u64)).expect("an image is made");
            if !make(&image) || !mount(&image, &folder) {
                return None;
            }
            let mut volume = Mounted { image: image.clone(), folder, mount, deleted: Deleted::new(), noise: SEED };
            steps.iter().for_each(|step| volume.take(step));
            volume.unmount();
            Some((dir, image, volume.deleted))
        }
    }
}

fn mkfs(kind: &str, options: &[&str], image: &Path) -> bool {
    done(Command::new(format!("mkfs.{kind}")).args(options).arg(image))
}

fn loop_mount(image: &Path, folder: &Path) -> bool {
    done(Command::new("mount").args(["-o", "loop,nodiscard"]).arg(image).arg(folder))
}

/// Bytes of a volume.
const SIZE: usize = 192 << 20;

/// Who writes a volume.
enum Driver {
    System { make: fn(&Path) -> bool, mount: fn(&Path, &Path) -> bool },
    Own { cluster: usize, wide: bool, allocator: Allocator },
}

/// A kind of volume, and how much of every layout has to come back.
struct Kind {
    name: &'static str,
    driver: Driver,
    promised: Promise,
}

/// What must come back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Every file, whole, under its name, and called intact.
    All,
    /// Every file, whole, under its name or among the orphans; pieces that the metadata does not join are not called intact.
    Whole,
    /// Nothing but the truth.
    Nothing,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "ext4",
        driver: Driver::System {
            make: |image| mkfs("ext4", &["-q", "-F", "-b", "4096", "-J", "size=64"], image),
            mount: loop_mount,
        },
        promised: Promise::All,
    },
    Kind {
        name: "ext4, 1 KiB, small inodes",
        driver: Driver::System {
            make: |image| {
                let options = ["-q", "-F", "-b", "1024", "-I", "128", "-O", "^metadata_csum", "-J", "size=64"];
                mkfs("ext4", &options, image)
            },
            mount: loop_mount,
        },
        promised: Promise::All,
    },
    Kind {
        name: "ext3",
        driver: Driver::System { make: |image| mkfs("ext3", &["-q", "-F", "-J", "size=64"], image), mount: loop_mount },
        promised: Promise::All,
    },
    Kind {
        name: "NTFS",
        driver: Driver::System {
            make: |image| mkfs("ntfs", &["-F", "-q", "-Q"], image),
            mount: |image, folder| done(Command::new("ntfs-3g").arg(image).arg(folder)),
        },
        promised: Promise::All,
    },
    Kind {
        name: "exFAT",
        driver: Driver::System {
            make: |image| mkfs("exfat", &[], image),
            mount: |image, folder| {
                done(Command::new("mount").args(["-t", "exfat-fuse", "-o", "loop"]).arg(image).arg(folder))
            },
        },
        promised: Promise::Whole,
    },
    Kind {
        name: "FAT32, next free",
        driver: Driver::Own { cluster: 2048, wide: true, allocator: Allocator::NextFree },
        promised: Promise::Whole,
    },
    Kind {
        name: "FAT32, first free",
        driver: Driver::Own { cluster: 2048, wide: true, allocator: Allocator::FirstFree },
        promised: Promise::Whole,
    },
    Kind {
        name: "FAT16, next free",
        driver: Driver::Own { cluster: 4096, wide: false, allocator: Allocator::NextFree },
        promised: Promise::Whole,
    },
    Kind {
        name: "btrfs",
        driver: Driver::System { make: |image| mkfs("btrfs", &["-q", "-f"], image), mount: loop_mount },
        promised: Promise::Nothing,
    },
    Kind {
        name: "btrfs, packed",
        driver: Driver::System {
            make: |image| mkfs("btrfs", &["-q", "-f", "-m", "single"], image),
            mount: |image, folder| {
                let options = ["-o", "loop,nodiscard,compress-force=zstd"];
                done(Command::new("mount").args(options).arg(image).arg(folder))
            },
        },
        promised: Promise::Nothing,
    },
    // The kernel wipes the sizes, and on version 5 nothing but whole chunks of inodes keeps them.
    Kind {
        name: "XFS",
        driver: Driver::System {
            // It makes volumes of less than 300 MB for tests only.
            make: |image| {
                let small = [("TEST_DIR", "1"), ("TEST_DEV", "1"), ("QA_CHECK_FS", "1")];
                done(Command::new("mkfs.xfs").envs(small).args(["-q", "-f"]).arg(image))
            },
            mount: loop_mount,
        },
        promised: Promise::Nothing,
    },
    // The kernel wipes names, sizes and lists of blocks, and there is no journal.
    Kind {
        name: "ext2",
        driver: Driver::System { make: |image| mkfs("ext2", &["-q", "-F"], image), mount: loop_mount },
        promised: Promise::Nothing,
    },
];

fn print(kind: &Kind, layout: &str, s: &Score, theirs: &str) {
    let name = kind.name;
    println!("{name:26} {layout:20} {:>6} {:>6} {:>6} {:>6} {theirs:>17}", s.files, s.named, s.whole, s.intact);
}

#[test]
fn deleted_files_come_back() {
    let mut failures = Vec::new();
    let theirs_is = "Sleuth Kit, whole";
    println!(
        "{:26} {:20} {:>6} {:>6} {:>6} {:>6} {theirs_is:>17}",
        "volume", "layout", "files", "named", "whole", "intact"
    );
    for kind in KINDS {
        for layout in layouts() {
            let Some((_dir, image, deleted)) = written(kind, &layout.steps) else {
                eprintln!("left out: {} cannot be made or mounted here", kind.name);
                break;
            };
            let s = compare(&image, &deleted, &layout.whole);
            print(kind, layout.name, &s, &theirs(&image, &deleted, &layout.whole));
            let kept = match kind.promised {
                Promise::All => s.named == s.files && s.intact == s.files,
                Promise::Whole => s.whole == s.files,
                Promise::Nothing => true,
            };
            if !kept {
                failures.push(format!("{}, {}", kind.name, layout.name));
            }
        }
        if let Some((_dir, image, deleted)) = written(kind, &overwriting()) {
            let paths: Vec<String> = deleted.keys().cloned().collect();
            let s = compare(&image, &deleted, &paths);
            print(kind, "overwritten twice", &s, &theirs(&image, &deleted, &paths));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
