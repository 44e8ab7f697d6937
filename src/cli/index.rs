//! `evidex index`: images, or folders of files, into a case.

use super::info::SnapshotsArg;
use super::keys::KeyArgs;
use super::progress::Bar;
use super::{Common, output};
use crate::case::ingest::{self, Run};
use crate::case::{Case, Locked};
use crate::extent::Extent;
use crate::hash::Algorithm;
use crate::image;
use crate::pipeline::{self, Power};
use crate::plan::Space;
use crate::work::{Options, Profile};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// How much is done.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ProfileArg {
    /// Live and deleted files: listed, identified, hashed
    Triage,
    /// Everything; carving at sector borders
    Standard,
    /// Everything; carving at every byte
    Full,
}

#[derive(Args)]
pub(super) struct IndexArgs {
    /// Disk images (the first segment of a split one), block devices or folders of files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The case folder [default: IMAGE.case]
    #[arg(short, long = "case", env = "EVIDEX_CASE", value_name = "DIR")]
    case: Option<PathBuf>,
    /// How much is done
    #[arg(long, value_enum, default_value = "standard")]
    profile: ProfileArg,
    /// Workers [default: one a processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Name of the evidence in the case, one for each IMAGE [default: its file name]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Hashes to take of every item
    #[arg(long, value_delimiter = ',', default_value = "blake3,sha256,sha1,md5", value_name = "LIST")]
    hash: Vec<String>,
    /// Memory for work in flight, in MiB
    #[arg(long, default_value_t = 128, value_name = "MIB")]
    memory: u64,
    /// What volumes held at the times of their snapshots: what changed since, each version once; all of it; or nothing
    #[arg(long, value_enum, default_value = "changed")]
    snapshots: SnapshotsArg,
    /// Make progress permanent after so many MiB of evidence
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    checkpoint: u64,
    #[command(flatten)]
    keys: KeyArgs,
}

