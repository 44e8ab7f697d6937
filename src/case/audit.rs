//! The audit log: what was done to a case, when and by which version. Each line's hash covers the line before it.

use super::CaseError;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Adds a line; gives its hash.
///
/// # Errors
/// Where the log cannot be read or written.
pub fn note(case: &Path, event: &str, details: Value) -> Result<String, CaseError> {
    let path = case.join("audit.jsonl");
    let before = match std::fs::File::open(&path) {
        Ok(file) => last_hash(BufReader::new(file))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e.into()),
    };
    let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let entry = json!({"time": time, "evidex": env!("CARGO_PKG_VERSION"), "event": event, "details": details});
    let hash = hash_of(&before, &entry);
    let line = json!({"hash": hash, "entry": entry});
    let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
    writeln!(file, "{line}")?;
    file.sync_data()?;
    Ok(hash)
}

/// Checks the whole log, which has to hold a line with the hash `anchor`; gives the number of its lines.
///
/// # Errors
/// The first line that does not follow from the one before it, or that lines are missing.
pub fn verify(case: &Path, anchor: Option<&str>) -> io::Result<u64> {
    let mut anchored = anchor.is_none();
    let mut before = String::new();
    let mut lines = 0u64;
    for line in BufReader::new(std::fs::File::open(case.join("audit.jsonl"))?).lines() {
        let (hash, entry) = split(&line?)?;
        if hash != hash_of(&before, &entry) {
            return Err(io::Error::other(format!("line {} of the audit log was changed", lines.saturating_add(1))));
        }
        anchored |= anchor == Some(hash.as_str());
        before = hash;
        lines = lines.saturating_add(1);
    }
    if anchored { Ok(lines) } else { Err(io::Error::other("the audit log was cut: lines are missing at its end")) }
}

fn hash_of(before: &str, entry: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes()).update(entry.to_string().as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn last_hash(lines: impl BufRead) -> io::Result<String> {
    match lines.lines().last() {
        Some(line) => Ok(split(&line?)?.0),
        None => Ok(String::new()),
    }
}

fn split(line: &str) -> io::Result<(String, Value)> {
    let bad = || io::Error::other("a line of the audit log cannot be read");
    let value: Value = serde_json::from_str(line).map_err(|_| bad())?;
    let hash = value.get("hash").and_then(Value::as_str).ok_or_else(bad)?.to_owned();
    Ok((hash, value.get("entry").cloned().ok_or_else(bad)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_found() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        note(dir.path(), "index", json!({"image": "a.dd"}))?;
        let second = note(dir.path(), "verify", json!({"holds": true}))?;
        assert_eq!(verify(dir.path(), Some(&second))?, 2);
        let path = dir.path().join("audit.jsonl");
        let text = std::fs::read_to_string(&path)?.replace("a.dd", "b.dd");
        std::fs::write(&path, &text)?;
        assert!(verify(dir.path(), None).is_err());
        let first = text.replace("b.dd", "a.dd").lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
        std::fs::write(&path, first)?;
        assert_eq!(verify(dir.path(), None)?, 1);
        assert!(verify(dir.path(), Some(&second)).is_err(), "a log that was cut is noticed");
        Ok(())
    }
}
