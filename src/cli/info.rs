//! `evidex info`: what an image holds: container, partitions, file systems, damage. Needs no case.

use super::index::cores;
use super::keys::KeyArgs;
use super::{Common, output};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::known::{Kind, Known, recognise};
use crate::fs::{self, Batch, Entry, Facts};
use crate::image::about::About;
use crate::image::{View, original};
use crate::pipeline;
use crate::plan;
use crate::plan::look::look;
use crate::plan::past::{self, Past, Seen, Which};
use crate::plan::told::Teller;
use crate::text::{Decimal, printable};
use crate::volume::open::open;
use crate::volume::{self, Layout, Volume, VolumeKind};
use anyhow::Result;
use clap::{Args, ValueEnum};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct InfoArgs {
    /// A disk image (the first segment of a split one), a block device or a folder
    image: PathBuf,
    /// List all entries of its file systems, with their places
    #[arg(long)]
    list: bool,
    /// With --list, what volumes held at the times of their snapshots
    #[arg(long, value_enum, default_value = "changed")]
    snapshots: SnapshotsArg,
    #[command(flatten)]
    keys: KeyArgs,
}

/// What of the earlier times of a volume is listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SnapshotsArg {
    /// What changed since, each version once
    Changed,
    /// All that was there
    All,
    /// Nothing
    None,
}

impl SnapshotsArg {
    pub(super) const fn which(self) -> Which {
        match self {
            Self::Changed => Which::Changed,
            Self::All => Which::All,
            Self::None => Which::None,
        }
    }
}

/// A volume and what was found in it.
struct Row {
    volume: Volume,
    facts: Option<Facts>,
    known: Option<Known>,
    remarks: Vec<String>,
    /// What is damaged of how it is locked.
    faults: Vec<Fault>,
}

