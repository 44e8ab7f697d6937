//! The header of version 1: big-endian, eight key slots of 48 bytes from byte 208.

use super::{Check, Header, Kdf, Segment, Slot};
use crate::bytes::{Fields, latin1};
use crate::image::View;
use crate::volume::vault::Locked;

const ACTIVE: u32 = 0x00ac_71f3;

pub(super) fn read(volume: View<'_>) -> Option<Header> {
    let head = volume.read(0, 592).ok()?;
    if head.span(0, 6)? != b"LUKS\xba\xbe" || head.be16(6)? != 1 {
        return None;
    }
    let text = |at: usize| head.span(at, 32).map(latin1);
    let (cipher, hash) = (format!("{}-{}", text(8)?, text(40)?), text(72)?);
    let payload = u64::from(head.be32(104)?).saturating_mul(512);
    let key_len = usize::try_from(head.be32(108)?).ok().filter(|len| (1..=256).contains(len))?;
    let mut slots = Vec::new();
    for number in 0..8usize {
        let at = number.checked_mul(48)?.checked_add(208)?;
        let field = |by: usize| head.be32(at.checked_add(by)?);
        if field(0)? == ACTIVE {
            slots.push(Slot {
                kind: Kdf::Pbkdf2 { hash: hash.clone(), rounds: field(4)? },
                salt: head.span(at.checked_add(8)?, 32)?.to_vec(),
                key_len,
                area_key_len: key_len,
                area_cipher: cipher.clone(),
                material: u64::from(field(40)?).saturating_mul(512),
                stripes: field(44)?,
                hash: hash.clone(),
            });
        }
    }
    let locked = Locked {
        id: head.span(168, 40).map(latin1)?,
        what: format!("LUKS1, {cipher}"),
        by: vec![format!("{} passwords", slots.len())],
        ..Locked::default()
    };
    let check = Check {
        hash,
        salt: head.span(132, 32)?.to_vec(),
        rounds: head.be32(164)?,
        digest: head.span(112, 20)?.to_vec(),
    };
    // A detached header has no payload here: what lies at 0 would be the header itself.
    let len = volume.size().saturating_sub(payload) & !511;
    let segment = Segment { at: payload, len, cipher: Some(cipher), sector: 512, tweak: 0 };
    Some(Header { locked, slots, checks: vec![check], segments: vec![segment] })
}
