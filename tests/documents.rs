//! The corpus of documents: text that must be found, members of archives, formats, and files made to break readers.
//!
//! The truth comes from other programs (Tika's tests, 7-Zip, `file`); see the corpus' README. Without the corpus (the
//! folder that `EVIDEX_CORPUS` names, or `../shared/corpus`) these tests say so and pass.

use evidex::content::Content;
use evidex::extract::{self, Findings, Member};
use evidex::fault::Fault;
use evidex::fuel::{Fuel, Spent};
use evidex::identify::{self, Identity};
use evidex::text::{Place, Text};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn documents() -> Option<PathBuf> {
    let root = std::env::var_os("EVIDEX_CORPUS").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"));
    let documents = root.join("documents");
    if !documents.is_dir() {
        eprintln!("left out: no corpus at {}", documents.display());
        return None;
    }
    Some(documents)
}

fn truth(documents: &Path, name: &str) -> Option<serde_json::Map<String, Value>> {
    let text = std::fs::read_to_string(documents.join(name)).ok()?;
    serde_json::from_str::<Value>(&text).ok()?.as_object().cloned()
}

/// Everything that is found in a file and its members.
#[derive(Default)]
struct All {
    text: Text,
    members: BTreeMap<String, (u64, String)>,
    path: Vec<String>,
    encrypted: bool,
    faults: usize,
}

const DEEPEST: usize = 8;

impl All {
    fn of(bytes: &[u8]) -> Self {
        let mut all = Self::default();
        let _ = all.look(&Content::borrowed(bytes), &mut Fuel::new(1 << 28));
        all
    }

    fn look(&mut self, content: &Content<'_>, fuel: &mut Fuel) -> Result<(), Spent> {
        let identity = identify::identify(&content.prefix(identify::HEAD), content.size());
        match extract::extractor_for(&identity) {
            Some(row) => (row.extract)(content, &identity, self, fuel),
            None => extract::strings::extract(content, &identity, self, fuel),
        }
    }
}

impl Findings for All {
    fn text(&mut self, piece: &str, place: Option<Place>) -> Result<(), Spent> {
        assert!(piece.len() <= 256 << 10, "a piece of {} bytes", piece.len());
        if self.text.body.len() < 64 << 20 {
            self.text.push(piece, place);
        }
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, fuel: &mut Fuel) -> Result<(), Spent> {
        self.encrypted |= member.encrypted;
        self.faults += member.faults.len();
        self.path.push(member.name.clone());
        let mut hash = Sha256::new();
        member.content.parts().flatten().for_each(|part| hash.update(&part));
        let hex = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        self.members.insert(self.path.join("!"), (member.content.size(), hex));
        let _ = self.text(&member.name, None);
        let told = if self.path.len() <= DEEPEST { self.look(&member.content, fuel) } else { Ok(()) };
        self.path.pop();
        told
    }

    fn property(&mut self, _: &'static str, value: &str) {
        let _ = self.text(value, None);
    }

    fn fault(&mut self, _: Fault) {
        self.faults += 1;
    }

