//! What the end-to-end tests share: the built binary, the demonstration disk, and JSON lines.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod aff4;
pub mod container;
pub mod filled;
pub mod truth;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How a command ended.
pub struct Ended {
    /// Exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).expect("what is printed is UTF-8")
    }

    /// Standard output as JSON lines.
    pub fn lines(&self) -> Vec<Value> {
        let line = |l: &[u8]| serde_json::from_slice(l).expect("each line is JSON");
        self.out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(line).collect()
    }

    /// The last line as JSON.
    pub fn last(&self) -> Value {
        self.lines().pop().expect("something is printed")
    }

    /// Asserts the exit status; an error has to be told in one line, without a backtrace.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}\nstdout: {}", self.err, String::from_utf8_lossy(&self.out));
        assert!(!self.err.contains("panicked"), "{}", self.err);
        if code == 2 {
            assert_eq!(self.err.lines().count(), 1, "one line: {}", self.err);
            assert!(self.err.starts_with("evidex: "), "{}", self.err);
        }
        self
    }
}

/// The binary, without what the environment would tell it.
pub fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evidex"));
    command.args(args).env_remove("EVIDEX_CASE").env_remove("NO_COLOR").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn evidex<S: AsRef<OsStr>>(args: &[S]) -> Ended {
    finish(command(args), Duration::from_secs(600))
}

/// Runs a command; a run that takes longer than `limit` is ended and fails the test.
pub fn finish(mut command: Command, limit: Duration) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waited for") {
            break status;
        }
        if start.elapsed() > limit {
            child.kill().expect("ended");
            panic!("{command:?} did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let read = |piped: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| piped.join().expect("read").expect("read");
    Ended { code: status.code(), out: read(out), err: String::from_utf8_lossy(&read(err)).into_owned() }
}

/// The demonstration disk, unpacked once for all test crates; not to be written to.
pub fn disk() -> &'static Path {
    static DISK: OnceLock<PathBuf> = OnceLock::new();
    DISK.get_or_init(|| {
        let packed = include_bytes!("../../fixtures/demo/disk.dd.zst");
        let name = blake3::hash(packed).to_hex();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{name}.dd"));
        if !path.exists() {
            let fresh = path.with_extension(std::process::id().to_string());
            zstd::stream::copy_decode(&packed[..], File::create(&fresh).expect("created")).expect("unpacked");
            fs::rename(&fresh, &path).expect("renamed");
        }
        path
    })
}

/// A folder that goes when the test ends.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder")
}

/// A case of the demonstration disk, made once for the test crate; not to be written to.
pub fn demo_case() -> &'static str {
    static CASE: OnceLock<String> = OnceLock::new();
    CASE.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for old in fs::read_dir(all).expect("listed").flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
            if name.strip_prefix("case-").is_some_and(gone) {
                // Another crate may be tidying up, too.
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let case = text(&all.join(format!("case-{}", std::process::id())));
        evidex(&["index", &text(disk()), "-c", &case, "--name", "disk.dd", "-q"]).expect(0);
        case
    })
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("our paths are UTF-8").to_owned()
}

/// Copies a file that will be written to.
pub fn copy_of(path: &Path, to: &Path) -> PathBuf {
    let to = to.join("disk.dd");
    fs::copy(path, &to).expect("copied");
    to
}

/// The bytes of a file at an offset.
pub fn bytes_at(path: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(path).expect("opened").read_exact_at(&mut bytes, at).expect("within the file");
    bytes
}

/// Changes one byte of a file.
pub fn flip(path: &Path, at: u64) {
    let byte = bytes_at(path, at, 1);
    let file = File::options().write(true).open(path).expect("opened for writing");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

/// Text of a field.
#[track_caller]
pub fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

/// Number of a field.
#[track_caller]
pub fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no number `{name}` in {value}"))
}

/// What a search prints as JSON, all of it.
pub fn search(case: &str, query: &str) -> Vec<Value> {
    evidex(&["search", query, "--json", "--limit", "100000", "-c", case]).lines()
}

/// All items of a case.
pub fn items(case: &str) -> Vec<Value> {
    evidex(&["files", "--json", "-c", case]).expect(0).lines()
}

/// Everything below a folder: path and content, sorted.
pub fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(|e| e.expect("listed"));
    let files = files.filter(|e| e.file_type().is_file());
    files.map(|e| (text(e.path()), fs::read(e.path()).expect("read"))).collect()
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A folder of the corpus beside the project, or of the one that `EVIDEX_CORPUS` names.
pub fn corpus(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("EVIDEX_CORPUS").map_or_else(beside, PathBuf::from).join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("left out: no corpus at {} (set EVIDEX_CORPUS)", folder.display());
    None
}

/// Copies what is no zeros: the images are sparse.
fn copy_sparse(mut from: impl Read, to: &mut File) {
    let mut block = vec![0u8; 1 << 16];
    let mut size = 0u64;
    loop {
        let n = from.read(&mut block).expect("the archive is read");
        if n == 0 {
            break to.set_len(size).expect("a temporary file is sized");
        }
        if block[..n].iter().any(|b| *b != 0) {
            to.seek(SeekFrom::Start(size)).expect("a temporary file is searched");
            to.write_all(&block[..n]).expect("a temporary file is written");
        }
        size += n as u64;
    }
}

/// An image of the corpus: where it lies, or decompressed.
pub enum Evidence {
    Plain(PathBuf),
    Unpacked(tempfile::NamedTempFile),
}

impl Evidence {
    pub fn path(&self) -> &Path {
        match self {
            Self::Plain(path) => path,
            Self::Unpacked(file) => file.path(),
        }
    }
}

/// The image, decompressed where the corpus has it so.
pub fn evidence(folder: &Path, name: &str) -> Evidence {
    if folder.join(name).is_file() {
        return Evidence::Plain(folder.join(name));
    }
    Evidence::Unpacked(unpacked(folder, name))
}

/// The image decompressed, or copied, into a temporary file.
pub fn unpacked(folder: &Path, name: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file is made");
    let decoder = |path: PathBuf| zstd::Decoder::new(File::open(path).expect("the corpus has the file")).expect("zstd");
    if let Some(member) = name.strip_prefix("forensics-samples/") {
        let mut archive = tar::Archive::new(decoder(folder.join("forensics-samples/forensics-samples.tar.zst")));
        let entries = archive.entries().expect("a tar archive").map(|e| e.expect("a tar entry"));
        let mut named = entries.filter(|e| e.path().is_ok_and(|p| p.as_ref() == Path::new(member)));
        copy_sparse(named.next().expect("the archive has the image"), file.as_file_mut());
    } else if folder.join(name).is_file() {
        copy_sparse(File::open(folder.join(name)).expect("the corpus has the file"), file.as_file_mut());
    } else {
        copy_sparse(decoder(folder.join(format!("{name}.zst"))), file.as_file_mut());
    }
    file
}

/// Unmounts a volume. A process that another test starts at that moment may hold it for an instant.
#[track_caller]
pub fn unmount(folder: &Path) {
    let gone = || {
        let ended = Command::new("umount").arg(folder).output();
        let gone = ended.is_ok_and(|ended| ended.status.success());
        if !gone {
            std::thread::sleep(Duration::from_millis(250));
        }
        gone
    };
    assert!((0..40).any(|_| gone()), "the volume is unmounted");
}