pub(super) fn run(args: &IndexArgs, common: &Common) -> Result<ExitCode> {
    if !args.name.is_empty() && args.name.len() != args.images.len() {
        bail!("{} names were given for {} images: give one for each", args.name.len(), args.images.len());
    }
    let mut names = args.name.iter().cloned();
    let images: Vec<(PathBuf, Option<String>)> = args.images.iter().map(|i| (i.clone(), names.next())).collect();
    let options =
        Options { profile: profile(args.profile), hashes: algorithms(&args.hash)?, past: args.snapshots.which() };
    let dir = args.case.clone().unwrap_or_else(|| default_case(&args.images));
    refuse_inside(&dir, &args.images)?;
    // What cannot be opened leaves no case behind.
    for path in args.images.iter().filter(|path| !path.is_dir()) {
        image::open(path)?;
    }
    let keys = args.keys.read()?;
    let start = Instant::now();
    let mut locked = Locked::open(&dir, &options)?;
    let threads = args.threads.unwrap_or_else(cores).max(1);
    let power = Power { threads, memory: args.memory.max(1) << 20 };
    let run = Run { power, checkpoint: args.checkpoint << 20 };
    let bar = Bar::new(common);
    let ((), outcome) = pipeline::beside(
        || bar.run(),
        || {
            let outcome = ingest::index(&mut locked, &images, &keys, run, &bar);
            bar.stop();
            outcome
        },
    );
    let worked = outcome?;
    report(&locked.case, &dir, start, worked, common)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn profile(arg: ProfileArg) -> Profile {
    match arg {
        ProfileArg::Triage => Profile::Triage,
        ProfileArg::Standard => Profile::Standard,
        ProfileArg::Full => Profile::Full,
    }
}

/// Algorithms by name, each once, in one order.
pub(super) fn algorithms(names: &[String]) -> Result<Vec<Algorithm>> {
    let mut list = Vec::new();
    for name in names {
        let Some(algorithm) = Algorithm::named(name) else {
            bail!("there is no hash `{name}`: choose among blake3, sha256, sha1, md5");
        };
        list.push(algorithm);
    }
    list.sort();
    list.dedup();
    Ok(list)
}

fn default_case(images: &[PathBuf]) -> PathBuf {
    let mut name = images.first().map(|i| i.as_os_str().to_owned()).unwrap_or_default();
    if name.to_string_lossy().ends_with('/') {
        name = name.to_string_lossy().trim_end_matches('/').to_owned().into();
    }
    name.push(".case");
    name.into()
}

/// Before anything is made: a case inside the evidence would change it.
fn refuse_inside(case: &Path, images: &[PathBuf]) -> Result<()> {
    let parent =
        case.ancestors().find_map(|a| if a.as_os_str().is_empty() { Path::new(".") } else { a }.canonicalize().ok());
    for image in images.iter().filter(|i| i.is_dir()) {
        let evidence = image.canonicalize()?;
        if parent.as_ref().is_some_and(|p| p.starts_with(&evidence)) {
            bail!("{}: the case folder lies inside the evidence: choose another with -c", image.display());
        }
    }
    Ok(())
}

/// The object of a run.
pub(super) fn summary(case: &Case, dir: &Path, seconds: f64, holds: bool) -> Value {
    let images: Vec<Value> = case
        .manifest
        .images
        .iter()
        .filter_map(|e| Some((e, e.done.as_ref()?)))
        .map(|(e, done)| {
            let unreadable: Vec<Extent> = done.unreadable.iter().map(|[at, len]| Extent::new(*at, *len)).collect();
            json!({"name": e.name, "size": e.seal.size, "blake3": done.blake3, "sha256": done.sha256,
               "unreadable": output::ranges(&unreadable), "contradictions": done.contradictions})
        })
        .collect();
    let end = case.manifest.end;
    json!({
        "case": dir, "digest": case.digest(), "images": images,
        "items": end.map_or(0, |e| e.items), "bytes": space(case), "faults": end.map_or(0, |e| e.faults),
        "seconds": seconds, "peak_memory": peak_memory(), "holds": holds,
    })
}

fn space(case: &Case) -> Space {
    let mut sum = Space::default();
    for done in case.manifest.images.iter().filter_map(|e| e.done.as_ref()) {
        let b = &done.bytes;
        for (total, part) in [
            (&mut sum.content, b.content),
            (&mut sum.metadata, b.metadata),
            (&mut sum.slack, b.slack),
            (&mut sum.unallocated, b.unallocated),
            (&mut sum.gaps, b.gaps),
            (&mut sum.unreadable, b.unreadable),
        ] {
            *total = total.saturating_add(part);
        }
    }
    sum
}

/// The most memory that this process ever held, in bytes; 0 where the system does not tell.
pub(super) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn report(case: &Case, dir: &Path, start: Instant, worked: bool, common: &Common) -> Result<()> {
    let seconds = start.elapsed().as_secs_f64();
    for (evidence, done) in case.manifest.images.iter().filter_map(|e| Some((e, e.done.as_ref()?))) {
        for what in &done.contradictions {
            eprintln!("evidex: {}", crate::text::printable(&format!("{}: {what}", evidence.name)));
        }
    }
    let mut out = std::io::stdout().lock();
    if common.json {
        return Ok(output::json(&mut out, &summary(case, dir, seconds, true))?);
    }
    if common.quiet {
        return Ok(());
    }
    if !worked {
        writeln!(out, "{} is complete already; nothing was changed.", dir.display())?;
        writeln!(out, "digest       {}", case.digest().unwrap_or_default())?;
        return Ok(());
    }
    let counts = super::files::counts(case)?;
    let space = space(case);
    for (kind, count, bytes) in &counts.kinds {
        writeln!(out, "{kind:<12} {count:>10}   {}", output::human(*bytes))?;
    }
    for (status, count) in &counts.statuses {
        writeln!(out, "{status:<12} {count:>10}")?;
    }
    writeln!(out, "faults       {:>10}", case.manifest.end.map_or(0, |e| e.faults))?;
    for (name, bytes) in [
        ("content", space.content),
        ("metadata", space.metadata),
        ("slack", space.slack),
        ("unallocated", space.unallocated),
        ("gaps", space.gaps),
        ("unreadable", space.unreadable),
    ] {
        writeln!(out, "{name:<12} {bytes:>16} bytes")?;
    }
    writeln!(out, "{:<12} {:>16} bytes", "in all", space.total())?;
    writeln!(out, "digest       {}", case.digest().unwrap_or_default())?;
    let memory = output::human(peak_memory());
    writeln!(out, "{} indexed in {seconds:.1} s, at most {memory} of memory", dir.display())?;
    Ok(())
}
