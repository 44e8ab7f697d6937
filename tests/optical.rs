//! Optical discs that other programs write, compared with what these were given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::tool;
use common::{corpus, evidence, scratch};
use evidex::content::Content;
use evidex::fs::{Entry, EntryKind, Recovered, claims, entries};
use evidex::image::{Image, View, open};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files to be written: names of every length, sizes up to some hundred kilobytes, folders so deep that they are moved.
fn tree() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let folders = ["", "first/", "first/second and longer/", "a/b/c/d/e/f/g/h/i/j/", "\u{65e5}\u{672c}/"];
    for n in 0..500u32 {
        let size = n * n * 2 % 50_021;
        let bytes = (0..size).flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ n).to_le_bytes()).take(size as usize);
        let folder = folders[n as usize % folders.len()];
        files.insert(format!("{folder}file {n} {}", "x".repeat(n as usize % 200)), bytes.collect());
    }
    files
}

fn write(root: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn content(view: View<'_>, entry: &Entry) -> Vec<u8> {
    let content = Content::new(view, &entry.stream);
    content.parts().map(|part| part.expect("it is read").into_owned()).collect::<Vec<_>>().concat()
}

/// Everything that a disc lists: entries with their content, and where it contradicts itself.
fn listed(image: &dyn Image) -> (Vec<(Entry, Vec<u8>)>, Vec<String>) {
    let view = View::whole(image);
    let (row, _) = claims(view).into_iter().next().expect("the volume is claimed");
    let disc = (row.open)(view).expect("the volume opens");
    assert!(disc.facts().faults.is_empty(), "{:?}", disc.facts().faults);
    let (entries, faults) = entries(disc.as_ref());
    assert!(faults.is_empty(), "{faults:?}");
    let signs = disc.facts().anomalies.iter().map(|anomaly| anomaly.sign.what.clone()).collect();
    let used = |extent: &evidex::extent::Extent| extent.start < view.size();
    assert!(disc.unallocated().flatten().all(|extent| used(&extent)));
    (entries.into_iter().map(|entry| (content(view, &entry), entry)).map(|(c, e)| (e, c)).collect(), signs)
}

fn live_files(all: &[(Entry, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    let live = all.iter().filter(|(entry, _)| entry.allocated && entry.kind == EntryKind::File);
    live.map(|(entry, bytes)| (entry.path.trim_start_matches('/').to_owned(), bytes.clone())).collect()
}

#[track_caller]
fn same(found: &BTreeMap<String, Vec<u8>>, given: &BTreeMap<String, Vec<u8>>) {
    let missing: Vec<&String> = given.keys().filter(|path| !found.contains_key(*path)).collect();
    let extra: Vec<&String> = found.keys().filter(|path| !given.contains_key(*path)).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
    given.iter().for_each(|(path, bytes)| assert!(found[path] == *bytes, "{path} has other content"));
}

#[test]
fn what_discs_were_given_is_read_from_them() {
    let dir = scratch();
    let files = tree();
    write(&dir.path().join("tree"), &files);
    std::os::unix::fs::symlink("../first/./somewhere", dir.path().join("tree/first/a link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("tree/root link")).unwrap();
    let xorriso = ["-as", "mkisofs", "-quiet", "-r", "-J", "-joliet-long", "-V", "A_DISC", "-o", "x.iso", "tree"];
    tool(dir.path(), "xorriso", &xorriso);
    tool(dir.path(), "genisoimage", &["-quiet", "-r", "-J", "-joliet-long", "-V", "A_DISC", "-o", "g.iso", "tree"]);
    for name in ["x.iso", "g.iso"] {
        let image = open(&dir.path().join(name)).expect("the image opens");
        let (all, signs) = listed(image.as_ref());
        same(&live_files(&all), &files);
        assert!(signs.is_empty(), "{name}: {signs:?}");
        let target = |path: &str| {
            let (entry, _) = all.iter().find(|(entry, _)| entry.path == path).expect("the link is listed");
            assert_eq!(entry.kind, EntryKind::Symlink);
            entry.target.clone()
        };
        assert_eq!(target("/first/a link").as_deref(), Some("../first/./somewhere"), "{name}");
        assert_eq!(target("/root link").as_deref(), Some("/etc/passwd"), "{name}");
        assert!(all.iter().all(|(entry, _)| entry.access.is_some() && entry.times.mtime.is_some()), "{name}");
    }
}

#[test]
fn joliet_and_iso_names_are_shown_where_there_are_no_better_ones() {
    let dir = scratch();
    let mut files = BTreeMap::new();
    for n in 0..300usize {
        files.insert(format!("d{}/file {n} \u{e4}.txt", n % 7), vec![n as u8; n * 17]);
    }
    write(&dir.path().join("tree"), &files);
    tool(dir.path(), "genisoimage", &["-quiet", "-J", "-input-charset", "utf-8", "-o", "j.iso", "tree"]);
    let image = open(&dir.path().join("j.iso")).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    same(&live_files(&all), &files);
    assert!(signs.is_empty(), "{signs:?}");
    let plain: BTreeMap<String, Vec<u8>> = (0..50u8).map(|n| (format!("D/FILE{n}.TXT"), vec![n; 3000])).collect();
    write(&dir.path().join("plain"), &plain);
    tool(dir.path(), "genisoimage", &["-quiet", "-o", "p.iso", "plain"]);
    let image = open(&dir.path().join("p.iso")).expect("the image opens");
    same(&live_files(&listed(image.as_ref()).0), &plain);
}

#[test]
fn files_that_one_tree_hides_are_listed_and_told() {
    let dir = scratch();
    let files: BTreeMap<String, Vec<u8>> =
        ["open", "joliet only", "rock only"].map(|name| (name.to_owned(), name.as_bytes().to_vec())).into();
    write(&dir.path().join("tree"), &files);
    let hide = ["-hide", "joliet only", "-hide-joliet", "rock only"];
    let args = [&["-quiet", "-r", "-J"][..], &hide, &["-o", "h.iso", "tree"]].concat();
    tool(dir.path(), "genisoimage", &args);
    let image = open(&dir.path().join("h.iso")).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    same(&live_files(&all), &files);
    let says = |what: &str| assert!(signs.iter().any(|sign| sign == what), "{signs:?}");
    says("the Joliet tree lacks 1 files of the Rock Ridge tree: /rock only");
    says("/joliet only: only the Joliet tree names it, the Rock Ridge tree does not");
}

#[test]
fn a_disc_with_udf_is_one_listing_of_both() {
    let dir = scratch();
    let files = tree();
    write(&dir.path().join("tree"), &files);
    tool(dir.path(), "genisoimage", &["-quiet", "-udf", "-r", "-J", "-joliet-long", "-o", "b.iso", "tree"]);
    let image = open(&dir.path().join("b.iso")).expect("the image opens");
    let view = View::whole(image.as_ref());
    let (row, _) = claims(view).into_iter().next().expect("the volume is claimed");
    assert_eq!((row.name, (row.open)(view).unwrap().facts().name.as_str()), ("udf", "ISO 9660 and UDF 1.02"));
    let (all, signs) = listed(image.as_ref());
    same(&live_files(&all), &files);
    assert!(signs.is_empty(), "{signs:?}");
    // The tree in UDF alone: the descriptors of the others are taken away. Its names are those of Joliet.
    let plain: BTreeMap<String, Vec<u8>> =
        (0..300u32).map(|n| (format!("d{}/file {n} \u{e4}.txt", n % 7), vec![n as u8; n as usize * 97])).collect();
    write(&dir.path().join("plain"), &plain);
    tool(dir.path(), "genisoimage", &["-quiet", "-udf", "-J", "-input-charset", "utf-8", "-o", "u.iso", "plain"]);
    let mut bytes = fs::read(dir.path().join("u.iso")).unwrap();
    (16..19).for_each(|sector| bytes[sector * 2048..][1..6].copy_from_slice(b"CDW02"));
    fs::write(dir.path().join("u.iso"), &bytes).unwrap();
    let image = open(&dir.path().join("u.iso")).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    assert!(signs.is_empty(), "{signs:?}");
    same(&live_files(&all), &plain);
}

#[test]
fn files_that_iso_or_udf_hides_are_listed_and_told() {
    let dir = scratch();
    let files: BTreeMap<String, Vec<u8>> =
        ["open", "udf only", "rock only"].map(|name| (name.to_owned(), name.as_bytes().to_vec())).into();
    write(&dir.path().join("tree"), &files);
    let hide = ["-hide", "udf only", "-hide-joliet", "rock only"];
    tool(dir.path(), "genisoimage", &[&["-quiet", "-udf", "-r"][..], &hide, &["-o", "h.iso", "tree"]].concat());
    // Joliet's descriptor, from which those of UDF are made, becomes the terminator.
    let mut bytes = fs::read(dir.path().join("h.iso")).unwrap();
    bytes.copy_within(18 * 2048..19 * 2048, 17 * 2048);
    fs::write(dir.path().join("h.iso"), &bytes).unwrap();
    let image = open(&dir.path().join("h.iso")).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    same(&live_files(&all), &files);
    let says = |what: &str| assert!(signs.iter().any(|sign| sign == what), "{signs:?}");
    says("the UDF tree lacks 1 files of the Rock Ridge tree: /rock only");
    says("/udf only: only the UDF tree names it, the Rock Ridge tree does not");
}

#[test]
fn a_later_session_hides_what_an_earlier_one_named() {
    let dir = scratch();
    let sound = |name: &str, text: &str| fs::write(dir.path().join("tree").join(name), text).unwrap();
    fs::create_dir(dir.path().join("tree")).unwrap();
    sound("kept", "kept");
    sound("changed", "before");
    tool(dir.path(), "genisoimage", &["-quiet", "-r", "-o", "one.iso", "tree"]);
    let mut disc = fs::read(dir.path().join("one.iso")).unwrap();
    let start = disc.len().div_ceil(2048).next_multiple_of(16) as u64;
    disc.resize(start as usize * 2048, 0);
    fs::write(dir.path().join("disc.iso"), &disc).unwrap();
    sound("changed", "afterwards");
    let sectors = format!("0,{start}");
    tool(dir.path(), "genisoimage", &["-quiet", "-r", "-C", &sectors, "-M", "disc.iso", "-o", "two.iso", "tree"]);
    disc.extend(fs::read(dir.path().join("two.iso")).unwrap());
    fs::write(dir.path().join("disc.iso"), &disc).unwrap();
    let image = open(&dir.path().join("disc.iso")).expect("the image opens");
    let (all, _) = listed(image.as_ref());
    let live = live_files(&all);
    assert_eq!(live["changed"], b"afterwards");
    assert_eq!(live["kept"], b"kept");
    let (old, bytes) = all.iter().find(|(e, _)| !e.allocated && e.path == "/changed").expect("it is listed");
    assert_eq!((old.recovered, bytes.as_slice()), (Some(Recovered::Intact), &b"before"[..]));
}

#[test]
fn what_was_removed_from_a_rewritable_disc_is_found() {
    let dir = scratch();
    let files: BTreeMap<String, Vec<u8>> =
        ["kept", "removed", "moved"].map(|name| (name.to_owned(), name.repeat(999).into_bytes())).into();
    write(&dir.path().join("tree"), &files);
    tool(dir.path(), "xorriso", &["-outdev", "d.iso", "-map", "tree", "/", "-commit"]);
    tool(dir.path(), "xorriso", &["-dev", "d.iso", "-rm", "/removed", "--", "-mv", "/moved", "/new", "--", "-commit"]);
    let image = open(&dir.path().join("d.iso")).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    assert!(signs.is_empty(), "{signs:?}");
    assert_eq!(live_files(&all).into_keys().collect::<Vec<_>>(), ["kept", "new"]);
    for name in ["removed", "moved"] {
        let path = format!("/{name}");
        let (old, bytes) = all.iter().find(|(e, _)| !e.allocated && e.path == path).expect("it is listed");
        assert_eq!((old.recovered, bytes), (Some(Recovered::Intact), &files[name]), "{name}");
    }
}

#[test]
fn boot_images_are_listed_or_marked() {
    let dir = scratch();
    let files = BTreeMap::from([("boot.bin".to_owned(), vec![7; 2048]), ("other".to_owned(), vec![8; 10])]);
    write(&dir.path().join("tree"), &files);
    let boot = ["-b", "boot.bin", "-no-emul-boot", "-c", "boot.cat"];
    tool(dir.path(), "genisoimage", &[&["-quiet", "-r"][..], &boot, &["-o", "b.iso", "tree"]].concat());
    let image = open(&dir.path().join("b.iso")).expect("the image opens");
    let (all, _) = listed(image.as_ref());
    let (entry, _) = all.iter().find(|(entry, _)| entry.path == "/boot.bin").expect("it is listed");
    assert_eq!(entry.note.as_deref(), Some("a boot image of the disc (Boot-NoEmul.img)"));
    // The same where no file is the image: its directory record is taken away.
    let mut bytes = fs::read(dir.path().join("b.iso")).unwrap();
    let place = (entry.at as usize, bytes[entry.at as usize] as usize);
    let end = (place.0 / 2048 + 1) * 2048;
    bytes.copy_within(place.0 + place.1..end, place.0);
    bytes[end - place.1..end].fill(0);
    fs::write(dir.path().join("c.iso"), &bytes).unwrap();
    let image = open(&dir.path().join("c.iso")).expect("the image opens");
    let (all, _) = listed(image.as_ref());
    let (_, content) = all.iter().find(|(entry, _)| entry.path == "/[BOOT]/Boot-NoEmul.img").expect("it is listed");
    assert_eq!(*content, vec![7; 2048]);
}

#[test]
fn trees_of_the_corpus_that_disagree_are_told() {
    let Some(folder) = corpus("images") else { return };
    let file = evidence(&folder, "dftt/14-iso-dirtree1.iso");
    let image = open(file.path()).expect("the image opens");
    let (all, signs) = listed(image.as_ref());
    assert_eq!(live_files(&all).into_keys().collect::<Vec<_>>(), ["File1.txt", "File2.txt"]);
    assert_eq!(signs.len(), 2, "{signs:?}");
}
