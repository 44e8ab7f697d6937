//! How results look: JSON as `interface.md` promises it, lines and colour for people.

use super::Common;
use crate::artifact::{Artifact, Kind, Span};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::locator::Locator;
use crate::text::printable;
use clap::ValueEnum;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

/// Escape sequences, or nothing.
#[derive(Clone, Copy)]
pub(super) struct Style(bool);

impl Style {
    pub(super) fn of(common: &Common) -> Self {
        let terminal = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self(match common.color {
            When::Auto => terminal,
            When::Always => true,
            When::Never => false,
        })
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn hit(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}

/// An item as JSON.
#[derive(Serialize)]
pub(super) struct Item<'a> {
    id: &'a str,
    image: &'a str,
    volume: u32,
    path: Cow<'a, str>,
    name: &'a str,
    kind: Kind,
    allocated: bool,
    deleted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    size: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    mime: &'a str,
    extension_mismatch: bool,
    #[serde(flatten)]
    hashes: &'a crate::hash::Hashes,
    #[serde(flatten)]
    times: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    provenance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    extents: &'a [Span],
    status: crate::artifact::Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    contradictions: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    properties: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    faults: &'a [Fault],
}

impl<'a> Item<'a> {
    pub(super) fn new(item: &'a Artifact, image: &'a str) -> Self {
        Self {
            id: &item.id,
            image,
            volume: item.volume,
            path: path(item),
            name: item.name(),
            kind: item.kind,
            allocated: item.allocated,
            deleted: item.deleted,
            recovered: item.recovered.as_deref(),
            origin: item.origin.as_deref(),
            size: item.size,
            mime: &item.mime,
            extension_mismatch: item.extension_mismatch,
            hashes: &item.hashes,
            times: &item.times,
            inode: item.inode.as_deref(),
            parent: item.parent.as_deref(),
            provenance: provenance(item, image),
            target: item.target.as_deref(),
            extents: &item.extents,
            status: item.status,
            note: item.note.as_deref(),
            contradictions: &item.contradictions,
            properties: &item.properties,
            faults: &item.faults,
        }
    }
}

/// Path with members: `/a.zip!b.txt`.
pub(super) fn path(item: &Artifact) -> Cow<'_, str> {
    if item.members.is_empty() {
        return Cow::Borrowed(&item.path);
    }
    Cow::Owned(format!("{}!{}", item.path, item.members.join("!")))
}

/// The way from the image to the item.
pub(super) fn provenance(item: &Artifact, image: &str) -> String {
    let path = if item.path.starts_with('/') { item.path.clone() } else { format!("/{}", item.path) };
    let members = item.members.clone();
    Locator { image: image.to_owned(), volume: item.volume, path, members, offset: None }.to_string()
}

/// `deleted, intact`, `carved`, `live` …
pub(super) fn state(item: &Artifact) -> String {
    let base = match item.kind {
        Kind::Carved => "carved",
        Kind::Unallocated => "unallocated",
        Kind::Slack => "slack",
        Kind::Anomaly => "anomaly",
        _ if item.deleted => "deleted",
        _ => "live",
    };
    let more = [item.recovered.as_deref(), (item.status != crate::artifact::Status::Ok).then(|| item.status.name())];
    std::iter::once(base).chain(more.into_iter().flatten()).collect::<Vec<_>>().join(", ")
}

/// One line for a list.
pub(super) fn line(item: &Artifact, style: Style) -> String {
    let modified = item.times.get("mtime").map_or("-", String::as_str);
    let (id, path) = (&item.id, path(item));
    let size = item.size;
    format!("{}  {:>12}  {modified:<30}  {:<20}  {}", style.dim(id), size, state(item), style.bold(&printable(&path)))
}

/// Writes one JSON object on a line.
pub(super) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Extents as JSON.
pub(super) fn ranges(extents: &[Extent]) -> Vec<serde_json::Value> {
    extents.iter().map(|e| serde_json::json!({"offset": e.start, "length": e.len})).collect()
}

/// Bytes for people.
pub(super) fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A field of CSV (RFC 4180).
pub(super) fn csv(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        field.into()
    }
}
