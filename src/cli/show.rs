//! `evidex show`: one item: what is known of it, its text, its bytes, or where a query hits it.

use super::{CaseArgs, Common, found, open_case, output};
use crate::artifact::{Artifact, Kind};
use crate::content::Content;
use crate::search::hits::Hit;
use crate::search::query::parse;
use crate::search::{Match, Searcher};
use crate::text::printable;
use crate::work::derive;
use anyhow::Result;
use clap::Args;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Bytes of a row of a hex dump.
const ROW: u64 = 16;

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The item's id, or the beginning of it
    id: String,
    #[command(flatten)]
    case: CaseArgs,
    /// Its text
    #[arg(long, group = "what")]
    text: bool,
    /// Its bytes, each row with its place in the evidence; with --hits, those of the hits
    #[arg(long)]
    hex: bool,
    /// Its bytes as they are
    #[arg(long, group = "what")]
    raw: bool,
    /// Where a query hits it
    #[arg(long, value_name = "QUERY", group = "what")]
    hits: Option<String>,
    /// For --hex: first byte of the content
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u64,
    /// For --hex: how many bytes
    #[arg(long, value_name = "N")]
    length: Option<u64>,
}

pub(super) fn run(args: &ShowArgs, common: &Common) -> Result<ExitCode> {
    let query = args.hits.as_deref().map(parse).transpose()?;
    let searcher = open_case(&args.case)?;
    let item = searcher.item(&args.id.to_lowercase())?;
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(query) = query {
        let found_item = Match { parts: (0..item.text_parts).collect(), item, score: 0.0 };
        let hits = searcher.hits(&found_item, &query, usize::MAX).unwrap_or_default();
        show_hits(&searcher, &found_item.item, &hits.list, args.hex, common, &mut out)?;
        out.flush()?;
        return Ok(found(!hits.list.is_empty()));
    }
    if args.text {
        text(&searcher, &item, &mut out)?;
    } else if args.raw {
        each_part(&searcher, &item, |part| out.write_all(part))?;
    } else if args.hex {
        let length = args.length.unwrap_or(item.size);
        let mut outcome = Ok(());
        searcher.with_content(&item, &mut |content| outcome = hex(content, args.offset, length, &mut out))?;
        outcome?;
    } else if common.json {
        output::json(&mut out, &output::Item::new(&item, searcher.image_name(item.image)))?;
    } else {
        facts(&searcher, &item, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What is known of it, a line each.
fn facts(searcher: &Searcher, item: &Artifact, out: &mut impl Write) -> Result<()> {
    let json = serde_json::to_value(output::Item::new(item, searcher.image_name(item.image)))?;
    let order = ["id", "provenance", "path", "kind", "size", "mime", "md5", "sha1", "sha256", "blake3", "status"];
    let map = json.as_object().cloned().unwrap_or_default();
    let rest = map.keys().map(String::as_str).filter(|k| !order.contains(k));
    for key in order.into_iter().chain(rest) {
        match map.get(key) {
            None | Some(serde_json::Value::Null) => {}
            Some(serde_json::Value::String(text)) => writeln!(out, "{key:<18} {}", printable(text))?,
            Some(serde_json::Value::Array(rows)) => {
                for row in rows {
                    writeln!(out, "{key:<18} {}", printable(&row.to_string()))?;
                }
            }
            Some(value) => writeln!(out, "{key:<18} {}", printable(&value.to_string()))?,
        }
    }
    Ok(())
}

/// The whole text, as the index has it; escaped where a terminal would obey it, but for line ends and tabs.
fn text(searcher: &Searcher, item: &Artifact, out: &mut impl Write) -> Result<()> {
    let mut outcome = Ok(());
    searcher.with_content(item, &mut |content| outcome = write_text(item, content, out))?;
    Ok(outcome?)
}

fn write_text(item: &Artifact, content: &Content<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut outcome = Ok(());
    let parts: Vec<u32> = (0..item.text_parts).collect();
    derive::text_parts(item, content, &parts, &mut |_, text| {
        outcome = text.body.lines().try_for_each(|line| {
            let cells: Vec<_> = line.split('\t').map(printable).collect();
            writeln!(out, "{}", cells.join("\t"))
        });
        outcome.is_ok()
    });
    outcome
}

/// Calls `take` with all bytes of an item, in order.
pub(super) fn each_part(
    searcher: &Searcher,
    item: &Artifact,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let mut outcome = Ok(());
    searcher.with_content(item, &mut |content| {
        for part in content.parts() {
            outcome = match (&outcome, part) {
                (Err(_), _) => return,
                (_, Ok(bytes)) => take(&bytes),
                (_, Err(fault)) => Err(io::Error::other(format!("{}: {fault}", item.path))),
            };
        }
    })?;
    Ok(outcome?)
}

fn show_hits(
    searcher: &Searcher,
    item: &Artifact,
    hits: &[Hit],
    bytes: bool,
    common: &Common,
    out: &mut impl Write,
) -> Result<()> {
    for hit in hits {
        if common.json {
            output::json(out, hit)?;
            continue;
        }
        let place = hit.image_offset.map_or_else(|| "decoded on the way".to_owned(), |at| format!("byte {at}"));
        let encoding = hit.encoding.as_deref().unwrap_or("-");
        writeln!(out, "{place:<20} text {:>10}  {encoding:<12} {}", hit.text_offset, printable(&hit.term))?;
        if let (true, Some(at)) = (bytes, hit.content_offset) {
            let start = at.saturating_sub(at % ROW);
            let length = at.saturating_sub(start).saturating_add(hit.image_length.unwrap_or(ROW)).next_multiple_of(ROW);
            let mut outcome = Ok(());
            searcher.with_content(item, &mut |content| outcome = hex(content, start, length, out))?;
            outcome?;
        }
    }
    if hits.is_empty() && item.kind == Kind::Directory {
        writeln!(io::stderr(), "evidex: a directory has no text")?;
    }
    Ok(())
}

/// Rows of 16 bytes, each with its offset in the image, or with `+` and its offset in the content where it has none.
fn hex(content: &Content<'_>, offset: u64, length: u64, out: &mut impl Write) -> io::Result<()> {
    let end = offset.saturating_add(length).min(content.size());
    let mut at = offset;
    while at < end {
        let row = content.slice(at, ROW.min(end.saturating_sub(at))).prefix(ROW).into_owned();
        if row.is_empty() {
            return Err(io::Error::other(format!("the content cannot be read at byte {at}")));
        }
        let place = content.locate(at).map_or_else(|| format!("+{at:015x}"), |there| format!("{there:016x}"));
        let digits: Vec<String> = row.iter().map(|b| format!("{b:02x}")).collect();
        let ascii: String = row.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect();
        writeln!(out, "{place}  {:<47}  |{ascii}|", digits.join(" "))?;
        at = at.saturating_add(row.len() as u64);
    }
    Ok(())
}
