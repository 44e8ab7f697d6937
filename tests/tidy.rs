//! The house rules that no compiler checks: layers, siblings, registrations, the only `unsafe`, the only threads, sizes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, lowest first; a module imports from its own and from lower ones.
const LAYERS: &[&[&str]] = &[
    &["extent", "bytes", "fault", "fuel", "time", "text", "locator"],
    &["image"],
    &["volume"],
    &["fs", "content"],
    &["identify", "hash", "carve", "extract"],
    &["artifact", "plan", "work", "pipeline"],
    &["record", "case", "index", "search"],
    &["cli", "main"],
];

/// Tables and the crate's root: they know everything.
const EXEMPT: &[&str] = &["registry", "lib"];

/// Imports that go up, and why they may.
const UPWARDS: &[(&str, &str, &str)] = &[
    ("image/seal.rs", "hash", "hashing is a pure function of bytes; the seal is taken of all of them"),
    ("image/about.rs", "hash", "the names of algorithms, for the hashes that a container carries"),
];

/// Siblings that others may use: they are not rows of a table but what rows have in common, or build on.
const SHARED: &[(&str, &str, &str)] = &[
    ("carve", "prose", "how text ends"),
    ("extract", "charset", "decoding of text"),
    ("extract", "collect", "findings kept in memory"),
    ("extract", "packed", "one compressed stream"),
    ("extract", "plain", "the text that mail and markup are, too"),
    ("extract", "html", "markup in mail and in office documents"),
    ("extract", "strings", "what is left where a format gives up"),
    ("extract", "zip", "the container of office documents"),
    ("fs", "bits", "bitmaps of free blocks"),
    ("fs", "cluster", "chains and free clusters of FAT and exFAT"),
    ("fs", "decmpfs", "the compression of HFS+ and APFS"),
    ("fs", "disk", "a volume under what its journal would write back"),
    ("fs", "iso9660", "the other tree of a disc with UDF"),
    ("fs", "orphan", "the order of directories that nothing names"),
    ("fs", "walk", "the way through directories, and entries made together"),
    ("fs", "pieces", "runs that are joined, and how much of them is free"),
    ("volume", "assemble", "where bytes of a volume stand on the disk"),
    ("volume", "crypt", "ciphers of LUKS and BitLocker"),
    ("volume", "parts", "the table of a disk, and of a volume that is put together"),
    ("volume", "raid", "how arrays spread their bytes, those of LVM2 too"),
    ("volume", "vault", "what all kinds of encryption tell"),
    ("volume", "stretches", "bytes of what is being put together"),
    ("fs", "posix", "modes, names and attributes of ext, XFS and btrfs"),
    ("fs", "trees", "several trees over the same content: ISO 9660, UDF, their sessions"),
    ("fs", "scatter", "where the deleted files of FAT and exFAT lay"),
];

/// Threads outside the pipeline: file, what, why.
const THREADS: &[(&str, &str, &str)] = &[
    ("cli/bench.rs", "ThreadPoolBuilder", "stages are measured with a number of threads"),
    ("main.rs", "thread::Builder", "the command runs on a stack that a parser may recurse on"),
];

struct Source {
    /// Below `src/`.
    name: String,
    text: String,
}

impl Source {
    /// The module directly below `src/` that it belongs to.
    fn room(&self) -> &str {
        self.name.trim_end_matches(".rs").split('/').next().unwrap_or_default()
    }

    /// Its code without tests and comments.
    fn code(&self) -> String {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
        lines.map(|l| l.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(|e| e.unwrap().into_path());
    let rust = |p: &PathBuf| p.extension().is_some_and(|e| e == "rs");
    let all: Vec<Source> = files
        .filter(rust)
        .map(|p| Source {
            name: p.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(&p).unwrap(),
        })
        .collect();
    assert!(all.len() > 50, "the sources were found");
    all
}

/// Fails with all that is wrong, a line each.
#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Modules below the crate's root that code names as `crate::x` or `crate::{x, …}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate` and words that end so are none.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + 7..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or_default();
            found.extend(group.split(',').map(|part| word(part.trim())));
        } else {
            found.push(word(rest));
        }
    }
    found
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn nothing_imports_upwards() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !EXEMPT.contains(&s.room())) {
        let Some(own) = layer(source.room()) else {
            wrong.push(format!("{}: stands in no layer: name its room in LAYERS", source.name));
            continue;
        };
        for import in imports(&source.code()) {
            let allowed = UPWARDS.iter().any(|(file, what, _)| *file == source.name && *what == import);
            if layer(&import).is_some_and(|other| other > own) && !allowed {
                wrong.push(format!("{}: imports {import}, which lies above it", source.name));
            }
        }
    }
    none(wrong);
}

