//! `evidex info`: what an image holds: container, partitions, file systems, damage. Needs no case.

use super::{Common, output};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{self, Entry, Facts};
use crate::image::about::About;
use crate::image::{self, View};
use crate::plan;
use crate::text::printable;
use crate::volume::{self, Volume, VolumeKind};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct InfoArgs {
    /// A disk image (the first segment of a split one), a block device or a folder
    image: PathBuf,
    /// List all entries of its file systems, with their places
    #[arg(long)]
    list: bool,
}

/// A volume and what was found in it.
struct Row {
    volume: Volume,
    facts: Option<Facts>,
    remarks: Vec<String>,
}

pub(super) fn run(args: &InfoArgs, common: &Common) -> Result<ExitCode> {
    let image = image::open(&args.image)?;
    let disk = View::whole(image.as_ref());
    if args.list {
        return list(disk, common);
    }
    let layout = volume::divide(disk);
    let rows: Vec<Row> = layout.volumes.iter().map(|v| look(disk, v)).collect();
    let mut faults: Vec<&Fault> = layout.faults.iter().collect();
    let facts = || rows.iter().filter_map(|r| r.facts.as_ref());
    faults.extend(facts().flat_map(|f| &f.faults));
    let anomalies: Vec<&Fault> = facts().flat_map(|f| f.anomalies.iter().map(|a| &a.sign)).collect();
    let mut out = std::io::stdout().lock();
    if common.json {
        let volumes: Vec<Value> = rows.iter().map(as_json).collect();
        let object = json!({"image": args.image, "format": image.format(), "size": image.size(), "scheme": layout.scheme,
                            "sector": layout.sector, "volumes": volumes, "faults": faults, "anomalies": anomalies,
                            "container": about_json(image.about())});
        output::json(&mut out, &object)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}", printable(&args.image.display().to_string()))?;
    let table = layout.scheme.map_or("no partition table", |s| s);
    writeln!(out, "{}, {} bytes, {table}, sectors of {} bytes", image.format(), image.size(), layout.sector)?;
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
fn list(disk: View<'_>, common: &Common) -> Result<ExitCode> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for volume in volume::divide(disk).volumes.iter().filter(|v| v.kind != VolumeKind::Gap) {
        let view = disk.sub(volume.extent);
        let Some(file_system) = fs::claims(view).into_iter().find_map(|(row, _)| (row.open)(view).ok()) else {
            continue;
        };
        let mut written = Ok(());
        fs::list(file_system.as_ref(), &mut |entry| {
            if let (Ok(entry), true) = (entry, written.is_ok()) {
                written = list_entry(&mut out, common.json, volume.number, view, &entry);
            }
        });
        written?;
    }
    out.flush()?;
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

const BLANKS: &str = "              ";

fn list_entry(out: &mut impl Write, as_json: bool, volume: u32, view: View<'_>, entry: &Entry) -> std::io::Result<()> {
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
    let mark = if entry.allocated { " " } else { "-" };
    let size = entry.stream.size.to_string();
    let pad = |text: &str, width: usize| BLANKS.get(..width.saturating_sub(text.len())).unwrap_or_default();
    let (inode, path) = (&entry.inode, printable(&entry.path));
    for piece in
        ["vol", &volume.to_string(), " ", mark, " ", inode, pad(inode, 14), " ", pad(&size, 12), &size, " ", &path]
    {
        out.write_all(piece.as_bytes())?;
    }
    for (offset, length) in extents {
        match offset {
            Some(at) => write!(out, " {at}+{length}")?,
            None => write!(out, " hole+{length}")?,
        }
    }
    out.write_all(b"\n")
}

fn look(disk: View<'_>, volume: &Volume) -> Row {
    let view = disk.sub(volume.extent);
    let mut row = Row { volume: volume.clone(), facts: None, remarks: Vec::new() };
    if volume.kind == VolumeKind::Gap {
        return row;
    }
    for (kind, claim) in fs::claims(view) {
        match (kind.open)(view) {
            _ if row.facts.is_some() => row.remarks.push(format!("also looks like {}: {}", kind.name, claim.reason)),
            Ok(file_system) => {
                let mut facts = file_system.facts().clone();
                facts.anomalies.extend(plan::behind(view, facts.size));
                row.facts = Some(facts);
            }
            Err(fault) => row.remarks.push(format!("looks like {}, but {fault}", kind.name)),
        }
    }
    row
}

const fn kind_name(kind: VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Whole => "whole",
        VolumeKind::Partition => "partition",
        VolumeKind::Gap => "gap",
    }
}

fn as_json(row: &Row) -> Value {
    let v = &row.volume;
    let fs = row
        .facts
        .as_ref()
        .map(|f| json!({"name": f.name, "label": f.label, "id": f.id, "cluster": f.cluster, "size": f.size}));
    json!({"number": v.number, "kind": kind_name(v.kind), "offset": v.extent.start, "length": v.extent.len,
           "type": v.type_name, "name": v.name, "file_system": fs, "remarks": row.remarks})
}

fn print(row: &Row, out: &mut impl Write) -> std::io::Result<()> {
    let v = &row.volume;
    let what = match (&row.facts, v.kind) {
        (Some(f), _) => {
            let label = if f.label.is_empty() { String::new() } else { format!(" \"{}\"", f.label) };
            format!("{}{label} {}, clusters of {} bytes", f.name, f.id, f.cluster)
        }
        (None, VolumeKind::Gap) => "in no partition".to_owned(),
        (None, _) => "no file system that is read".to_owned(),
    };
    let (number, kind) = (v.number, kind_name(v.kind));
    let line = format!("vol{number:<3} {kind:<9} {:>15} {:>15}  {what}", v.extent.start, v.extent.len);
    writeln!(out, "{}", printable(&line))?;
    for text in [&v.type_name, &v.name].into_iter().filter(|t| !t.is_empty()) {
        writeln!(out, "{:<50}{}", "", printable(text))?;
    }
    for remark in &row.remarks {
        writeln!(out, "{:<50}{}", "", printable(remark))?;
    }
    Ok(())
}
