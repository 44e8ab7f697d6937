//! Encrypted volumes: unlocked with the keys that are known of the corpus' images and of headers that cryptsetup makes, and named
//! where there is no key.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{corpus, evidence, evidex};
use evidex::hash::{Algorithm, Hasher};
use evidex::image::{View, original};
use evidex::volume::open::{Evidence, open};
use evidex::volume::vault::Keys;
use evidex::volume::{VolumeKind, divide};
use std::path::Path;
use std::process::Command;

/// What the encrypted images of the corpus are opened with, and the SHA-256 of what they hold: as cryptsetup's own tests say, of
/// `sha1.bin` as dissect's do (four blocks of 0, 1, 2 and 3).
const OPENED: &[(&str, &str, Option<&str>)] = &[
    ("bitlk-togo-aes-cbc-128.img", "anaconda", Some(TOGO)),
    ("bde-aes_128.bin", "password12!@", None),
    ("luks1-sha1.bin", "password", Some(LUKS)),
];
const LUKS: &str = "9a62d6c7b90b4ff89818c67f5b5fb93f6b11d80a26b64cb04d4c33309c63025d";
const TOGO: &str = "3fb19a2b9cf89962216cc7b27f7127ea7f241c39b7b340d7431a232f81c36eb1";

fn password(text: &str) -> Keys {
    Keys { passwords: vec![text.as_bytes().to_vec()], keys: Vec::new() }
}

/// The bytes of the volume that was unlocked.
fn unlocked(evidence: &Evidence) -> Vec<u8> {
    let disk = View::whole(evidence.image.as_ref());
    let layout = divide(disk);
    let is_unlocked = |volume: &&evidex::volume::Volume| volume.type_name.starts_with("unlocked");
    let volume = layout.volumes.iter().find(is_unlocked).expect("a volume was unlocked");
    assert_eq!(volume.kind, VolumeKind::Assembled);
    volume.with(disk, |view| view.read(0, view.size()).expect("it is read").into_owned())
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    hasher.update(bytes);
    hasher.finish().sha256.expect("it was asked for")
}

#[test]
fn the_corpus_images_are_unlocked_and_named() {
    let Some(folder) = corpus("images/encrypted") else { return };
    for (name, secret, sum) in OPENED {
        let file = evidence(&folder, name);
        let told = evidex(&["info".as_ref(), file.path().as_os_str()]).expect(0).text();
        assert!(told.contains("give --password-file or --key to read it"), "{name}: {told}");
        for (secret, opens) in [("wrong", false), (*secret, true)] {
            let opened = open(file.path(), &password(secret)).expect("it opens");
            assert_eq!(opened.used.len(), usize::from(opens), "{name} with {secret}");
            if !opens {
                continue;
            }
            let bytes = unlocked(&opened);
            assert!(sum.is_none_or(|sum| sha256(&bytes) == sum), "{name}");
            // The evidence itself is as it is, and the volume's own key opens it again.
            assert_eq!(original(opened.image.as_ref()).size(), std::fs::metadata(file.path()).unwrap().len());
            let own = evidex::bytes::unhex(&opened.used[0]).expect("it is hexadecimal");
            let again = open(file.path(), &Keys { passwords: Vec::new(), keys: vec![own] }).expect("it opens");
            assert!(unlocked(&again) == bytes, "{name}: its own key gives something else");
        }
    }
}

#[test]
fn a_case_of_an_unlocked_volume_is_searched_and_verified() {
    let Some(folder) = corpus("images/encrypted") else { return };
    let file = evidence(&folder, "luks1-sha1.bin");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (words, case, to) = (dir.path().join("words"), dir.path().join("case"), dir.path().join("out"));
    std::fs::write(&words, "not this\npassword\n").expect("it is written");
    let case = case.to_str().expect("it is UTF-8");
    let image = file.path().to_str().expect("it is UTF-8");
    evidex(&["index", image, "-c", case, "--password-file", words.to_str().unwrap()]).expect(0);
    let items = common::items(case);
    let item = items.iter().find(|item| item["sha256"] == LUKS).expect("the volume's bytes are an item");
    assert_eq!(item["extents"][0]["offset"], 1 << 20, "it has the place of the bytes that hold it");
    evidex(&["verify", "-c", case]).expect(0);
    let id = item["id"].as_str().expect("it has an id");
    evidex(&["extract", id, "-c", case, "--to", to.to_str().unwrap()]).expect(0);
    assert!(common::tree(&to).iter().any(|(_, bytes)| sha256(bytes) == LUKS), "what is extracted is what was hashed");
}