    fn encrypted(&mut self) {
        self.encrypted = true;
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Formats of the text truth that have an extractor of their own, or are text or strings.
fn is_read(name: &str) -> bool {
    const LATER: &[&str] =
        &["msg", "doc", "xls", "ppt", "pst", "rar", "7z", "z", "ar", "cpio", "chm", "vsd", "mdb", "one", "p7m", "dwg"];
    let extension = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    !LATER.contains(&extension.as_str())
}

#[test]
fn the_words_of_documents_are_found() -> Result<(), Box<dyn std::error::Error>> {
    let Some(documents) = documents() else { return Ok(()) };
    let Some(truth) = truth(&documents, "text-truth.json") else { return Ok(()) };
    let (mut found, mut wanted, mut missing) = (0usize, 0usize, Vec::new());
    for (name, row) in truth.iter().filter(|(name, _)| is_read(name)) {
        let text = words(&All::of(&std::fs::read(documents.join(name))?).text.body);
        for needle in row["must_contain"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            wanted += 1;
            if text.contains(&words(needle)) {
                found += 1;
            } else {
                missing.push(format!("{name}: {needle:?}"));
            }
        }
    }
    println!("{found} of {wanted} strings found; missing:\n{}", missing.join("\n"));
    assert!(found * 100 >= wanted * TEXT_FLOOR, "{found} of {wanted}");
    Ok(())
}

/// Per cent of the strings that must be found.
const TEXT_FLOOR: usize = 92;

#[test]
fn members_of_archives_are_found_with_their_hashes() -> Result<(), Box<dyn std::error::Error>> {
    let Some(documents) = documents() else { return Ok(()) };
    let Some(truth) = truth(&documents, "archive-truth.json") else { return Ok(()) };
    let (mut found, mut wanted, mut missing) = (0usize, 0usize, Vec::new());
    for (name, row) in &truth {
        let extension = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if !["zip", "gz", "tgz", "bz2", "tar", "xz", "zst", "jar"].contains(&extension.as_str()) {
            continue;
        }
        let all = All::of(&std::fs::read(documents.join(name))?);
        for member in row["members"].as_array().into_iter().flatten() {
            let (path, hash) = (member["path"].as_str().unwrap_or_default(), member["sha256"].as_str());
            let Some(hash) = hash else { continue };
            wanted += 1;
            let same = |(key, (size, hex)): (&String, &(u64, String))| {
                let named = key.ends_with(path) || key.ends_with("content") || !key.contains('!');
                named && hex == hash && member["size"].as_u64().is_none_or(|n| n == *size)
            };
            if all.members.iter().any(same) {
                found += 1;
            } else {
                missing.push(format!("{name}: {path}"));
            }
        }
        if row["encrypted"] == true {
            assert!(all.encrypted, "{name} is encrypted");
        }
    }
    println!("{found} of {wanted} members found; missing:\n{}", missing.join("\n"));
    assert!(found == wanted, "{found} of {wanted}: {missing:?}");
    Ok(())
}

#[test]
fn formats_are_told_by_content() -> Result<(), Box<dyn std::error::Error>> {
    let Some(documents) = documents() else { return Ok(()) };
    let Some(truth) = truth(&documents, "format-truth.json") else { return Ok(()) };
    let (mut right, mut wanted, mut wrong) = (0usize, 0usize, Vec::new());
    for (name, format) in &truth {
        let Some(format) = format.as_str() else { continue };
        let bytes = std::fs::read(documents.join(name))?;
        let identity = identify::identify(&bytes[..bytes.len().min(1 << 16)], bytes.len() as u64);
        wanted += 1;
        if fits(&identity, format) {
            right += 1;
        } else {
            wrong.push(format!("{name}: {format} as {}", identity.mime));
        }
    }
    println!("{right} of {wanted} formats right; wrong:\n{}", wrong.join("\n"));
    assert!(right * 100 >= wanted * 93, "{right} of {wanted}");
    Ok(())
}

/// True where an identity is what the truth calls `format`; text formats without a signature are text.
fn fits(identity: &Identity, format: &str) -> bool {
    const PROSE: &[&str] =
        &["csv", "tsv", "txt", "markdown", "latex", "yaml", "srt", "pem", "json", "ini", "python", "vtt"];
    let same = identity.mime.contains(format) || identity.extensions.contains(&format);
    same || (PROSE.contains(&format) && identity.is_text())
        || match format {
            "bzip" => identity.extensions.contains(&"bz2"),
            "gif87" => identity.mime == "image/gif",
            "pebin" => identity.extensions.contains(&"exe"),
            "outlook" => identity.extensions.contains(&"msg"),
            _ => false,
        }
}

#[test]
fn hostile_files_end_in_time_and_without_a_panic() -> Result<(), Box<dyn std::error::Error>> {
    let Some(documents) = documents() else { return Ok(()) };
    for folder in ["bombs", "fuzz", "polyglots", "fuzz-images", "carving", "archives", "artefacts"] {
        for file in std::fs::read_dir(documents.join(folder)).into_iter().flatten() {
            let path = file?.path();
            if !path.is_file() {
                continue;
            }
            let (bytes, start) = (std::fs::read(&path)?, Instant::now());
            let all = All::of(&bytes);
            evidex::carve::Scan::new(evidex::registry::CARVERS, 1).run(&bytes, bytes.len());
            let took = start.elapsed();
            println!("{took:?} {} members {} faults {}", path.display(), all.members.len(), all.faults);
            assert!(took < Duration::from_secs(120), "{} took {took:?}", path.display());
        }
    }
    Ok(())
}

#[test]
fn whole_files_are_carved_out_of_a_stretch_of_them() -> Result<(), Box<dyn std::error::Error>> {
    let Some(documents) = documents() else { return Ok(()) };
    let mut stretch = vec![0u8; 512];
    let mut planted = Vec::new();
    for folder in ["tika", "exif", "govdocs", "lorem", "archives"] {
        for file in std::fs::read_dir(documents.join(folder)).into_iter().flatten() {
            let path = file?.path();
            let bytes = if path.is_file() { std::fs::read(&path)? } else { continue };
            let row = evidex::registry::CARVERS.iter().find(|row| {
                row.headers.iter().any(|header| bytes.get(row.offset..).is_some_and(|rest| rest.starts_with(header)))
            });
            if let Some(row) = row {
                planted.push((stretch.len(), bytes.len() as u64, row.name, path));
            }
            stretch.extend(&bytes);
            stretch.resize(stretch.len().next_multiple_of(512), 0);
        }
    }
    let finds = evidex::carve::Scan::new(evidex::registry::CARVERS, 512).run(&stretch, stretch.len());
    let mut missing = Vec::new();
    for (at, len, name, path) in &planted {
        let find = finds.iter().find(|find| find.at == *at);
        if find.is_none_or(|find| !find.carved.whole || find.carved.len != *len) {
            let seen = find.map(|find| (find.by, find.carved.len, find.carved.whole));
            missing.push(format!("{name} {} {len}: {seen:?}", path.display()));
        }
    }
    let right = planted.len() - missing.len();
    println!("{right} of {} files carved to the byte; not:\n{}", planted.len(), missing.join("\n"));
    assert!(right * 100 >= planted.len() * 97, "{right} of {}", planted.len());
    Ok(())
}
