//! `evidex files`: a case's items, filtered.

use super::{CaseArgs, Common, found, open_case, output};
use crate::artifact::{Artifact, Status};
use crate::case::Case;
use crate::record::{self, Record};
use crate::search::Sort;
use crate::search::query::{Query, Value, parse};
use anyhow::Result;
use clap::Args;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct FilesArgs {
    /// Path with * and ?; without them, any path that contains it
    glob: Option<String>,
    #[command(flatten)]
    case: CaseArgs,
    /// Deleted items only
    #[arg(long, group = "state")]
    deleted: bool,
    /// Items in use only
    #[arg(long, group = "state")]
    allocated: bool,
    /// Carved items only
    #[arg(long, group = "state")]
    carved: bool,
    /// Media type, with * and ?
    #[arg(long = "type", value_name = "MIME")]
    mime: Option<String>,
    /// file, directory, stream, member, attachment, carved, slack, unallocated …
    #[arg(long)]
    kind: Option<String>,
    /// ok, encrypted, damaged, truncated or skipped
    #[arg(long)]
    status: Option<String>,
    /// At least so many bytes (K, M, G as powers of 1024)
    #[arg(long, value_name = "N")]
    min_size: Option<String>,
    /// At most so many bytes
    #[arg(long, value_name = "N")]
    max_size: Option<String>,
    /// Changed at or after this time
    #[arg(long, value_name = "T")]
    after: Option<String>,
    /// Changed at or before this time
    #[arg(long, value_name = "T")]
    before: Option<String>,
    /// With this hash
    #[arg(long, value_name = "HEX")]
    hash: Option<String>,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(super) fn run(args: &FilesArgs, common: &Common) -> Result<ExitCode> {
    let query = query(args)?;
    let searcher = open_case(&args.case)?;
    let page = searcher.find(&query, Sort::Item, 0, usize::MAX)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let style = output::Style::of(common);
    if args.csv {
        writeln!(out, "id,path,kind,allocated,deleted,size,mime,mtime,md5,sha1,sha256,blake3,status,provenance")?;
    }
    for found in &page.matches {
        let (item, image) = (&found.item, searcher.image_name(found.item.image));
        if common.json {
            output::json(&mut out, &output::Item::new(item, image))?;
        } else if args.csv {
            writeln!(out, "{}", csv_row(item, image))?;
        } else {
            writeln!(out, "{}", output::line(item, style))?;
        }
    }
    out.flush()?;
    Ok(found(page.total > 0))
}

/// The filters as a query.
fn query(args: &FilesArgs) -> Result<Query> {
    let mut query = Query::All;
    let mut add = |more: Query| query = std::mem::replace(&mut query, Query::All).and(more);
    if let Some(glob) = &args.glob {
        let wild = glob.contains(['*', '?']);
        // A glob without a slash is meant for the name, wherever it is.
        let pattern = if wild && !glob.contains('/') { format!("*/{glob}") } else { glob.clone() };
        let field = "path";
        add(if wild { Query::Leaf { field, value: Value::Wildcard(pattern) } } else { Query::field(field, glob) });
    }
    for (wanted, field, value) in
        [(args.deleted, "deleted", "true"), (args.allocated, "allocated", "true"), (args.carved, "kind", "carved")]
    {
        if wanted {
            add(Query::field(field, value));
        }
    }
    for (field, value) in [("mime", &args.mime), ("kind", &args.kind), ("status", &args.status)] {
        if let Some(text) = value {
            add(Query::Leaf { field, value: Value::Wildcard(text.clone()) });
        }
    }
    let bound = |b: &Option<String>| b.clone().unwrap_or_else(|| "*".to_owned());
    for (field, from, to) in [("size", &args.min_size, &args.max_size), ("mtime", &args.after, &args.before)] {
        if from.is_some() || to.is_some() {
            add(parse(&format!("{field}:[{} TO {}]", bound(from), bound(to)))?);
        }
    }
    if let Some(hash) = &args.hash {
        add(Query::Or(["md5", "sha1", "sha256", "blake3"].map(|field| Query::field(field, hash)).to_vec()));
    }
    Ok(query.and(Query::All))
}

fn csv_row(item: &Artifact, image: &str) -> String {
    let text = |t: Option<&String>| t.cloned().unwrap_or_default();
    let h = &item.hashes;
    let fields = [
        item.id.clone(),
        output::path(item).into_owned(),
        item.kind.name().to_owned(),
        item.allocated.to_string(),
        item.deleted.to_string(),
        item.size.to_string(),
        item.mime.clone(),
        text(item.times.get("mtime")),
        text(h.md5.as_ref()),
        text(h.sha1.as_ref()),
        text(h.sha256.as_ref()),
        text(h.blake3.as_ref()),
        item.status.name().to_owned(),
        output::provenance(item, image),
    ];
    fields.iter().map(|f| output::csv(&crate::text::printable(f)).into_owned()).collect::<Vec<_>>().join(",")
}

/// How many items of each sort a case holds.
pub(super) struct Counts {
    /// Name, count and bytes of each kind; deleted ones apart.
    pub(super) kinds: Vec<(String, u64, u64)>,
    /// Items that were not read whole, by status.
    pub(super) statuses: Vec<(String, u64)>,
}

/// Counts the items in the journal.
pub(super) fn counts(case: &Case) -> Result<Counts> {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    let Some(end) = case.manifest.end else { return Ok(Counts { kinds: Vec::new(), statuses: Vec::new() }) };
    record::verify(&case.journal(), end, |_, record| {
        let Record::Item(item) = record else { return };
        let name = if item.deleted { format!("{}, deleted", item.kind.name()) } else { item.kind.name().to_owned() };
        let (count, bytes) = kinds.entry(name).or_default();
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(item.size);
        if item.status != Status::Ok {
            let count = statuses.entry(item.status.name().to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    })?;
    let kinds = kinds.into_iter().map(|(name, (count, bytes))| (name, count, bytes)).collect();
    Ok(Counts { kinds, statuses: statuses.into_iter().collect() })
}
