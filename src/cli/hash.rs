//! `evidex hash`: the evidence bytes, hashed.

use super::{Common, index, output};
use crate::extent::Extent;
use crate::hash::Algorithm;
use crate::image::{self, seal};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct HashArgs {
    /// A disk image (the first segment of a split one), a block device or a folder
    image: PathBuf,
    /// Which hashes
    #[arg(long, value_delimiter = ',', default_value = "blake3,sha256,sha1,md5", value_name = "LIST")]
    algo: Vec<String>,
}

pub(super) fn run(args: &HashArgs, common: &Common) -> Result<ExitCode> {
    let mut algorithms = index::algorithms(&args.algo)?;
    let image = image::open(&args.image)?;
    let image = image.as_ref();
    // What is taken of evidence alone is taken wherever it is carried.
    algorithms
        .extend(image.about().hashes.iter().map(|stored| stored.algorithm).filter(|a| Algorithm::CARRIED.contains(a)));
    let hashes = seal::hashes(image, &algorithms)?;
    let (against, unreadable) = (seal::contradictions(image, &hashes), image.unreadable());
    complain(&args.image, &against, &unreadable);
    let holds = super::found(against.is_empty() && unreadable.is_empty());
    let mut out = std::io::stdout().lock();
    if common.json {
        output::json(
            &mut out,
            &json!({"image": args.image, "size": image.size(), "blake3": hashes.blake3,
            "sha256": hashes.sha256, "sha1": hashes.sha1, "md5": hashes.md5,
            "sha512": hashes.sha512, "blake2b": hashes.blake2b,
            "unreadable": output::ranges(&unreadable), "contradictions": against}),
        )?;
        return Ok(holds);
    }
    for algorithm in algorithms {
        let name = args.image.display().to_string();
        writeln!(
            out,
            "{:<6} {}  {}",
            algorithm.name(),
            hashes.get(algorithm).unwrap_or("-"),
            crate::text::printable(&name)
        )?;
    }
    for stored in &image.about().hashes {
        let verdict = match hashes.get(stored.algorithm) {
            None => "not checked: name it in --algo",
            Some(taken) if taken == stored.hex => "holds",
            Some(_) => "DOES NOT HOLD",
        };
        writeln!(out, "{:<6} {}  carried by the container: {verdict}", stored.algorithm.name(), stored.hex)?;
    }
    let (sums, wrong) = (image.about().sums.len(), against.iter().filter(|what| what.contains("CRC-32")).count());
    if sums > 0 {
        let verdict = if wrong == 0 { "all hold".to_owned() } else { format!("{wrong} DO NOT HOLD") };
        writeln!(out, "crc32  {sums} carried by the container for its parts: {verdict}")?;
    }
    Ok(holds)
}

/// Says aloud what does not hold: these hashes are not those of the evidence as it was acquired.
fn complain(path: &Path, against: &[String], unreadable: &[Extent]) {
    let name = path.display().to_string();
    for what in against {
        eprintln!("evidex: {}", crate::text::printable(&format!("{name}: {what}")));
    }
    if let (Some(first), lost) = (unreadable.first(), unreadable.iter().fold(0u64, |n, e| n.saturating_add(e.len)))
        && lost > 0
    {
        let what =
            format!("{name}: {lost} bytes, the first at byte {}, could not be read and count as zeros", first.start);
        eprintln!("evidex: {}", crate::text::printable(&what));
    }
}