#[test]
fn siblings_do_not_import_each_other() {
    let all = sources();
    let mut wrong = Vec::new();
    for folder in ["carve", "extract", "fs", "volume"] {
        let parts = |name: &str| name.trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>();
        let inside: Vec<&Source> = all.iter().filter(|s| s.name.starts_with(&format!("{folder}/"))).collect();
        let siblings: Vec<String> = inside.iter().map(|s| parts(&s.name)[1].clone()).collect();
        for source in &inside {
            let path = parts(&source.name);
            let code = source.code();
            for other in siblings.iter().filter(|o| **o != path[1]) {
                let shared = SHARED.iter().any(|(f, what, _)| *f == folder && what == other);
                let up = "super::".repeat(path.len() - 1);
                let named = [format!("crate::{folder}::{other}"), format!("{up}{other}::"), format!("{up}{other};")];
                let grouped = |start: String| {
                    let group = |at: usize| code[at + start.len()..].split('}').next().unwrap_or_default().to_owned();
                    let first = |p: &str| p.trim().split("::").next().unwrap_or_default() == other;
                    code.match_indices(&start).any(|(at, _)| {
                        let alone = !code[..at].ends_with("super::");
                        alone && group(at).split(',').any(first)
                    })
                };
                let exact = |n: &String| {
                    code.match_indices(n.as_str()).any(|(at, _)| {
                        let alone = !code[..at].ends_with("super::");
                        let whole = !code[at + n.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
                        alone && (whole || n.ends_with([':', ';']))
                    })
                };
                let uses = named.iter().any(exact)
                    || grouped(format!("use {up}{{"))
                    || grouped(format!("use crate::{folder}::{{"));
                if uses && !shared {
                    wrong.push(format!("{}: imports its sibling {other}", source.name));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn every_row_is_registered() {
    let all = sources();
    let registry = &all.iter().find(|s| s.name == "registry.rs").unwrap().text;
    let mut wrong = Vec::new();
    for (folder, mark) in [
        ("carve", "pub fn measure("),
        ("extract", "pub fn accepts("),
        ("fs", "pub fn probe("),
        ("image", "pub fn open(path: &Path) -> Taken"),
        ("volume", "pub fn read("),
    ] {
        let rows = all.iter().filter(|s| s.name.starts_with(&format!("{folder}/")) && s.text.contains(mark));
        let rows: Vec<&Source> = rows.filter(|s| s.name.matches('/').count() == 1).collect();
        assert!(rows.len() > 1, "{folder}: the rows were found");
        for row in rows {
            let name = row.name.trim_end_matches(".rs").rsplit('/').next().unwrap();
            if !(registry.contains(&format!("name: \"{name}\"")) && registry.contains(&format!("{folder}::{name}::"))) {
                wrong.push(format!("{}: is not registered under its name", row.name));
            }
        }
    }
    none(wrong);
}

#[test]
fn every_file_system_has_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let rows = evidex::registry::FILE_SYSTEMS.iter().filter(|row| row.name != "folder");
    let targets = rows.map(|row| format!("fs_{}", row.name));
    let missing = |name: &String| {
        !root.join(format!("targets/{name}.rs")).exists() || !manifest.contains(&format!("name = \"{name}\""))
    };
    none(targets.filter(missing).map(|name| format!("tests/fuzz: has no target {name}")).collect());
}

#[test]
fn unsafe_and_threads_stay_where_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = source.code();
        let word = |w: &str| {
            code.match_indices(w).any(|(at, _)| {
                let bare = |c: char| c.is_alphanumeric() || c == '_';
                !code[..at].ends_with(bare) && !code[at + w.len()..].starts_with(bare)
            })
        };
        if source.name != "image/map.rs" && word("unsafe") {
            wrong.push(format!("{}: holds `unsafe`", source.name));
        }
        if source.room() != "pipeline" {
            for what in ["thread::spawn", "thread::scope", "thread::Builder", "ThreadPoolBuilder", "rayon::spawn"] {
                let allowed = THREADS.iter().any(|(file, w, _)| *file == source.name && *w == what);
                if code.contains(what) && !allowed {
                    wrong.push(format!("{}: starts threads with {what}", source.name));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn files_are_short_begin_with_what_they_are_and_leave_nothing_open() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > 600 {
            wrong.push(format!("{}: has {lines} lines", source.name));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{}: does not begin with what it is", source.name));
        }
        for (number, line) in source.text.lines().enumerate() {
            for mark in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "dbg!("] {
                if line.contains(mark) {
                    wrong.push(format!("{}:{}: {mark}", source.name, number + 1));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn only_the_case_and_the_commands_that_export_write() {
    // Evidence is opened read-only, always: whoever can create or write a file is named here.
    const WRITERS: &[&str] = &[
        "case.rs",
        "case/audit.rs",
        "record.rs",
        "index.rs",
        "cli/extract.rs",
        "cli/carve.rs",
        "cli/demo.rs",
        "cli/bench.rs",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !WRITERS.contains(&s.name.as_str())) {
        let code = source.code();
        for what in [
            ".write(true)",
            ".append(true)",
            "File::create",
            "fs::write",
            "fs::remove",
            "fs::rename",
            "create_dir",
            "set_len(",
        ] {
            if code.contains(what) {
                wrong.push(format!("{}: writes with {what}", source.name));
            }
        }
    }
    none(wrong);
}

#[test]
fn the_rules_see_what_they_forbid() {
    assert_eq!(imports("use crate::{carve, image::Map};\nlet x = crate::text::fold(y);"), ["carve", "image", "text"]);
    let source = |text: &str| Source { name: "a/b.rs".to_owned(), text: text.to_owned() };
    assert_eq!(source("x(); // unsafe\n// thread::spawn\n#[cfg(test)]\nmod tests {\nunsafe").code(), "x();");
    assert!(layer("image") < layer("fs") && layer("fs") < layer("work"));
}
