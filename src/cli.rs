//! The command line, as `docs/GUIDE.md` describes it. Each command is one file below `cli/`.

mod bench;
mod carve;
mod demo;
mod extract;
mod files;
mod hash;
mod index;
mod info;
mod keys;
mod output;
mod progress;
mod search;
mod show;
mod verify;

use crate::case::Case;
use crate::search::Searcher;
use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Indexes disk images for digital forensics: every file, live, deleted or carved, hashed, read and searchable.
#[derive(Parser)]
#[command(name = "evidex", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
struct Common {
    /// JSON Lines instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Colour on the terminal: auto, always or never
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    color: output::When,
    /// No progress bar
    #[arg(long, global = true)]
    no_progress: bool,
    /// No progress, no summary: errors only
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// Which case a command reads.
#[derive(Args, Clone)]
struct CaseArgs {
    /// The case folder
    #[arg(short, long = "case", env = "EVIDEX_CASE", value_name = "DIR")]
    case: PathBuf,
    /// Where a piece of evidence lies now, if it was moved
    #[arg(long, value_name = "NAME=PATH")]
    evidence: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Index images, or folders of files, into a case
    Index(index::IndexArgs),
    /// Search a case
    Search(search::SearchArgs),
    /// List a case's items
    Files(files::FilesArgs),
    /// Show one item: what is known of it, its text, its bytes, or where a query hits it
    Show(show::ShowArgs),
    /// Write items' content out, with a manifest of hashes
    Extract(extract::ExtractArgs),
    /// Hash the evidence again and check it, the case's records and its audit log
    Verify(verify::VerifyArgs),
    /// Show what an image holds: partitions, file systems, damage
    Info(info::InfoArgs),
    /// Carve an image straight to files
    Carve(carve::CarveArgs),
    /// Hash the evidence bytes
    Hash(hash::HashArgs),
    /// Measure throughput stage by stage
    Bench(bench::BenchArgs),
    /// Index and search the bundled sample image
    Demo(demo::DemoArgs),
    /// Print completions for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Print the manual page of evidex or of one of its commands
    Man {
        /// The command
        command: Option<String>,
    },
}

/// Runs the command line; gives the exit status.
///
/// # Errors
/// What ends the command.
pub fn run() -> Result<ExitCode> {
    let cli = Cli::parse();
    let common = &cli.common;
    match cli.command {
        Command::Index(args) => index::run(&args, common),
        Command::Search(args) => search::run(&args, common),
        Command::Files(args) => files::run(&args, common),
        Command::Show(args) => show::run(&args, common),
        Command::Extract(args) => extract::run(&args, common),
        Command::Verify(args) => verify::run(&args, common),
        Command::Info(args) => info::run(&args, common),
        Command::Carve(args) => carve::run(&args, common),
        Command::Hash(args) => hash::run(&args, common),
        Command::Bench(args) => bench::run(&args, common),
        Command::Demo(args) => demo::run(&args, common),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    }
}

/// Printed in one piece, so that a closed pipe is an error like any other, not a panic of the generator.
fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "evidex", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn man(command: Option<&str>) -> Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    let page = match command {
        None => root,
        Some(name) => root.find_subcommand(name).with_context(|| format!("there is no command `{name}`"))?.clone(),
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    std::io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the case that a command reads.
fn open_case(args: &CaseArgs) -> Result<Searcher> {
    let mut moved = HashMap::new();
    for pair in &args.evidence {
        let Some((name, path)) = pair.split_once('=') else { bail!("--evidence {pair}: expected NAME=PATH") };
        moved.insert(name.to_owned(), PathBuf::from(path));
    }
    Ok(Searcher::open(Case::open(&args.case)?, moved)?)
}

/// 0 where something was found, 1 where nothing was.
fn found(any: bool) -> ExitCode {
    if any { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
