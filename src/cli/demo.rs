//! `evidex demo`: the main job on a small disk that comes with evidex: a fraud case with live, deleted, carved and
//! archived evidence on NTFS, FAT32 and ext4 (fixtures/demo/README.md tells its story).

use super::Common;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The disk, compressed.
static DISK: &[u8] = include_bytes!("../../fixtures/demo/disk.dd.zst");

/// Each search and what it shows.
const SEARCHES: [(&str, &str); 4] = [
    ("a live file", "\"harbour ledger\" deleted:false kind:file"),
    ("a deleted file", "deleted:true \"transfer the balance\""),
    ("a carved file, which nothing lists any more", "kind:carved invoice"),
    ("a file in an archive in an archive", "kind:member passphrase"),
];

/// Says that a folder was made here, and may be made anew.
const MARK: &str = ".evidex-demo";

#[derive(Args)]
pub(super) struct DemoArgs {
    /// The folder to work in, made anew
    #[arg(long, default_value = "evidex-demo", value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(args: &DemoArgs, _common: &Common) -> Result<ExitCode> {
    if args.to.exists() {
        if !args.to.join(MARK).exists() {
            bail!("{}: is there already and not ours: choose another folder with --to", args.to.display());
        }
        std::fs::remove_dir_all(&args.to)?;
    }
    std::fs::create_dir_all(&args.to).with_context(|| args.to.display().to_string())?;
    File::create(args.to.join(MARK))?;
    let image = unpack(&args.to)?;
    let case = args.to.join("case");
    let (image, case) = (image.display().to_string(), case.display().to_string());
    step(&["info", &image])?;
    step(&["index", &image, "-c", &case])?;
    let mut shown = None;
    for (what, query) in SEARCHES {
        println!("\n# {what}");
        step(&["search", query, "-c", &case])?;
        if shown.is_none() {
            shown = first_hit(query, &case)?.map(|(id, at)| (id, at, query));
        }
    }
    let Some((id, at, query)) = shown else { bail!("the demonstration found nothing: this build is broken") };
    println!("\n# that hit's bytes, read from the disk at byte {at}");
    step(&["show", &id, "--hits", query, "--hex", "-c", &case])?;
    step(&["verify", "-c", &case])?;
    let evidex = std::env::args().next().unwrap_or_else(|| "evidex".to_owned());
    println!("\nTry next:");
    for command in [
        format!("{evidex} files --deleted -c {case}"),
        format!("{evidex} files --status damaged --json -c {case}"),
        format!("{evidex} search 'iban OR account' --sort offset -c {case}"),
        format!("{evidex} show {id} -c {case}"),
        format!("{evidex} extract --query 'kind:carved' --to {}/carved -c {case}", args.to.display()),
        format!("{evidex} index YOUR.dd && {evidex} search WORDS -c YOUR.dd.case"),
    ] {
        println!("  {command}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the disk into `dir`.
pub(super) fn unpack(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("disk.dd");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    zstd::stream::copy_decode(DISK, &mut file)?;
    file.sync_all()?;
    Ok(path)
}

/// Prints a command and runs it, as a user would.
fn step(args: &[&str]) -> Result<()> {
    let quoted = |a: &&str| if a.contains([' ', '"', '\'']) { format!("'{a}'") } else { (*a).to_owned() };
    println!("\n$ evidex {}", args.iter().map(quoted).collect::<Vec<_>>().join(" "));
    let status = evidex()?.args(args).status()?;
    if status.success() { Ok(()) } else { bail!("evidex {}: ended with {status}", args.join(" ")) }
}

/// Id of the first item that a query finds, and where in the image its first hit stands.
fn first_hit(query: &str, case: &str) -> Result<Option<(String, u64)>> {
    let output = evidex()?.args(["search", query, "--json", "-c", case]).output()?;
    for line in output.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let result: Value = serde_json::from_slice(line)?;
        let at = result.pointer("/hits/0/image_offset").and_then(Value::as_u64);
        if let (Some(id), Some(at)) = (result.get("id").and_then(Value::as_str), at) {
            return Ok(Some((id.to_owned(), at)));
        }
    }
    Ok(None)
}

fn evidex() -> Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}
