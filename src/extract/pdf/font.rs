//! Fonts: from the codes in strings to characters and widths.
//!
//! Source: ISO 32000-1, 9.6 (simple fonts), 9.7 (composite fonts), 9.10 (extraction of text). The widths of the standard
//! fonts, which need not be given, are those of Helvetica.

use super::cmap::{CMap, code};
use super::{decoded, dictionary, entry};
use crate::bytes::index;
use crate::fuel::{Fuel, Spent};
use lopdf::{Dictionary, Document, Object};

/// How codes are cut out of a string.
enum Codes {
    Single,
    Double,
    /// By the ranges of the font's own map.
    Mapped,
    /// In an East Asian code page, or in UTF-16.
    Page(&'static encoding_rs::Encoding),
}

/// A font, as text needs it.
pub(super) struct Font {
    codes: Codes,
    map: CMap,
    /// For simple fonts: the text of each code.
    table: Vec<String>,
    /// By code, as far as they are given.
    widths: Vec<f32>,
    default_width: f32,
}

/// Helvetica's widths from the space on (Adobe Font Metrics 3).
const HELVETICA: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
];

fn number(object: &Object) -> Option<f32> {
    object.as_float().ok().filter(|n| n.is_finite())
}

impl Font {
    pub(super) fn read(doc: &Document, dict: &Dictionary, fuel: &mut Fuel) -> Result<Self, Spent> {
        let map = match entry(doc, dict, b"ToUnicode") {
            Some(Object::Stream(stream)) => CMap::parse(&decoded(stream, fuel)?.unwrap_or_default()),
            _ => CMap::default(),
        };
        fuel.burn(256)?;
        let composite = dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Type0");
        Ok(if composite { Self::composite(doc, dict, map) } else { Self::simple(doc, dict, map) })
    }

    fn simple(doc: &Document, dict: &Dictionary, map: CMap) -> Self {
        // Only the encoding is wanted here: with `ToUnicode` the crate would read the map again.
        let mut bare = dict.clone();
        bare.remove(b"ToUnicode");
        let encoding = bare.get_font_encoding(doc).ok();
        let text = |byte: u8| {
            let mapped = map.get(u32::from(byte)).map(str::to_owned);
            let encoded = || encoding.as_ref().and_then(|encoding| encoding.bytes_to_string(&[byte]).ok());
            mapped.or_else(encoded).filter(|text| !text.is_empty()).unwrap_or_else(|| fallback(byte))
        };
        let table = (0..=u8::MAX).map(text).collect();
        let first = entry(doc, dict, b"FirstChar").and_then(|n| n.as_i64().ok()).and_then(|n| u32::try_from(n).ok());
        let given = entry(doc, dict, b"Widths").and_then(|list| list.as_array().ok());
        let missing = dictionary(doc, dict, b"FontDescriptor").and_then(|d| number(entry(doc, d, b"MissingWidth")?));
        let default_width = missing.unwrap_or(if given.is_some() { 0.0 } else { 556.0 });
        let mut widths = vec![default_width; 256];
        let list: Vec<f32> = match given {
            // Type 3 fonts measure in their own space; theirs is mostly a thousandth, too.
            Some(list) => list.iter().take(256).map(|n| number(super::resolve(doc, n)).unwrap_or(500.0)).collect(),
            None => HELVETICA.map(f32::from).to_vec(),
        };
        let first = if given.is_some() { first.unwrap_or(0) } else { 32 };
        widths.iter_mut().skip(index(first.into())).zip(list).for_each(|(to, width)| *to = width);
        Self { codes: Codes::Single, map, table, widths, default_width }
    }

    fn composite(doc: &Document, dict: &Dictionary, map: CMap) -> Self {
        let name = entry(doc, dict, b"Encoding").and_then(|name| name.as_name().ok()).unwrap_or(b"Identity-H");
        let codes = match predefined(name) {
            Some(page) => Codes::Page(page),
            None if name.starts_with(b"Identity") => Codes::Double,
            None => Codes::Mapped,
        };
        let descendants = entry(doc, dict, b"DescendantFonts").and_then(|list| list.as_array().ok());
        let descendant =
            descendants.and_then(|list| list.first()).and_then(|font| super::resolve(doc, font).as_dict().ok());
        let default_width = descendant.and_then(|font| number(entry(doc, font, b"DW")?)).unwrap_or(1000.0);
        let list = descendant.and_then(|font| entry(doc, font, b"W")?.as_array().ok());
        let widths = list.map(|list| cid_widths(doc, list, default_width)).unwrap_or_default();
        Self { codes, map, table: Vec::new(), widths, default_width }
    }

