//! The case: a folder that holds what is known of the evidence.
//!
//! ```text
//! manifest.json   which evidence, with its seal; which options; whether it is complete, and its digest
//! journal.jsonl   the records, chained (record.rs): the truth
//! index/          the full-text index, derived from them
//! audit.jsonl     who did what and when, chained: the only file with times of the clock in it
//! lock            held while something writes
//! ```

pub mod audit;
pub mod ingest;
pub mod verify;

use crate::bytes::unhex;
use crate::image::ImageError;
use crate::image::seal::Seal;
use crate::record::{Position, SealRecord};
use crate::volume::vault::Keys;
use crate::work::Options;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The version of the folder's layout.
const FORMAT: u32 = 2;

/// Why something cannot be done with a case.
#[derive(Debug, Error)]
pub enum CaseError {
    /// The evidence.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The folder.
    #[error("{path}: {source}: {hint}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A file of the case, or the line itself.
    #[error("{0}: make room or mend the disk, then run the same command again: it goes on where it stopped")]
    Write(#[from] io::Error),
    /// The index.
    #[error("the index: {0}")]
    Index(#[from] tantivy::TantivyError),
    /// Anything else, told in full.
    #[error("{0}")]
    Refused(String),
}

/// One piece of evidence of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name in the case.
    pub name: String,
    /// Where it lay when it was last opened.
    pub path: PathBuf,
    /// What it looked like when indexing began.
    pub seal: Seal,
    /// The keys of its volumes that were unlocked, in hexadecimal: they are needed to read what was found there again.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub keys: Vec<String>,
    /// How it ended; `None` while it is worked on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub done: Option<SealRecord>,
    /// How it changed while it was indexed: nothing in the case can be relied on then.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub changed: Vec<String>,
}

impl Evidence {
    /// What its volumes are unlocked with, besides what is given.
    pub fn keys(&self, given: &Keys) -> Keys {
        let mut keys = given.clone();
        keys.keys.extend(self.keys.iter().filter_map(|key| unhex(key)));
        keys
    }
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the folder.
    pub format: u32,
    /// Version of evidex that made it.
    pub evidex: String,
    /// What the results depend on beside the evidence.
    pub options: Options,
    /// The evidence, in the order of its numbers.
    pub images: Vec<Evidence>,
    /// Where the journal ends, once everything is indexed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<Position>,
    /// Hash of the audit log's line that says so: the log cannot be cut back behind it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub audited: Option<String>,
}

/// An open case.
pub struct Case {
    dir: PathBuf,
    /// What its manifest says.
    pub manifest: Manifest,
}

/// A case opened for writing, which nobody else can do meanwhile.
pub struct Locked {
    /// The case.
    pub case: Case,
    _lock: File,
}

impl Case {
    /// Opens a case for reading.
    ///
    /// # Errors
    /// Where there is none.
    pub fn open(dir: &Path) -> Result<Self, CaseError> {
        let path = dir.join("manifest.json");
        let hint = "name a case folder with -c, or make one with `evidex index`";
        let text = std::fs::read(&path).map_err(|source| CaseError::Io { path: dir.to_owned(), source, hint })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|e| CaseError::Refused(format!("{}: is damaged: {e}", path.display())))?;
        if manifest.format != FORMAT {
            let what = format!("{}: was made by another version of evidex ({})", dir.display(), manifest.evidex);
            return Err(CaseError::Refused(what));
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    /// The index.
    pub fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    /// The case digest; `None` until everything is indexed.
    pub fn digest(&self) -> Option<String> {
        self.manifest.end.map(|end| end.digest())
    }

    /// Writes the manifest: whole or not at all.
    fn save(&self) -> Result<(), CaseError> {
        let (path, fresh) = (self.dir.join("manifest.json"), self.dir.join("manifest.json.new"));
        let text = serde_json::to_vec_pretty(&self.manifest).map_err(io::Error::from)?;
        let write = || -> io::Result<()> {
            use std::io::Write;
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|source| CaseError::Io { path, source, hint: "make room in the case folder" })
    }
}

impl Locked {
    /// Opens a case for writing, or makes one with `options`. The options of a case that exists are kept, and have to
    /// be the same.
    ///
    /// # Errors
    /// Where the folder cannot be written, or somebody else is writing to it.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, CaseError> {
        let hint = "choose a folder that can be written with -c";
        let io = |source| CaseError::Io { path: dir.to_owned(), source, hint };
        std::fs::create_dir_all(dir).map_err(io)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = "another evidex is writing to this case: wait until it has ended";
                return Err(CaseError::Refused(format!("{}: {what}", dir.display())));
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        if !dir.join("manifest.json").exists() {
            foreign_files(dir)?;
            let evidex = env!("CARGO_PKG_VERSION").to_owned();
            let manifest = Manifest {
                format: FORMAT,
                evidex,
                options: options.clone(),
                images: Vec::new(),
                end: None,
                audited: None,
            };
            let case = Case { dir: dir.to_owned(), manifest };
            case.save()?;
            return Ok(Self { case, _lock: lock });
        }
        let case = Case::open(dir)?;
        if case.manifest.options != *options {
            let what = "was made with another profile or other hashes: give the same, or another folder with -c";
            return Err(CaseError::Refused(format!("{}: {what}", dir.display())));
        }
        Ok(Self { case, _lock: lock })
    }
}

/// A folder that already holds other things does not become a case.
fn foreign_files(dir: &Path) -> Result<(), CaseError> {
    let io = |source| CaseError::Io { path: dir.to_owned(), source, hint: "check that it can be read" };
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if name != "lock" && name != "manifest.json.new" {
            let what = format!("holds other files ({}): choose a new folder with -c", name.to_string_lossy());
            return Err(CaseError::Refused(format!("{}: {what}", dir.display())));
        }
    }
    Ok(())
}
