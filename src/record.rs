//! The written form: a journal of records, appended, checksummed and chained.
//!
//! ```text
//! journal := line*
//! line    := `{"chain":"` 64 hex digits `","record":` JSON `}` LF
//! chain n := BLAKE3(chain n-1, as 32 bytes, then the JSON of record n); chain 0 is 32 zero bytes
//! record  := {"image": …} | {"item": …} | {"seal": …}
//! ```
//! The last chain value is the **case digest**: it covers every byte of every record before it. Records hold nothing
//! that differs between machines or runs, so two laboratories that index the same evidence compare one line.

use crate::artifact::Artifact;
use crate::fault::Fault;
use crate::plan::Space;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEAD: &str = "{\"chain\":\"";
const MIDDLE: &str = "\",\"record\":";
/// Bytes before the record in a line.
const PREFIX: usize = HEAD.len() + 64 + MIDDLE.len();

/// A volume as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its number.
    pub number: u32,
    /// `whole`, `partition`, `gap`, `assembled` or `snapshot`.
    pub kind: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// Of one whose bytes stand scattered: numbers of the volumes that it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub made_of: Vec<u32>,
    /// What it is recognised as, where no file system was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recognised: Option<String>,
    /// The table's type for it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The table's name for it.
    pub name: String,
    /// Of an earlier time: number of the volume that it is of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<u32>,
    /// Of an earlier time: when that was, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub made: Option<String>,
    /// File system, where one was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file_system: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub label: String,
    /// Its serial number or UUID.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub id: String,
    /// Bytes of a cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cluster: Option<u64>,
    /// Other file systems that it looks like.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub remarks: Vec<String>,
}

/// The first record of an image: how it is divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its number in the case.
    pub image: u32,
    /// Size in bytes.
    pub size: u64,
    /// Partition scheme.
    pub scheme: Option<String>,
    /// Bytes of a sector.
    pub sector: u64,
    /// Volumes.
    pub volumes: Vec<VolumeRecord>,
    /// What is damaged beyond single items.
    pub faults: Vec<Fault>,
    /// What its container says; nothing where it is in none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<ContainerRecord>,
}

/// What the container of an image says of itself, and of how the evidence was acquired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its registered name.
    pub format: String,
    /// The hashes that it carries: algorithm and value.
    pub hashes: Vec<(String, String)>,
    /// Name and value.
    pub facts: Vec<(String, String)>,
    /// What else has to be known of it.
    pub remarks: Vec<String>,
}

/// The last record of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRecord {
    /// Its number in the case.
    pub image: u32,
    /// BLAKE3 of the evidence.
    pub blake3: String,
    /// SHA-256 of the evidence.
    pub sha256: String,
    /// Items.
    pub items: u64,
    /// Faults, of items and beyond.
    pub faults: u64,
    /// What each kind of space holds.
    pub bytes: Space,
    /// What could not be read, `[offset, length]`.
    pub unreadable: Vec<[u64; 2]>,
    /// Where the hashes that the container carries are not those of its content.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contradictions: Vec<String>,
}

/// A record.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// How an image is divided.
    Image(ImageRecord),
    /// An item.
    Item(Box<Artifact>),
    /// How an image ended.
    Seal(SealRecord),
}

/// Where a journal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Length in bytes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Items among them.
    pub items: u64,
    /// Faults in them.
    pub faults: u64,
    /// The chain.
    #[serde(with = "chain_hex")]
    pub chain: [u8; 32],
}

impl Position {
    /// Before the first record.
    pub const START: Self = Self { bytes: 0, records: 0, items: 0, faults: 0, chain: [0; 32] };

    /// The chain in hexadecimal: the case digest, at the end.
    pub fn digest(&self) -> String {
        crate::bytes::hex(&self.chain)
    }

    fn follow(&mut self, json: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.chain).update(json);
        self.chain = *hasher.finalize().as_bytes();
    }

    fn count(&mut self, record: &Record) {
        self.records = self.records.saturating_add(1);
        let faults = match record {
            Record::Image(image) => image.faults.len(),
            Record::Item(item) => {
                self.items = self.items.saturating_add(1);
                item.faults.len()
            }
            Record::Seal(_) => 0,
        };
        self.faults = self.faults.saturating_add(faults as u64);
    }
}

mod chain_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(chain: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::bytes::hex(chain))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        super::unhex(text.as_bytes()).ok_or_else(|| D::Error::custom("a chain value has 64 hexadecimal digits"))
    }
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    (digits.len() == 64).then_some(())?;
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// Appends records.
pub struct Writer {
    file: BufWriter<File>,
    position: Position,
}

