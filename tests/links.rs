//! Files with several names: each path is listed, the content is read once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::evidex;
use std::fs;
use std::path::Path;
use std::process::Command;

fn done(command: &mut Command) -> bool {
    command.output().is_ok_and(|ended| ended.status.success())
}

/// Makes a file with three names on a volume of this kind, indexes it, and looks at what comes of it.
fn linked(make: &[&str], mount: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (image, root, case) = (dir.path().join("links.dd"), dir.path().join("mnt"), dir.path().join("case"));
    fs::create_dir(&root).unwrap();
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let run = |command: &[&str], paths: &[&Path]| done(Command::new(command[0]).args(&command[1..]).args(paths));
    if !run(make, &[&image]) || !run(mount, &[&image, &root]) {
        return eprintln!("left out: {} cannot be made or mounted here", make[0]);
    }
    fs::create_dir(root.join("other")).unwrap();
    let text = "the oystercatcher ledger\n".repeat(500);
    fs::write(root.join("a.txt"), &text).unwrap();
    fs::hard_link(root.join("a.txt"), root.join("other/b.txt")).unwrap();
    fs::hard_link(root.join("a.txt"), root.join("c.png")).unwrap();
    fs::write(root.join("single.txt"), &text).unwrap();
    common::unmount(&root);
    evidex(&["index".as_ref(), image.as_os_str(), "-c".as_ref(), case.as_os_str()]).expect(0);
    let case = case.to_str().unwrap();
    let items = common::items(case);
    let item = |path: &str| items.iter().find(|item| item["path"] == path && item["kind"] == "file").unwrap();
    let paths = ["/a.txt", "/other/b.txt", "/c.png"];
    for path in paths {
        assert_eq!(item(path)["sha256"], item("/single.txt")["sha256"], "{path}");
        assert_eq!(item(path)["extents"], item("/a.txt")["extents"], "{path}");
        assert_eq!(item(path)["mime"], "text/plain", "{path}");
    }
    assert_eq!(item("/c.png")["extension_mismatch"], true);
    let noted = |path: &&&str| item(path)["note"].as_str().is_some_and(|note| note.starts_with("another name of /"));
    assert_eq!(paths.iter().filter(noted).count(), 2, "one of them holds the text");
    assert_eq!(common::search(case, "oystercatcher").len(), 2, "the file, and the single one");
    assert_eq!(common::search(case, "ext:png").len(), 1, "every name is found");
}

#[test]
fn on_ext4() {
    linked(&["mkfs.ext4", "-q", "-F"], &["mount", "-o", "loop"]);
}

#[test]
fn on_ntfs() {
    linked(&["mkfs.ntfs", "-F", "-q", "-Q"], &["ntfs-3g"]);
}
