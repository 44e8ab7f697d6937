//! Verification: the evidence hashed again, every record followed from the one before it, the audit log likewise.

use super::{Case, CaseError, audit};
use crate::image::{self, seal};
use crate::index;
use crate::record::{self, Position, Record};
use std::path::{Path, PathBuf};

/// What was checked, and what does not hold.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Pieces of evidence whose hashes are what they were.
    pub images: u64,
    /// Records that follow from each other.
    pub records: u64,
    /// Lines of the audit log that do.
    pub audit: u64,
    /// What does not hold, a sentence each.
    pub broken: Vec<String>,
}

/// Verifies a case. `find` gives the path of a piece of evidence that is no longer where it was.
///
/// # Errors
/// Where the case cannot be read at all; what does not hold is in the report.
pub fn verify(case: &Case, find: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Report, CaseError> {
    let mut report = Report::default();
    let Some(end) = case.manifest.end else {
        report.broken.push("the case is not complete: run `evidex index` again".to_owned());
        return Ok(report);
    };
    let mut seals = Vec::new();
    let walked = record::verify(&case.journal(), end, |_, record| {
        if let Record::Seal(seal) = record {
            seals.push(seal.clone());
        }
    });
    match walked {
        Ok(()) => report.records = end.records,
        Err(error) => report.broken.push(error.to_string()),
    }
    for (number, evidence) in case.manifest.images.iter().enumerate() {
        let path = find(&evidence.name).unwrap_or_else(|| evidence.path.clone());
        let recorded = seals.iter().find(|s| usize::try_from(s.image).is_ok_and(|n| n == number));
        match recorded.map(|seal| check(&path, seal)) {
            None => report.broken.push(format!("{}: the journal holds no seal of it", evidence.name)),
            Some(Err(what)) => report.broken.push(format!("{}: {what}", evidence.name)),
            Some(Ok(against)) => {
                report.images = report.images.saturating_add(1);
                report.broken.extend(against.iter().map(|what| format!("{}: {what}", evidence.name)));
            }
        }
        report.broken.extend(evidence.changed.iter().map(|what| format!("{}: changed: {what}", evidence.name)));
        if evidence.done.as_ref() != recorded {
            report.broken.push(format!("{}: manifest and journal differ about it", evidence.name));
        }
    }
    match audit::verify(case.dir(), case.manifest.audited.as_deref()) {
        Ok(lines) => report.audit = lines,
        Err(error) => report.broken.push(error.to_string()),
    }
    if let Err(what) = check_index(case, end) {
        report.broken.push(what);
    }
    Ok(report)
}

/// The index is derived, but a damaged one misses hits: its files' checksums, and that it goes as far as the journal.
fn check_index(case: &Case, end: Position) -> Result<(), String> {
    if !case.index().join("meta.json").exists() {
        return Err("the index is missing: searches find nothing; index the evidence into a new case".to_owned());
    }
    let index = index::open(&case.index()).map_err(|e| format!("the index cannot be opened: {e}"))?;
    let damaged = index.validate_checksum().map_err(|e| format!("the index cannot be read: {e}"))?;
    if let Some(path) = damaged.iter().min() {
        return Err(format!("the index is damaged ({}): searches may miss hits", path.display()));
    }
    match index::checkpoint(&index) {
        Ok(checkpoint) if checkpoint.journal == end => Ok(()),
        Ok(_) => Err("the index stands for another state of the journal".to_owned()),
        Err(e) => Err(format!("the index cannot be read: {e}")),
    }
}

/// Hashes the evidence again; gives where the hashes that its container carries do not hold.
fn check(path: &Path, seal: &record::SealRecord) -> Result<Vec<String>, String> {
    let image = image::open(path).map_err(|e| e.to_string())?;
    let image = image.as_ref();
    let hashes = seal::hashes(image, &seal::algorithms(image)).map_err(|e| e.to_string())?;
    if hashes.blake3.as_ref() == Some(&seal.blake3) && hashes.sha256.as_ref() == Some(&seal.sha256) {
        return Ok(seal::contradictions(image, &hashes));
    }
    let is = hashes.blake3.unwrap_or_default();
    Err(format!("its BLAKE3 is {is}, but was {} when it was indexed", seal.blake3))
}
