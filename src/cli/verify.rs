//! `evidex verify`: does everything still hold?

use super::{CaseArgs, Common, index, output};
use crate::case::{Case, audit, verify};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    case: CaseArgs,
}

pub(super) fn run(args: &VerifyArgs, common: &Common) -> Result<ExitCode> {
    let start = Instant::now();
    let case = Case::open(&args.case.case)?;
    let mut moved: HashMap<String, PathBuf> = HashMap::new();
    for pair in &args.case.evidence {
        let Some((name, path)) = pair.split_once('=') else { bail!("--evidence {pair}: expected NAME=PATH") };
        moved.insert(name.to_owned(), PathBuf::from(path));
    }
    let report = verify::verify(&case, &|name| moved.get(name).cloned())?;
    let holds = report.broken.is_empty();
    // A case on a read-only medium can be verified too; then there is nowhere to note it.
    let noted = audit::note(case.dir(), "verify", json!({"holds": holds, "broken": report.broken}));
    let mut out = std::io::stdout().lock();
    for what in &report.broken {
        eprintln!("evidex: {}", crate::text::printable(what));
    }
    if common.json {
        let mut object = index::summary(&case, &args.case.case, start.elapsed().as_secs_f64(), holds);
        if let Some(map) = object.as_object_mut() {
            map.insert("broken".to_owned(), json!(report.broken));
        }
        output::json(&mut out, &object)?;
    } else if !common.quiet {
        let (images, records, lines) = (report.images, report.records, report.audit);
        writeln!(out, "evidence unchanged: {images}; records that follow: {records}; audit lines: {lines}")?;
        writeln!(out, "digest  {}", case.digest().unwrap_or_else(|| "none: the case is not complete".to_owned()))?;
        writeln!(out, "{}", if holds { "everything holds" } else { "IT DOES NOT HOLD" })?;
    }
    if let (Err(error), false) = (noted, common.quiet) {
        eprintln!("evidex: the audit log could not be written: {error}");
    }
    Ok(super::found(holds))
}
