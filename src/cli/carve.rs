//! `evidex carve`: files found by their structure, written straight to a folder with `carved.jsonl`. Needs no case.

use super::index::cores;
use super::keys::KeyArgs;
use super::{Common, found, output};
use crate::carve::{Carver, Scan};
use crate::extent::{Extent, ExtentSet};
use crate::hash::{Algorithm, Hasher};
use crate::image::View;
use crate::pipeline;
use crate::pipeline::sweep::{self, Found};
use crate::plan::past::Which;
use crate::plan::{self, Task};
use crate::search::bound::number;
use crate::volume::open::open;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct CarveArgs {
    /// A disk image (the first segment of a split one) or a block device
    image: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only what starts in these bytes of the image
    #[arg(long, value_name = "A-B")]
    range: Option<String>,
    /// Only these carvers
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    types: Vec<String>,
    /// Look for headers at multiples of so many bytes
    #[arg(long, default_value_t = 512, value_name = "N")]
    align: usize,
    /// Carve the whole image, not only what belongs to no file
    #[arg(long)]
    whole: bool,
    /// Only files of at least so many bytes (K, M, G as powers of 1024)
    #[arg(long, value_name = "N")]
    min_size: Option<String>,
    /// At most so many files
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    keys: KeyArgs,
}

pub(super) fn run(args: &CarveArgs, common: &Common) -> Result<ExitCode> {
    let carvers = chosen(&args.types)?;
    let image = open(&args.image, &args.keys.read()?)?.image;
    let disk = View::whole(image.as_ref());
    let stretches = stretches(disk, args)?;
    let min = args.min_size.as_deref().map(size).transpose()?.unwrap_or(0);
    std::fs::create_dir_all(&args.to).with_context(|| args.to.display().to_string())?;
    let root = args.to.canonicalize()?;
    if args.image.is_dir() && root.starts_with(args.image.canonicalize()?) {
        bail!("{}: lies inside the evidence: choose another folder", root.display());
    }
    let log = root.join("carved.jsonl");
    let mut log =
        BufWriter::new(File::create_new(&log).with_context(|| format!("{}: choose a new folder", log.display()))?);
    let (mut count, mut bytes) = (0u64, 0u64);
    let scan = Scan::new(carvers, args.align);
    sweep::sweep(disk, &stretches, &scan, |find| -> Result<()> {
        if find.extent.len < min || args.limit.is_some_and(|limit| count >= limit) {
            return Ok(());
        }
        let row = write(disk, find, &root)?;
        output::json(&mut log, &row)?;
        if common.json {
            output::json(&mut std::io::stdout().lock(), &row)?;
        }
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(find.extent.len);
        Ok(())
    })?;
    log.flush()?;
    if !common.json && !common.quiet {
        println!("{count} files, {}, written to {}", output::human(bytes), root.display());
    }
    Ok(found(count > 0))
}

fn chosen(types: &[String]) -> Result<Vec<&'static Carver>> {
    let all = crate::registry::CARVERS;
    if let Some(unknown) = types.iter().find(|t| !all.iter().any(|c| c.name == **t)) {
        let names: Vec<&str> = all.iter().map(|c| c.name).collect();
        bail!("there is no carver `{unknown}`: choose among {}", names.join(", "));
    }
    Ok(all.iter().filter(|c| types.is_empty() || types.iter().any(|t| t == c.name)).collect())
}

/// What is carved: all that belongs to no file, or the whole image, within the range.
fn stretches(disk: View<'_>, args: &CarveArgs) -> Result<Vec<Extent>> {
    let all = if args.whole {
        ExtentSet::new(vec![Extent::new(0, disk.size())])
    } else {
        let units = pipeline::on_workers(cores(), || plan::plan(disk, Which::None))?.units;
        let pieces = units.into_iter().filter_map(|unit| match unit.task {
            Task::Window(pieces) => Some(pieces),
            Task::Entry(_) | Task::Anomaly(_) => None,
        });
        pieces.flatten().map(|p| p.extent).collect()
    };
    let Some(range) = &args.range else { return Ok(all.as_slice().to_vec()) };
    let bounds = range.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
    let Some((from, to)) = bounds.filter(|(from, to)| from < to) else {
        bail!("--range {range}: expected A-B in bytes")
    };
    Ok(all.intersect(&ExtentSet::new(vec![Extent::between(from, to)])).as_slice().to_vec())
}

fn size(text: &str) -> Result<u64> {
    number(text).with_context(|| format!("--min-size {text}: expected a number of bytes such as 1000 or 64K"))
}

fn write(disk: View<'_>, find: &Found, root: &Path) -> Result<Value> {
    let name = format!("{:012}.{}", find.extent.start, find.carved.extension);
    let path = root.join(&name);
    let mut file = File::create_new(&path).with_context(|| path.display().to_string())?;
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    let mut at = find.extent.start;
    while at < find.extent.end() {
        let part = disk.part(Extent::between(at, find.extent.end()))?;
        file.write_all(&part)?;
        hasher.update(&part);
        at = at.saturating_add(part.len() as u64);
    }
    let sha256 = hasher.finish().sha256;
    Ok(json!({"file": name, "offset": find.extent.start, "length": find.extent.len, "carver": find.by,
              "mime": find.carved.mime, "whole": find.carved.whole, "sha256": sha256}))
}