/// Options of `cryptsetup luksFormat`, and the bytes of the volume's key.
const HEADERS: &[(&[&str], usize)] = &[
    (&["--type", "luks1", "--cipher", "aes-xts-plain64", "--hash", "sha256"], 64),
    (&["--type", "luks1", "--cipher", "aes-cbc-essiv:sha256", "--hash", "sha512"], 32),
    (&["--type", "luks2", "--pbkdf", "pbkdf2", "--cipher", "aes-xts-plain64"], 32),
    (&["--type", "luks2", "--pbkdf", "argon2id", "--pbkdf-memory", "64", "--pbkdf-parallel", "2"], 64),
    (&["--type", "luks2", "--pbkdf", "argon2i", "--pbkdf-memory", "64", "--sector-size", "4096"], 64),
];

#[test]
fn headers_that_cryptsetup_made_give_the_volume_key() {
    for (number, (options, len)) in HEADERS.iter().enumerate() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| dir.path().join(name);
        let key: Vec<u8> = (0..*len).map(|at| (at * 7 + number) as u8).collect();
        std::fs::write(path("key"), &key).expect("it is written");
        std::fs::write(path("word"), "open sesame").expect("it is written");
        std::fs::File::create(path("disk")).and_then(|disk| disk.set_len(20 << 20)).expect("it is made");
        let bits = (len * 8).to_string();
        let rounds = if options.iter().any(|option| option.starts_with("argon")) { "4" } else { "1000" };
        let status = Command::new("cryptsetup")
            .args(["luksFormat", "--batch-mode", "--key-size", &bits, "--pbkdf-force-iterations", rounds])
            .args(*options)
            .arg("--volume-key-file")
            .arg(path("key"))
            .arg("--key-file")
            .arg(path("word"))
            .arg(path("disk"))
            .status()
            .expect("cryptsetup runs");
        assert!(status.success(), "{options:?}");
        let opened = open(&path("disk"), &password("open sesame")).expect("it opens");
        assert_eq!(opened.used, [evidex::bytes::hex(&key)], "{options:?}");
        assert!(open(&path("disk"), &password("open")).expect("it opens").used.is_empty());
        second_header(&path("disk"), options, &key);
    }
}

/// With the first header of LUKS2 gone the second does.
fn second_header(disk: &Path, options: &[&str], key: &[u8]) {
    if options.contains(&"luks1") {
        return;
    }
    let file = std::fs::File::options().write(true).open(disk).expect("it opens");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 4096], 0).expect("it is written");
    let opened = open(disk, &password("open sesame")).expect("it opens");
    assert_eq!(opened.used, [evidex::bytes::hex(key)], "{options:?} without its first header");
}

#[test]
fn damaged_headers_are_told_or_left_alone() {
    let Some(folder) = corpus("images/encrypted") else { return };
    for (name, ..) in OPENED {
        let file = evidence(&folder, name);
        let bytes = std::fs::read(file.path()).expect("it is read");
        let copy = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(copy.path(), &bytes).expect("it is written");
        let filled = bytes.chunks(512).enumerate().filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
        let filled: Vec<usize> = filled.map(|(number, _)| number * 512).take(400).collect();
        let mut dice = common::Dice(7);
        for _ in 0..300 {
            let at =
                filled[dice.below(filled.len() as u64) as usize] as u64 + dice.below(512).min(bytes.len() as u64 - 1);
            common::flip(copy.path(), at);
            let image = evidex::image::open(copy.path()).expect("it opens");
            let view = View::whole(image.as_ref());
            if let Some((vault, _)) = evidex::volume::vault::locked(view) {
                assert!((vault.unlock)(view, &Keys::default()).is_none(), "{name}: unlocked without a key");
            }
            let byte = [bytes[at as usize]];
            std::os::unix::fs::FileExt::write_all_at(copy.as_file(), &byte, at).expect("it is written");
        }
    }
}