impl Writer {
    /// Opens the journal and cuts it off behind `position`: what a killed run left there is not vouched for.
    ///
    /// # Errors
    /// Where the file cannot be opened, or is shorter than `position`.
    pub fn open(path: &Path, position: Position) -> io::Result<Self> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        if file.metadata()?.len() < position.bytes {
            return Err(io::Error::other("the journal is shorter than the index says: the case is damaged"));
        }
        file.set_len(position.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 20, file), position })
    }

    /// Appends a record; gives where it begins.
    ///
    /// # Errors
    /// Where the disk is full or gone.
    pub fn append(&mut self, record: &Record) -> io::Result<u64> {
        let json = serde_json::to_vec(record)?;
        let at = self.position.bytes;
        self.position.follow(&json);
        self.position.count(record);
        let digest = self.position.digest();
        self.file.write_all(HEAD.as_bytes())?;
        self.file.write_all(digest.as_bytes())?;
        self.file.write_all(MIDDLE.as_bytes())?;
        self.file.write_all(&json)?;
        self.file.write_all(b"}\n")?;
        let len = PREFIX.saturating_add(json.len()).saturating_add(2);
        self.position.bytes = at.saturating_add(len as u64);
        Ok(at)
    }

    /// Where it stands.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// Where the disk is full or gone.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

/// Reads records by their place.
pub struct Reader {
    file: File,
}

impl Reader {
    /// Opens a journal.
    ///
    /// # Errors
    /// Where there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)? })
    }

    /// The item whose record begins at `at`.
    ///
    /// # Errors
    /// Where there is no item's record.
    pub fn item(&self, at: u64) -> io::Result<Artifact> {
        let mut line = vec![0u8; 4096];
        let mut len = 0usize;
        loop {
            let room = line.get_mut(len..).unwrap_or_default();
            let read = self.file.read_at(room, at.saturating_add(len as u64))?;
            let fresh = line.get(len..len.saturating_add(read)).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', fresh) {
                line.truncate(len.saturating_add(end));
                break;
            }
            len = len.saturating_add(read);
            if read == 0 {
                return Err(io::Error::other("a record of the journal has no end: the case is damaged"));
            }
            line.resize(line.len().saturating_mul(2), 0);
        }
        match parse(&line)? {
            (_, Record::Item(item)) => Ok(*item),
            _ => Err(io::Error::other("the index points at a record that is no item: the case is damaged")),
        }
    }
}

fn parse(line: &[u8]) -> io::Result<(&[u8], Record)> {
    let bad = || io::Error::other("a record of the journal cannot be read: the case is damaged");
    let json = line.get(PREFIX..line.len().saturating_sub(1)).ok_or_else(bad)?;
    Ok((json, serde_json::from_slice(json).map_err(|_| bad())?))
}

/// Reads a journal from its start to `end`, checking the chain; calls `each` with every record and where it begins.
///
/// # Errors
/// The first record that does not hold, by its number.
pub fn verify(path: &Path, end: Position, mut each: impl FnMut(u64, &Record)) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(1 << 20, File::open(path)?.take(end.bytes));
    let mut position = Position::START;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let number = position.records;
        let broken = |what: &str| io::Error::other(format!("record {number} of the journal {what}"));
        line.pop();
        let (json, record) = parse(&line).map_err(|_| broken("cannot be read"))?;
        position.follow(json);
        if line.get(HEAD.len()..HEAD.len().saturating_add(64)) != Some(position.digest().as_bytes()) {
            return Err(broken("does not follow from the one before it"));
        }
        each(position.bytes, &record);
        position.count(&record);
        position.bytes = position.bytes.saturating_add(read as u64);
    }
    if position == end { Ok(()) } else { Err(io::Error::other("the journal does not end where the case says")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Kind;

    fn item(path: &str) -> Record {
        let mut item = Artifact::new(0, 1, path.to_owned(), Kind::File, 7);
        item.times.insert("mtime".to_owned(), "2024-01-01T00:00:00Z".to_owned());
        Record::Item(Box::new(item))
    }

    #[test]
    fn a_changed_record_is_found_and_a_prefix_goes_on() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("journal");
        let mut writer = Writer::open(&path, Position::START)?;
        writer.append(&item("/a"))?;
        let half = writer.position();
        let second = writer.append(&item("/b"))?;
        let end = writer.position();
        writer.sync()?;
        drop(writer);
        verify(&path, end, |_, _| {})?;
        let read = Reader::open(&path)?.item(second)?;
        assert_eq!((read.path.as_str(), read.times.len()), ("/b", 1));

        let mut again = Writer::open(&path, half)?;
        again.append(&item("/b"))?;
        again.sync()?;
        assert_eq!(again.position(), end);

        let mut bytes = std::fs::read(&path)?;
        let at = bytes.windows(4).position(|w| w == b"\"/b\"").unwrap_or_default();
        bytes[at + 2] = b'c';
        std::fs::write(&path, bytes)?;
        let error = verify(&path, end, |_, _| {}).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("record 1"), "{error}");
        Ok(())
    }
}
