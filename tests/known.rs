//! Volumes that are recognised by their names, and partition tables of every kind, against what `blkid` says of its own test
//! images: the corpus beside the project (or the folder that `EVIDEX_CORPUS` names), without which they are left out, and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{corpus, evidence};
use evidex::image::{View, open};
use evidex::plan::look::look;
use evidex::volume::{VolumeKind, divide};
use serde_json::Value;

/// How file systems are called that are read.
const READ: &[(&str, &[&str])] =
    &[("vfat", &["fat"]), ("ext3", &["ext"]), ("hfs", &["hfsplus"]), ("squashfs", &["squashfs"])];

/// The images of a folder whose manifest names a type: `(name, type)`.
fn typed(folder: &str) -> Vec<(String, String)> {
    let Some(root) = corpus("") else { return Vec::new() };
    let manifest = std::fs::read_to_string(root.parent().unwrap().join("MANIFEST.csv"))
        .or_else(|_| std::fs::read_to_string(root.join("MANIFEST.csv")))
        .expect("the corpus has a manifest");
    let row = |line: &str| {
        let path = line.split(',').next()?.strip_prefix("images/")?.strip_suffix(".zst")?.to_owned();
        let facts = line.get(line.find("\"{")? + 1..)?.trim_end_matches('"').replace("\"\"", "\"");
        let facts: Value = serde_json::from_str(facts.trim_end()).ok()?;
        Some((path, facts["TYPE"].as_str()?.to_owned()))
    };
    manifest.lines().filter_map(row).filter(|(path, _)| path.starts_with(folder)).collect()
}

#[test]
fn every_volume_is_called_by_its_name() {
    let Some(folder) = corpus("images") else { return };
    let images = typed("fs-ident/");
    assert!(images.len() > 50, "the manifest names types");
    for (name, kind) in images {
        let evidence = evidence(&folder, &name);
        let image = open(evidence.path()).expect("it opens");
        let look = look(View::whole(image.as_ref()));
        let ours =
            look.opened.as_ref().map(|(name, _)| *name).or(look.known.map(|known| known.tag)).unwrap_or("nothing");
        let names = READ.iter().find(|(theirs, _)| *theirs == kind).map_or(&[][..], |(_, ours)| ours);
        assert!(ours.eq_ignore_ascii_case(&kind) || names.contains(&ours), "{name}: {kind} is taken for {ours}");
    }
}

/// `(image, scheme, partitions in sectors)`.
type Tables = [(&'static str, &'static str, &'static [(u64, u64)])];

#[test]
fn tables_of_every_kind_are_read() {
    let Some(folder) = corpus("images") else { return };
    let tables: &Tables = &[
        ("pt-ident/atari-primary.img", "atari", &[(2, 10_238)]),
        ("pt-ident/bsd.img", "bsd", &[(7936, 4864), (12_544, 3584)]),
        ("pt-ident/sun.img", "sun", &[(0, 87_380), (87_380, 43_690)]),
        ("pt-ident/gpt.img", "gpt", &[(34, 2014), (2048, 2048), (4096, 2048), (6144, 2048), (8192, 2048)]),
    ];
    for (name, scheme, sectors) in tables {
        let evidence = evidence(&folder, name);
        let image = open(evidence.path()).expect("it opens");
        let layout = divide(View::whole(image.as_ref()));
        assert_eq!(layout.scheme, Some(*scheme), "{name}");
        let partitions = layout.volumes.iter().filter(|volume| volume.kind == VolumeKind::Partition);
        let starts: Vec<u64> = partitions.map(|volume| volume.extent.start / 512).collect();
        assert_eq!(starts, sectors.iter().map(|(start, _)| *start).collect::<Vec<_>>(), "{name}");
        // The test images are cut short: what lies behind their ends is told.
        let whole = |(start, len): &&(u64, u64)| (start + len) * 512 <= image.size();
        let lens = layout.volumes.iter().zip(sectors.iter()).filter(|(_, sectors)| whole(sectors));
        assert!(lens.clone().all(|(volume, (_, len))| volume.extent.len == len * 512), "{name}");
        assert_eq!(
            layout.faults.iter().any(|fault| fault.what.contains("beyond the end")),
            !sectors.iter().all(|s| whole(&s))
        );
    }
}
