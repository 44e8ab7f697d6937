//! The header of version 2: 4 KiB in binary, then JSON, and both once more behind that. Offsets and sizes in the JSON are strings.

use super::{Check, Header, Kdf, Segment, Slot};
use crate::bytes::{Fields, index, latin1};
use crate::fault::Fault;
use crate::image::View;
use crate::volume::crypt::digest;
use crate::volume::vault::Locked;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const BINARY: u64 = 4096;
/// The sizes that a header may have, which is where the second stands.
const SIZES: &[u64] = &[0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
/// Memory that a password may take, in KiB: 4 GiB, the most that cryptsetup allows.
const MAX_MEMORY: u64 = 4 << 20;
/// Memory times passes, likewise: more takes minutes for one password.
const MAX_WORK: u64 = 64 << 20;

pub(super) fn read(volume: View<'_>) -> Option<Header> {
    let first = copy(volume, 0, b"LUKS\xba\xbe");
    let second = || {
        let own = first.as_ref().map(|copy| copy.size);
        own.into_iter().chain(SIZES.iter().copied()).find_map(|at| copy(volume, at, b"SKUL\xba\xbe"))
    };
    let mut faults = Vec::new();
    let copy = match first {
        Some(ref copy) if copy.sound => first,
        _ => {
            faults.push(Fault::new(volume.absolute(0), "luks", "the first header is damaged; the second is used"));
            second().filter(|copy| copy.sound).or(first)
        }
    }?;
    let mut header = parse(volume, &copy)?;
    header.locked.faults = faults;
    Some(header)
}

/// A copy of the header.
struct Copy {
    id: String,
    name: String,
    size: u64,
    json: Value,
    sound: bool,
}

fn copy(volume: View<'_>, at: u64, magic: &[u8]) -> Option<Copy> {
    let head = volume.read(at, BINARY).ok()?;
    if head.span(0, 6)? != magic || head.be16(6)? != 2 {
        return None;
    }
    let size = head.be64(8).filter(|size| SIZES.contains(size))?;
    let mut whole = volume.read(at, size).ok()?.into_owned();
    let sum = head.span(448, 64)?.to_vec();
    whole.get_mut(448..512)?.fill(0);
    let expected = digest(&latin1(head.span(72, 32)?), &whole);
    let sound = expected.is_some_and(|expected| sum.starts_with(&expected));
    let json = whole.get(index(BINARY)..)?.split(|byte| *byte == 0).next()?;
    let json = serde_json::from_slice(json).ok()?;
    Some(Copy { id: head.span(168, 40).map(latin1)?, name: head.span(24, 48).map(latin1)?, size, json, sound })
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}

fn parse(volume: View<'_>, copy: &Copy) -> Option<Header> {
    let each = |key: &str| copy.json.get(key).and_then(Value::as_object).into_iter().flatten().map(|(_, value)| value);
    let slots: Vec<Slot> = each("keyslots").filter_map(slot).collect();
    let mut segments: Vec<Segment> = each("segments").filter_map(|value| segment(volume, value)).collect();
    segments.sort_by_key(|segment| segment.at);
    let ciphers = segments.iter().find_map(|segment| segment.cipher.clone());
    let locked = Locked {
        id: copy.id.clone(),
        name: copy.name.clone(),
        what: format!("LUKS2, {}", ciphers.unwrap_or_default()),
        by: vec![format!("{} passwords", slots.len())],
        faults: Vec::new(),
    };
    Some(Header { locked, slots, checks: each("digests").filter_map(check).collect(), segments })
}

fn slot(value: &Value) -> Option<Slot> {
    let (kdf, area, splitter) = (value.get("kdf")?, value.get("area")?, value.get("af")?);
    let small = |value: &Value, most: u64| number(value).filter(|n| *n <= most).and_then(|n| u32::try_from(n).ok());
    let argon = |kind| {
        let memory = small(kdf.get("memory")?, MAX_MEMORY)?;
        Some(Kdf::Argon2 {
            kind,
            passes: small(kdf.get("time")?, MAX_WORK.checked_div(memory.into())?)?,
            memory,
            lanes: small(kdf.get("cpus")?, 64)?,
        })
    };
    let kind = match kdf.get("type")?.as_str()? {
        "pbkdf2" => {
            Kdf::Pbkdf2 { hash: text(kdf.get("hash")?)?, rounds: small(kdf.get("iterations")?, u64::from(u32::MAX))? }
        }
        "argon2i" => argon(argon2::Algorithm::Argon2i)?,
        "argon2id" => argon(argon2::Algorithm::Argon2id)?,
        _ => return None,
    };
    let len = |value: &Value| number(value).and_then(|n| usize::try_from(n).ok()).filter(|len| (1..=256).contains(len));
    Some(Slot {
        kind,
        salt: bytes(kdf.get("salt")?)?,
        key_len: len(value.get("key_size")?)?,
        area_key_len: len(area.get("key_size")?)?,
        area_cipher: text(area.get("encryption")?)?,
        material: number(area.get("offset")?)?,
        stripes: small(splitter.get("stripes")?, 1 << 16)?,
        hash: text(splitter.get("hash")?)?,
    })
}

fn check(value: &Value) -> Option<Check> {
    Some(Check {
        hash: text(value.get("hash")?)?,
        salt: bytes(value.get("salt")?)?,
        rounds: u32::try_from(number(value.get("iterations")?)?).ok()?,
        digest: bytes(value.get("digest")?)?,
    })
}

fn segment(volume: View<'_>, value: &Value) -> Option<Segment> {
    // A backup segment is what the others were before a re-encryption that goes on.
    let is_backup = value
        .get("flags")
        .and_then(Value::as_array)
        .is_some_and(|flags| flags.iter().any(|f| f.as_str().is_some_and(|f| f.starts_with("backup"))));
    let at = number(value.get("offset")?)?;
    let all = volume.size().saturating_sub(at);
    let len = value.get("size").and_then(number).unwrap_or(all).min(all);
    let crypt = value.get("type")?.as_str()? == "crypt";
    let sector =
        value.get("sector_size").and_then(number).filter(|n| matches!(n, 512 | 1024 | 2048 | 4096)).unwrap_or(512);
    let cipher = if crypt { Some(text(value.get("encryption")?)?) } else { None };
    let tweak = value.get("iv_tweak").and_then(number).unwrap_or(0).checked_div(sector.checked_div(512)?)?;
    (!is_backup).then(|| Segment { at, len: len & !sector.saturating_sub(1), cipher, sector, tweak })
}
