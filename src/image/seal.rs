//! The seal: what the evidence looked like when the run began, checked when it ends.
//!
//! For files it is size, time of change and time of the inode's change of every segment: no write leaves those as they
//! were. A block device keeps no such times, so its BLAKE3 stands in for them and is taken again at the end.

use super::Image;
use super::about::{Stored, Summed};
use super::ahead::each_part;
use super::folder::Listed;
use crate::extent::Extent;
use crate::hash::{Algorithm, Hasher, Hashes};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What one file of the evidence looked like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFile {
    /// Its path, for people: what is no UTF-8 in it is replaced.
    pub path: String,
    /// Its path; known in the run that took the seal.
    #[serde(skip)]
    place: PathBuf,
    /// Its size in bytes; 0 for a device.
    pub size: u64,
    /// Time of its last change, in nanoseconds since 1970.
    pub mtime: i128,
    /// Time of its inode's last change, likewise.
    pub ctime: i128,
    /// True for a block device, whose times say nothing.
    pub device: bool,
}

/// What the evidence looked like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Size of the evidence in bytes.
    pub size: u64,
    /// Its files, in order.
    pub files: Vec<SealedFile>,
}

impl Seal {
    /// Takes the seal.
    pub fn take(image: &dyn Image) -> Self {
        Self { size: image.size(), files: image.files().iter().map(|p| look(p)).collect() }
    }

    /// True where a file's times cannot tell that its content changed.
    pub fn needs_hash(&self) -> bool {
        self.files.iter().any(|f| f.device)
    }

    /// What is no longer as it was, one sentence a file; empty where the seal holds. To be asked of a seal that this run
    /// has taken itself.
    pub fn broken(&self) -> Vec<String> {
        let inode = |was: &SealedFile, is: &SealedFile| {
            (was.ctime != is.ctime).then(|| format!("{}: its inode changed", was.path))
        };
        let check = |was: &SealedFile| {
            let is = look(&was.place);
            difference(was, &is).or_else(|| inode(was, &is))
        };
        self.files.iter().filter_map(check).collect()
    }

    /// How the content differs from when `other` was taken, as [`Seal::broken`] says it. Moving the files, or changing
    /// who may read them, does not count.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        if self.size != other.size {
            return Some(format!("its size was {} and is {}", other.size, self.size));
        }
        other.files.iter().zip(&self.files).find_map(|(was, is)| difference(was, is))
    }
}

fn look(path: &Path) -> SealedFile {
    let (name, place) = (path.to_string_lossy().into_owned(), path.to_owned());
    let gone = SealedFile { path: name, place, size: 0, mtime: 0, ctime: 0, device: false };
    let Ok(meta) = std::fs::metadata(path) else { return gone };
    let nanos = |s: i64, n: i64| i128::from(s).saturating_mul(1_000_000_000).saturating_add(i128::from(n));
    let device = meta.file_type().is_block_device();
    if device {
        return SealedFile { device, ..gone };
    }
    // A folder's own times change when it is looked at from elsewhere; its files' do not.
    let ctime = if meta.is_dir() { 0 } else { nanos(meta.ctime(), meta.ctime_nsec()) };
    SealedFile { size: meta.len(), mtime: nanos(meta.mtime(), meta.mtime_nsec()), ctime, ..gone }
}

fn difference(was: &SealedFile, is: &SealedFile) -> Option<String> {
    let path = &was.path;
    if was.size != is.size {
        return Some(format!("{path}: its size was {} and is {}", was.size, is.size));
    }
    if was.mtime != is.mtime {
        return Some(format!("{path}: it was written to"));
    }
    (was.device != is.device).then(|| format!("{path}: it was a device and is a file, or the other way round"))
}

/// How much is hashed before its pages are given back.
const STEP: u64 = 64 << 20;

/// What is always taken of evidence, and the algorithms of the hashes that its container carries.
pub fn algorithms(image: &dyn Image) -> Vec<Algorithm> {
    let stored = image.about().hashes.iter().map(|stored| stored.algorithm);
    let mut all: Vec<Algorithm> = [Algorithm::Blake3, Algorithm::Sha256].into_iter().chain(stored).collect();
    all.sort();
    all.dedup();
    all
}

