//! `evidex extract`: content written out, with a manifest of hashes; never outside the folder that was named.

use super::show::each_part;
use super::{CaseArgs, Common, found, open_case, output};
use crate::artifact::{Artifact, Kind, Status};
use crate::hash::{Algorithm, Hasher};
use crate::search::query::{Query, parse};
use crate::search::{Searcher, Sort};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

/// File systems take names of at most 255 bytes; what is appended to one needs room.
const MAX_NAME: usize = 200;

#[derive(Args)]
pub(super) struct ExtractArgs {
    /// Ids, or beginnings of ids
    #[arg(required_unless_present_any = ["query", "all"])]
    ids: Vec<String>,
    #[command(flatten)]
    case: CaseArgs,
    /// All that a query finds
    #[arg(long, conflicts_with = "ids")]
    query: Option<String>,
    /// All items with content
    #[arg(long, conflicts_with_all = ["ids", "query"])]
    all: bool,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(args: &ExtractArgs, common: &Common) -> Result<ExitCode> {
    let searcher = open_case(&args.case)?;
    let items = wanted(args, &searcher)?;
    let root = prepare(&args.to, &searcher)?;
    let log = root.join("extracted.jsonl");
    let mut log =
        BufWriter::new(File::create_new(&log).with_context(|| format!("{}: choose a new folder", log.display()))?);
    let (mut written, mut failed) = (0u64, 0u64);
    for item in &items {
        let outcome = write(&searcher, item, &root);
        let image = searcher.image_name(item.image);
        let row = match &outcome {
            Ok((path, sha256, whole)) => {
                written = written.saturating_add(1);
                let path = path.strip_prefix(&root).unwrap_or(path);
                json!({"id": item.id, "provenance": output::provenance(item, image), "file": path, "size": item.size,
                       "sha256": sha256, "matches": whole, "status": item.status.name(), "recovered": item.recovered})
            }
            Err(error) => {
                failed = failed.saturating_add(1);
                json!({"id": item.id, "provenance": output::provenance(item, image), "error": format!("{error:#}")})
            }
        };
        output::json(&mut log, &row)?;
        if common.json {
            output::json(&mut io::stdout().lock(), &row)?;
        } else if let Err(error) = outcome {
            eprintln!(
                "evidex: {}: {}",
                crate::text::printable(&item.path),
                crate::text::printable(&format!("{error:#}"))
            );
        }
    }
    log.flush()?;
    if !common.json && !common.quiet {
        println!("{written} written to {}, {failed} could not be", root.display());
    }
    if failed > 0 {
        return Ok(ExitCode::from(2));
    }
    Ok(found(written > 0))
}

fn wanted(args: &ExtractArgs, searcher: &Searcher) -> Result<Vec<Artifact>> {
    let query = match &args.query {
        Some(text) => parse(text)?,
        None if args.all => Query::All,
        None => {
            let items = args.ids.iter().map(|id| Ok(searcher.item(&id.to_lowercase())?));
            return items.collect();
        }
    };
    let page = searcher.find(&query, Sort::Item, 0, usize::MAX)?;
    // Of what is asked for in general, only what has content; what was left out when the case was made has none.
    let no_content = [Kind::Directory, Kind::Special, Kind::Unallocated, Kind::Slack, Kind::Anomaly];
    let has_content = |item: &Artifact| !no_content.contains(&item.kind) && item.status != Status::Skipped;
    Ok(page.matches.into_iter().map(|m| m.item).filter(has_content).collect())
}

/// Makes the folder; refuses one that lies in evidence.
fn prepare(to: &Path, searcher: &Searcher) -> Result<PathBuf> {
    fs::create_dir_all(to).with_context(|| format!("{}", to.display()))?;
    let root = to.canonicalize()?;
    if searcher.case.manifest.images.iter().any(|e| e.path.is_dir() && root.starts_with(&e.path)) {
        bail!("{}: lies inside the evidence: choose another folder", root.display());
    }
    Ok(root)
}

/// Writes one item; gives where, the SHA-256 of what was written, and whether that is the recorded one, if one was.
fn write(searcher: &Searcher, item: &Artifact, root: &Path) -> Result<(PathBuf, String, Option<bool>)> {
    if matches!(item.kind, Kind::Directory | Kind::Special) {
        bail!("a {} has no content", item.kind.name());
    }
    if item.status == Status::Skipped {
        bail!("{}", item.note.as_deref().unwrap_or("it was left out when the case was made"));
    }
    let path = place(item, root)?;
    let outcome = fill(searcher, item, &path);
    if outcome.is_err() {
        // Nothing that is not what it is called stays there.
        let _ = fs::remove_file(&path);
    }
    let (sha256, matches) = outcome?;
    Ok((path, sha256, matches))
}

fn fill(searcher: &Searcher, item: &Artifact, path: &Path) -> Result<(String, Option<bool>)> {
    let mut file = BufWriter::new(File::create_new(path).with_context(|| path.display().to_string())?);
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    each_part(searcher, item, |part| {
        hasher.update(part);
        file.write_all(part)
    })?;
    file.flush()?;
    let sha256 = hasher.finish().sha256.unwrap_or_default();
    let matches = item.hashes.sha256.as_ref().map(|recorded| *recorded == sha256);
    if matches == Some(false) {
        bail!("its bytes are not what was indexed: `evidex verify` tells whether the evidence changed");
    }
    Ok((sha256, matches))
}

/// `ROOT/vol1/Documents/a.zip!/letter.txt`: every part made harmless, and nothing followed that is a link.
fn place(item: &Artifact, root: &Path) -> Result<PathBuf> {
    let mut parts = vec![format!("{}-vol{}", item.image, item.volume)];
    parts.extend(item.path.split('/').filter(|p| !p.is_empty()).map(safe));
    for member in &item.members {
        if let Some(holder) = parts.last_mut() {
            holder.push('!');
        }
        parts.extend(member.split('/').filter(|p| !p.is_empty()).map(safe));
    }
    let name = parts.pop().unwrap_or_else(|| item.id.clone());
    let mut dir = root.to_owned();
    for part in parts {
        dir.push(part);
        make_folder(&dir)?;
    }
    let path = dir.join(&name);
    let path = if path.symlink_metadata().is_ok() { dir.join(format!("{name}~{}", item.id)) } else { path };
    let inside = path.starts_with(root) && path.components().all(|c| !matches!(c, Component::ParentDir));
    if inside { Ok(path) } else { bail!("{}: leads out of {}", path.display(), root.display()) }
}

fn make_folder(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.symlink_metadata()?.is_dir() => Ok(()),
        Err(e) => Err(e).with_context(|| format!("{}: is in the way", dir.display())),
    }
}

/// A name that means nothing to a file system: no separators, controls, `.` or `..`, and not too long.
fn safe(part: &str) -> String {
    let kept = |c: char| if c.is_control() || matches!(c, '/' | '\\' | '\0') { '_' } else { c };
    let mut name: String = part.chars().map(kept).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if matches!(name.as_str(), "." | ".." | "") { "_".repeat(part.len().max(1)) } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for path in ["/../../etc/passwd", "/a/..", "/.", "//", "/a\u{0}b\\..\\c", &format!("/{}", "x".repeat(400))] {
            let item = Artifact::new(0, 1, path.to_owned(), Kind::File, 0);
            let there = place(&item, dir.path())?;
            assert!(there.starts_with(dir.path()), "{}", there.display());
            File::create_new(&there).with_context(|| there.display().to_string())?;
        }
        Ok(())
    }
}