    /// Tells text and width (in thousandths) of every code of a string; the flag marks the one-byte code 32.
    pub(super) fn show(&self, mut bytes: &[u8], mut each: impl FnMut(&str, f32, bool)) {
        while !bytes.is_empty() {
            let len = self.code_len(bytes).clamp(1, bytes.len());
            let (this, rest) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            bytes = rest;
            let value = code(this);
            let width = self.widths.get(index(value.into())).copied().unwrap_or(self.default_width);
            let space = len == 1 && value == 32;
            match (&self.codes, self.map.get(value)) {
                (Codes::Single, _) => {
                    let text = self.table.get(index(value.into()));
                    each(text.map_or("", String::as_str), width, space);
                }
                (_, Some(text)) => each(text, width, space),
                (Codes::Page(page), None) => each(&page.decode_without_bom_handling(this).0, width, space),
                (_, None) => each("", width, space),
            }
        }
    }

    fn code_len(&self, bytes: &[u8]) -> usize {
        match self.codes {
            Codes::Single => 1,
            Codes::Double => 2,
            Codes::Mapped => self.map.code_len(bytes),
            Codes::Page(page) if page == encoding_rs::UTF_16BE => 2,
            Codes::Page(_) => 1usize.saturating_add(usize::from(bytes.first().is_some_and(|b| *b >= 0x81))),
        }
    }
}

/// What a code without a name most likely is: TeX's fonts have their ligatures among the control characters, at 11 in
/// the old encoding and at 27 in the new one.
fn fallback(byte: u8) -> String {
    match byte {
        0x20..=0x7e => char::from(byte).to_string(),
        11 | 27 => "ff".to_owned(),
        12 | 28 => "fi".to_owned(),
        13 | 29 => "fl".to_owned(),
        14 | 30 => "ffi".to_owned(),
        15 | 31 => "ffl".to_owned(),
        _ => String::new(),
    }
}

/// 9.7.5.2, table 118: encodings whose codes are characters of a code page.
fn predefined(name: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
    Some(match name {
        _ if has(b"UCS2") || has(b"UTF16") => encoding_rs::UTF_16BE,
        _ if has(b"RKSJ") => encoding_rs::SHIFT_JIS,
        _ if name.starts_with(b"GBK") || name.starts_with(b"GB-EUC") => encoding_rs::GBK,
        _ if name.starts_with(b"ETen") || name.starts_with(b"B5") => encoding_rs::BIG5,
        _ if name.starts_with(b"KSC") => encoding_rs::EUC_KR,
        b"EUC-H" | b"EUC-V" => encoding_rs::EUC_JP,
        _ => return None,
    })
}

/// 9.7.4.3: `first [w …]` or `first last w`.
fn cid_widths(doc: &Document, list: &[Object], default: f32) -> Vec<f32> {
    let mut widths = Vec::new();
    let mut put = |cid: u32, width: f32| {
        let at = index(cid.into());
        if at <= 0xffff {
            widths.resize(widths.len().max(at.saturating_add(1)), default);
            widths.iter_mut().skip(at).take(1).for_each(|to| *to = width);
        }
    };
    let mut items = list.iter().map(|item| super::resolve(doc, item));
    let cid = |item: &Object| item.as_i64().ok().and_then(|n| u32::try_from(n).ok());
    while let (Some(first), Some(second)) = (items.next().and_then(cid), items.next()) {
        match second {
            Object::Array(list) => {
                let list = list.iter().map(|n| number(super::resolve(doc, n)).unwrap_or(500.0));
                (first..=0xffff).zip(list).for_each(|(cid, width)| put(cid, width));
            }
            last => {
                let (Some(last), Some(width)) = (cid(last), items.next().and_then(number)) else { break };
                (first..=last.min(0xffff)).for_each(|cid| put(cid, width));
            }
        }
    }
    widths
}