/// Hashes of the whole evidence in one pass: BLAKE3 on all threads of the pool, the others, which are chains, beside
/// each other.
///
/// # Errors
/// Where the image cannot be read.
pub fn hashes(image: &dyn Image, algorithms: &[Algorithm]) -> Result<Hashes, super::ImageError> {
    let mut tree = algorithms.contains(&Algorithm::Blake3).then(blake3::Hasher::new);
    // The slowest first, so that nobody waits for it alone.
    let chains = Algorithm::CARRIED
        .iter()
        .chain(Algorithm::ALL.iter().rev())
        .filter(|a| **a != Algorithm::Blake3 && algorithms.contains(a));
    let mut chains: Vec<Hasher> = chains.map(|a| Hasher::new(&[*a])).collect();
    let mut held = 0u64;
    each_part(image, STEP, |bytes| {
        rayon::scope(|scope| {
            chains.iter_mut().for_each(|chain| scope.spawn(|_| chain.update(bytes)));
            tree.iter_mut().for_each(|tree| {
                tree.update_rayon(bytes);
            });
        });
        held = held.saturating_add(bytes.len() as u64);
        if held >= STEP {
            held = 0;
            image.release();
        }
    })?;
    let taken = Hashes { blake3: tree.map(|t| t.finalize().to_hex().to_string()), ..Hashes::default() };
    Ok(chains.into_iter().map(Hasher::finish).fold(taken, Hashes::or))
}

/// Where the hashes that the container carries are not those of what it holds, a sentence each.
pub fn contradictions(image: &dyn Image, taken: &Hashes) -> Vec<String> {
    let lost = image.unreadable().iter().fold(0u64, |n, e| n.saturating_add(e.len));
    let why = if lost > 0 { format!(", of which {lost} bytes could not be read") } else { String::new() };
    let differs = |stored: &Stored| {
        let (name, is) = (stored.algorithm.name().to_uppercase(), taken.get(stored.algorithm)?);
        (is != stored.hex).then(|| {
            format!("the {name} that the container carries is {}, that of its content{why} is {is}", stored.hex)
        })
    };
    let whole = image.about().hashes.iter().filter_map(differs);
    whole.chain(sums_against(image)).chain(files_against(image)).collect()
}

/// The same of the parts of which the container carries checksums.
fn sums_against(image: &dyn Image) -> Vec<String> {
    let differs = |summed: &Summed| {
        let mut crc = crc32fast::Hasher::new();
        for extent in &summed.extents {
            let mut at = extent.start;
            while at < extent.end() {
                let part = image.part_once(Extent::between(at, extent.end())).ok().filter(|part| !part.is_empty())?;
                crc.update(&part);
                at = at.saturating_add(part.len() as u64);
            }
        }
        let (what, told, is) = (&summed.what, summed.crc32, crc.finalize());
        (is != told).then(|| {
            format!("{what}: the CRC-32 that the container carries is {told:08x}, that of its content is {is:08x}")
        })
    };
    image.about().sums.par_iter().filter_map(differs).collect()
}

/// The same of the files of evidence that is files and carries their hashes.
fn files_against(image: &dyn Image) -> Vec<String> {
    const MOST: usize = 64;
    let differs = |listed: &Listed| {
        let algorithms: Vec<Algorithm> = listed.carried.iter().map(|stored| stored.algorithm).collect();
        let (mut hasher, mut at) = (Hasher::new(&algorithms), listed.extent.start);
        while at < listed.extent.end() {
            let part = image.part_once(Extent::between(at, listed.extent.end())).ok()?;
            hasher.update(&part);
            at = at.saturating_add(part.len() as u64);
        }
        let taken = hasher.finish();
        let wrong = listed.carried.iter().find(|stored| taken.get(stored.algorithm) != Some(stored.hex.as_str()))?;
        let (name, is) = (wrong.algorithm.name().to_uppercase(), taken.get(wrong.algorithm)?);
        Some(format!(
            "{}: the {name} that the container carries is {}, that of its content is {is}",
            listed.path, wrong.hex
        ))
    };
    let carrying: Vec<&Listed> = image.listing().iter().filter(|listed| !listed.carried.is_empty()).collect();
    let mut wrong: Vec<String> = carrying.into_par_iter().filter_map(differs).collect();
    let more = wrong.len().saturating_sub(MOST);
    wrong.truncate(MOST);
    wrong.extend((more > 0).then(|| format!("and {more} other files")));
    wrong
}
