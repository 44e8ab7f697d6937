//! `evidex bench`: throughput stage by stage, to size hardware and to compare versions.

use super::{Common, index, output};
use crate::carve::Scan;
use crate::case::Locked;
use crate::case::ingest::{self, Run, Watch};
use crate::hash::Algorithm;
use crate::image::{self, Image, View, ahead, seal};
use crate::pipeline::{Power, Progress, sweep};
use crate::plan::past::Which;
use crate::plan::{self, Plan, Task, Unit};
use crate::volume::vault::Keys;
use crate::work::{Options, Profile, Worker};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
pub(super) struct BenchArgs {
    /// A disk image [default: the bundled sample]
    image: Option<PathBuf>,
    /// How often each stage is run
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    /// Workers [default: one a processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Where the case of the last stages is made [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// What a stage did in one run.
struct Sample {
    stage: &'static str,
    bytes: u64,
    seconds: f64,
}

impl Sample {
    fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds.max(1e-9)
    }
}

pub(super) fn run(args: &BenchArgs, common: &Common) -> Result<ExitCode> {
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let scratch = scratch.join(format!("evidex-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let outcome = measure(args, common, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    outcome
}

fn measure(args: &BenchArgs, common: &Common, scratch: &Path) -> Result<ExitCode> {
    let path = match &args.image {
        Some(path) => path.clone(),
        None => super::demo::unpack(scratch)?,
    };
    let image = image::open(&path)?;
    let threads = args.threads.unwrap_or_else(index::cores).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut samples = Vec::new();
    for _ in 0..args.runs.max(1) {
        pool.install(|| stages(image.as_ref(), &mut samples))?;
        for (stage, profile) in [("index", Profile::Triage), ("whole", Profile::Standard)] {
            let case = scratch.join("case");
            samples.push(timed(stage, || case_of(&path, &case, profile, threads))?);
            std::fs::remove_dir_all(&case)?;
        }
    }
    report(&path, image.size(), threads, &samples, common)
}

/// Runs `work`, which gives how many bytes it went through.
fn timed(stage: &'static str, work: impl FnOnce() -> Result<u64>) -> Result<Sample> {
    let start = Instant::now();
    let bytes = work()?;
    Ok(Sample { stage, bytes, seconds: start.elapsed().as_secs_f64() })
}

fn stages(image: &dyn Image, samples: &mut Vec<Sample>) -> Result<()> {
    let disk = View::whole(image);
    samples.push(timed("map", || {
        let mut sum = 0u64;
        ahead::each_part(image, 64 << 20, |bytes| {
            let words = bytes.chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default()));
            sum = words.fold(sum, u64::wrapping_add);
        })?;
        std::hint::black_box(sum);
        Ok(image.size())
    })?);
    samples.push(timed("hash", || {
        seal::hashes(image, &Algorithm::ALL)?;
        Ok(image.size())
    })?);
    let mut planned = None;
    samples.push(timed("list", || {
        planned = Some(plan::plan(disk, Which::default()));
        Ok(image.size())
    })?);
    let Some(plan) = planned else { return Ok(()) };
    samples.push(timed("carve", || {
        let pieces = plan.units.iter().filter_map(|unit| match &unit.task {
            Task::Window(pieces) => Some(pieces),
            Task::Entry(_) | Task::Anomaly(_) => None,
        });
        let stretches: Vec<_> = pieces.flatten().map(|p| p.extent).collect();
        let scan = Scan::new(crate::registry::CARVERS, 512);
        sweep::sweep(disk, &stretches, &scan, |_| Ok::<(), std::convert::Infallible>(()))?;
        Ok(stretches.iter().fold(0, |sum, e| sum.saturating_add(e.len)))
    })?);
    samples.push(timed("extract", || Ok(extract(disk, &plan)))?);
    image.release();
    Ok(())
}

/// Reads text and members out of all files, without hashing and without an index.
fn extract(disk: View<'_>, plan: &Plan) -> u64 {
    use rayon::prelude::*;
    let options = Options { hashes: Vec::new(), ..Options::default() };
    let worker = Worker::new(disk, 0, &plan.volumes, &plan.units, &options);
    let files: Vec<&Unit> = plan.units.iter().filter(|u| matches!(u.task, Task::Entry(_))).collect();
    files
        .par_iter()
        .map(|unit| {
            std::hint::black_box(worker.run(unit));
            unit.bytes()
        })
        .sum()
}

/// Watches nothing.
struct Blind(Progress);

impl Watch for Blind {
    fn begin(&self, _: &str, _: &Plan, _: u64, _: u64) {}
    fn progress(&self) -> &Progress {
        &self.0
    }
    fn end(&self) {}
}

fn case_of(path: &Path, case: &Path, profile: Profile, threads: usize) -> Result<u64> {
    let options = Options { profile, ..Options::default() };
    let mut locked = Locked::open(case, &options)?;
    let run = Run { power: Power { threads, memory: 128 << 20 }, checkpoint: 2 << 30 };
    ingest::index(&mut locked, &[(path.to_owned(), None)], &Keys::default(), run, &Blind(Progress::default()))?;
    Ok(locked.case.manifest.images.iter().fold(0, |sum, e| sum.saturating_add(e.seal.size)))
}

fn report(path: &Path, size: u64, threads: usize, samples: &[Sample], common: &Common) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let machine = machine();
    if common.json {
        for s in samples {
            let row = json!({"stage": s.stage, "bytes": s.bytes, "seconds": s.seconds, "mb_per_s": s.rate()});
            output::json(&mut out, &row)?;
        }
        let last = json!({"machine": machine, "threads": threads, "image": path, "size": size,
                          "version": env!("CARGO_PKG_VERSION"), "peak_memory": index::peak_memory()});
        output::json(&mut out, &last)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "evidex {}, {threads} threads, {machine}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "{}, {}", crate::text::printable(&path.display().to_string()), output::human(size))?;
    writeln!(
        out,
        "{:<8} {:>14} {:>10} {:>10} {:>10} {:>10}",
        "stage", "bytes", "best s", "median s", "worst s", "MB/s"
    )?;
    let mut stages: Vec<&str> = Vec::new();
    samples.iter().for_each(|s| {
        if !stages.contains(&s.stage) {
            stages.push(s.stage)
        }
    });
    for stage in stages {
        let mut of: Vec<&Sample> = samples.iter().filter(|s| s.stage == stage).collect();
        of.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let (Some(best), Some(median), Some(worst)) = (of.first(), of.get(of.len() / 2), of.last()) else { continue };
        let (a, b, c, rate) = (best.seconds, median.seconds, worst.seconds, median.rate());
        writeln!(out, "{stage:<8} {:>14} {a:>10.3} {b:>10.3} {c:>10.3} {rate:>10.0}", best.bytes)?;
    }
    writeln!(out, "peak memory {}", output::human(index::peak_memory()))?;
    Ok(ExitCode::SUCCESS)
}

/// Processor, cores and memory of this machine.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_once(':'));
        line.map(|(_, v)| v.trim().to_owned()).unwrap_or_else(|| "unknown".to_owned())
    };
    let (cpu, memory) = (value(&read("/proc/cpuinfo"), "model name"), value(&read("/proc/meminfo"), "MemTotal"));
    format!("{cpu}, {} cores, {memory}", index::cores())
}