pub(super) fn run(args: &InfoArgs, common: &Common) -> Result<ExitCode> {
    let image = open(&args.image, &args.keys.read()?)?.image;
    let disk = View::whole(image.as_ref());
    if args.list {
        return pipeline::on_workers(cores(), || list(disk, args.snapshots.which(), common))?;
    }
    let layout = volume::divide(disk);
    let pasts = past::find(disk, &layout);
    let mut rows: Vec<Row> = layout.volumes.iter().map(|v| look_at(disk, &layout, v)).collect();
    let inside = pasts.iter().filter(|past| layout.volumes.iter().all(|v| v.number != past.volume.number));
    rows.extend(inside.map(|past| look_at(disk, &layout, &past.volume)));
    let mut faults: Vec<&Fault> = layout.faults.iter().collect();
    let facts = || rows.iter().filter_map(|r| r.facts.as_ref());
    faults.extend(rows.iter().flat_map(|row| &row.faults).chain(facts().flat_map(|f| &f.faults)));
    faults.extend(pasts.iter().flat_map(|past| &past.faults));
    let unlike = volume::copies::disagreements(disk, &layout);
    let mut anomalies: Vec<&Fault> = facts().flat_map(|f| f.anomalies.iter().map(|a| &a.sign)).collect();
    anomalies.extend(unlike.iter().map(|found| &found.sign));
    let mut out = std::io::stdout().lock();
    if common.json {
        let volumes: Vec<Value> = rows.iter().map(as_json).collect();
        let object = json!({"image": args.image, "format": image.format(), "size": original(image.as_ref()).size(), "scheme": layout.scheme,
                            "sector": layout.sector, "volumes": volumes, "faults": faults, "anomalies": anomalies,
                            "container": about_json(image.about())});
        output::json(&mut out, &object)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}", printable(&args.image.display().to_string()))?;
    let table = layout.scheme.map_or("no partition table", |s| s);
    writeln!(
        out,
        "{}, {} bytes, {table}, sectors of {} bytes",
        image.format(),
        original(image.as_ref()).size(),
        layout.sector
    )?;
    print_about(image.about(), &mut out)?;
    for row in &rows {
        print(row, &mut out)?;
    }
    for fault in faults {
        writeln!(out, "damaged: {}", printable(&fault.to_string()))?;
    }
    for sign in anomalies {
        writeln!(out, "contradiction: {}", printable(&sign.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A line an entry: volume, `-` for what is deleted, metadata address, size, path, and where the content lies.
fn list(disk: View<'_>, which: Which, common: &Common) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    let layout = volume::divide(disk);
    let pasts = if which == Which::None { Vec::new() } else { past::find(disk, &layout) };
    let mut written = Ok(());
    let mut write = |number: u32, base: View<'_>, batch: &[Listed]| {
        for entries in batch.chunks(BATCH) {
            if written.is_ok() {
                written = list_batch(&mut out, common.json, number, base, entries);
            }
        }
    };
    let is_today = |volume: &Volume| !matches!(volume.kind, VolumeKind::Gap | VolumeKind::Snapshot);
    let whole = |volume: &Volume| is_today(volume) && !layout.members.contains(&volume.number);
    for (row, volume) in layout.volumes.iter().enumerate().filter(|(_, volume)| whole(volume)) {
        let pasts: Vec<&Past> = pasts.iter().filter(|past| past.row == row).collect();
        let mut seen = Seen::default();
        let teller = Teller::new(disk, volume);
        volume.with(disk, |view| {
            let Some((_, file_system)) = look(view).opened else { return };
            fs::list(file_system.as_ref(), &mut |batch| {
                let batch: Batch = batch.into_iter().map(|entry| teller.listed(entry)).collect();
                if !pasts.is_empty() {
                    batch.iter().flatten().for_each(|entry| seen.take(entry));
                }
                write(volume.number, teller.base(), &batch);
            });
        });
        for past in pasts {
            let base = disk.sub(past.volume.extent);
            past.list(disk, which, &mut seen, &mut |batch| write(past.volume.number, base, &batch));
        }
    }
    written?;
    Ok(ExitCode::SUCCESS)
}

fn about_json(about: &About) -> Value {
    let hashes: Vec<Value> = about.hashes.iter().map(|s| json!({"algorithm": s.algorithm, "hash": s.hex})).collect();
    let facts: Vec<Value> = about.facts.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"hashes": hashes, "facts": facts, "faults": about.faults, "remarks": about.remarks})
}

fn print_about(about: &About, out: &mut impl Write) -> std::io::Result<()> {
    for (name, value) in &about.facts {
        writeln!(out, "{:<20} {}", printable(name), printable(value))?;
    }
    for stored in &about.hashes {
        writeln!(
            out,
            "{:<20} {}, as the container says; `evidex hash` checks it",
            stored.algorithm.name(),
            stored.hex
        )?;
    }
    for what in &about.faults {
        writeln!(out, "the container is damaged: {}", printable(what))?;
    }
    for what in &about.remarks {
        writeln!(out, "the container: {}", printable(what))?;
    }
    Ok(())
}

type Listed = std::result::Result<Entry, Fault>;

/// Entries whose lines are made before they are written, and those that one thread makes at a time.
const BATCH: usize = 1 << 14;
const PIECE: usize = 1 << 8;

/// Makes the lines of these entries side by side, and writes them in order.
fn list_batch(
    out: &mut impl Write,
    as_json: bool,
    volume: u32,
    view: View<'_>,
    entries: &[Listed],
) -> std::io::Result<()> {
    let lines = |entries: &[Listed]| {
        let mut lines = Vec::with_capacity(PIECE << 7);
        let entries = entries.iter().flatten();
        let mut lines_of = |entry| list_entry(&mut lines, as_json, volume, view, entry);
        entries.into_iter().try_for_each(&mut lines_of).map(|()| lines)
    };
    let pieces: Vec<std::io::Result<Vec<u8>>> = entries.par_chunks(PIECE).map(lines).collect();
    pieces.into_iter().try_for_each(|piece| out.write_all(&piece?))
}

const BLANKS: &[u8] = b"              ";

fn list_entry(out: &mut Vec<u8>, as_json: bool, volume: u32, view: View<'_>, entry: &Entry) -> std::io::Result<()> {
    let extents = entry.stream.extents(view, Extent::new(0, entry.stream.size));
    if as_json {
        let place = |(offset, length): &(Option<u64>, u64)| json!({"offset": offset, "length": length});
        let extents: Vec<Value> = extents.iter().map(place).collect();
        return output::json(
            out,
            &json!({"volume": volume, "inode": entry.inode, "deleted": !entry.allocated,
            "recovered": entry.recovered.map(fs::Recovered::name), "origin": entry.origin.name(), "note": entry.note,
            "size": entry.stream.size, "path": entry.path, "extents": extents}),
        );
    }
    let mark: &[u8] = if entry.allocated { b" " } else { b"-" };
    let pad = |text: &[u8], width: usize| BLANKS.get(..width.saturating_sub(text.len())).unwrap_or_default();
    let (volume, size, path) = (Decimal::new(volume.into()), Decimal::new(entry.stream.size), printable(&entry.path));
    let (inode, size) = (entry.inode.as_bytes(), size.as_bytes());
    let head = [b"vol", volume.as_bytes(), b" ", mark, b" ", inode, pad(inode, 14), b" ", pad(size, 12), size, b" "];
    head.iter().for_each(|piece| out.extend_from_slice(piece));
    out.extend_from_slice(path.as_bytes());
    for (offset, length) in extents {
        let (offset, length) = (offset.map(Decimal::new), Decimal::new(length));
        let offset = offset.as_ref().map_or(&b"hole"[..], Decimal::as_bytes);
        [b" ", offset, b"+", length.as_bytes()].iter().for_each(|piece| out.extend_from_slice(piece));
    }
    out.push(b'\n');
    Ok(())
}

fn look_at(disk: View<'_>, layout: &Layout, volume: &Volume) -> Row {
    let mut row = Row { volume: volume.clone(), facts: None, known: None, remarks: Vec::new(), faults: Vec::new() };
    let bare = volume.kind == VolumeKind::Gap || layout.members.contains(&volume.number);
    if volume.kind == VolumeKind::Gap || volume.kind == VolumeKind::Snapshot {
        return row;
    }
    volume.with(disk, |view| {
        if bare {
            row.known = recognise(view);
            return;
        }
        let look = look(view);
        (row.known, row.remarks) = (look.known, look.remarks);
        if let Some(locked) = look.locked {
            row.remarks.push(locked.sentence());
            let teller = Teller::new(disk, volume);
            row.faults.extend(locked.faults.into_iter().map(|fault| teller.fault(fault)));
        }
        row.remarks.extend(look.also.into_iter().map(|(_, what)| what));
        row.facts = look.opened.map(|(_, file_system)| {
            let mut facts = file_system.facts().clone();
            facts.anomalies.extend(plan::behind(view, facts.size));
            Teller::new(disk, volume).facts(&facts)
        });
    });
    row
}

fn as_json(row: &Row) -> Value {
    let v = &row.volume;
    let fs = row
        .facts
        .as_ref()
        .map(|f| json!({"name": f.name, "label": f.label, "id": f.id, "cluster": f.cluster, "size": f.size}));
    json!({"number": v.number, "kind": v.kind.name(), "offset": v.first(), "length": v.size(),
           "type": v.type_name, "name": v.name, "of": v.past.map(|(of, _)| of),
           "made": v.past.and_then(|(_, made)| made).map(|made| made.rfc3339()), "file_system": fs, "made_of": v.parts.as_ref().map(|parts| &parts.of),
           "recognised": row.known.map(|k| json!({"name": k.name, "tag": k.tag, "kind": k.kind.name()})),
           "remarks": row.remarks})
}

/// What a volume is whose file system is not read.
fn not_read(row: &Row) -> String {
    match row.known {
        Some(known) if known.kind == Kind::Member => known.name.to_owned(),
        Some(known) => format!("{}, not read", known.name),
        None => "no file system that is read".to_owned(),
    }
}

fn print(row: &Row, out: &mut impl Write) -> std::io::Result<()> {
    let v = &row.volume;
    let what = match (&row.facts, v.kind) {
        (Some(f), _) => {
            let label = if f.label.is_empty() { String::new() } else { format!(" \"{}\"", f.label) };
            format!("{}{label} {}, clusters of {} bytes", f.name, f.id, f.cluster)
        }
        (None, VolumeKind::Gap) => "in no partition".to_owned(),
        (None, VolumeKind::Snapshot) => {
            let (of, made) = v.past.unwrap_or_default();
            format!("vol{of} as of {}", made.map_or("an unknown time".to_owned(), |made| made.rfc3339()))
        }
        (None, _) => not_read(row),
    };
    let (number, kind) = (v.number, v.kind.name());
    let line = format!("vol{number:<3} {kind:<9} {:>15} {:>15}  {what}", v.first(), v.size());
    writeln!(out, "{}", printable(&line))?;
    for text in [&v.type_name, &v.name].into_iter().filter(|t| !t.is_empty()) {
        writeln!(out, "{:<50}{}", "", printable(text))?;
    }
    for remark in &row.remarks {
        writeln!(out, "{:<50}{}", "", printable(remark))?;
    }
    Ok(())
}
