//! `evidex search`: what a query finds, with a snippet and the byte of the evidence at which each hit stands.

use super::{CaseArgs, Common, found, open_case, output};
use crate::search::hits::{Hit, Hits};
use crate::search::query::{Query, parse};
use crate::search::{Match, Searcher, Sort};
use crate::text::printable;
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SortArg {
    Score,
    Path,
    Size,
    Mtime,
    Offset,
}

impl From<SortArg> for Sort {
    fn from(arg: SortArg) -> Self {
        match arg {
            SortArg::Score => Self::Score,
            SortArg::Path => Self::Path,
            SortArg::Size => Self::Size,
            SortArg::Mtime => Self::Mtime,
            SortArg::Offset => Self::Offset,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Facet {
    Kind,
    Mime,
    Ext,
    Image,
    Status,
    Deleted,
    Author,
}

#[derive(Args)]
pub(super) struct SearchArgs {
    /// Words, "phrases", AND OR NOT, wild*cards, fuzzy~1, /expressions/ and fields such as kind:carved
    #[arg(allow_hyphen_values = true)]
    query: String,
    #[command(flatten)]
    case: CaseArgs,
    /// At most so many items
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Pass over so many first
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: usize,
    /// Order of the results
    #[arg(long, value_enum, default_value = "score")]
    sort: SortArg,
    /// Print only how many items were found
    #[arg(long)]
    count: bool,
    /// Print how many items were found for each value of a field
    #[arg(long, value_enum, value_name = "FIELD", conflicts_with = "count")]
    facet: Option<Facet>,
    /// At most so many hits of an item
    #[arg(long, default_value_t = 1000, value_name = "N")]
    max_hits: usize,
}

/// A result as JSON.
#[derive(Serialize)]
struct Result_<'a> {
    id: &'a str,
    score: f32,
    path: std::borrow::Cow<'a, str>,
    provenance: String,
    kind: &'a str,
    deleted: bool,
    mime: &'a str,
    size: u64,
    mtime: Option<&'a str>,
    snippet: &'a str,
    hits: &'a [Hit],
}

pub(super) fn run(args: &SearchArgs, common: &Common) -> Result<ExitCode> {
    let query = parse(&args.query)?;
    let searcher = open_case(&args.case)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    if args.count {
        let total = searcher.find(&query, Sort::Item, 0, 0)?.total;
        if common.json {
            output::json(&mut out, &serde_json::json!({"count": total}))?;
        } else {
            writeln!(out, "{total}")?;
        }
        return Ok(found(total > 0));
    }
    if let Some(facet) = args.facet {
        return facets(&searcher, &query, facet, common, &mut out);
    }
    let page = searcher.find(&query, args.sort.into(), args.offset, args.limit)?;
    let style = output::Style::of(common);
    for found in &page.matches {
        let hits = searcher.hits(found, &query, args.max_hits);
        if hits.is_none() && !common.quiet && has_content(found) {
            let path = output::path(&found.item);
            eprintln!("evidex: {}: its content cannot be read again: is the evidence in its place?", printable(&path));
        }
        let hits = hits.unwrap_or_default();
        if common.json {
            output::json(&mut out, &result(&searcher, found, &hits))?;
        } else {
            print(&mut out, found, &hits, style)?;
        }
    }
    out.flush()?;
    let shown = args.offset.saturating_add(page.matches.len());
    if !common.json && !common.quiet && shown < page.total {
        let from = args.offset.saturating_add(1);
        eprintln!("{from} to {shown} of {} items; see more with --offset {shown}", page.total);
    }
    Ok(found(page.total > 0))
}

fn has_content(found: &Match) -> bool {
    found.item.text_parts > 0
}

fn result<'a>(searcher: &Searcher, found: &'a Match, hits: &'a Hits) -> Result_<'a> {
    let item = &found.item;
    Result_ {
        id: &item.id,
        score: found.score,
        path: output::path(item),
        provenance: output::provenance(item, searcher.image_name(item.image)),
        kind: item.kind.name(),
        deleted: item.deleted,
        mime: &item.mime,
        size: item.size,
        mtime: item.times.get("mtime").map(String::as_str),
        snippet: &hits.snippet,
        hits: &hits.list,
    }
}

fn print(out: &mut impl Write, found: &Match, hits: &Hits, style: output::Style) -> std::io::Result<()> {
    writeln!(out, "{}", output::line(&found.item, style))?;
    if !hits.snippet.is_empty() {
        writeln!(out, "    {}", marked(&hits.snippet, style))?;
    }
    if let Some(first) = hits.list.first() {
        let place = match first.image_offset {
            Some(at) => format!("at byte {at}"),
            None => "decoded on the way".to_owned(),
        };
        let more = hits.list.len().saturating_sub(1);
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        writeln!(out, "    {}", style.dim(&format!("{place}{more}")))?;
    }
    Ok(())
}

/// The snippet with its hit in colour.
fn marked(snippet: &str, style: output::Style) -> String {
    let safe = printable(snippet);
    match safe.split_once("<<").and_then(|(before, rest)| Some((before, rest.split_once(">>")?))) {
        Some((before, (hit, after))) => format!("{before}{}{after}", style.hit(&format!("<<{hit}>>"))),
        None => safe.into_owned(),
    }
}

fn facets(searcher: &Searcher, query: &Query, facet: Facet, common: &Common, out: &mut impl Write) -> Result<ExitCode> {
    let page = searcher.find(query, Sort::Item, 0, usize::MAX)?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for found in &page.matches {
        let item = &found.item;
        let value = match facet {
            Facet::Kind => item.kind.name().to_owned(),
            Facet::Mime => item.mime.clone(),
            Facet::Ext => item.name().rsplit_once('.').map(|(_, ext)| ext.to_lowercase()).unwrap_or_default(),
            Facet::Image => searcher.image_name(item.image).to_owned(),
            Facet::Status => item.status.name().to_owned(),
            Facet::Deleted => item.deleted.to_string(),
            Facet::Author => item.properties.get("author").cloned().unwrap_or_default(),
        };
        let count = counts.entry(value).or_default();
        *count = count.saturating_add(1);
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (value, count) in counts {
        if common.json {
            output::json(out, &serde_json::json!({"value": value, "count": count}))?;
        } else {
            writeln!(out, "{count:>10}  {}", printable(&value))?;
        }
    }
    out.flush()?;
    Ok(found(page.total > 0))
}
