//! Discs made to cost much, or to hide what they hold: chains and lists without an end, checksums that cover more than there is.

use super::*;

#[test]
fn a_chain_of_entries_that_leads_back_ends() {
    let (bytes, known) = disc(Plain);
    let mut d = Disc { bytes, kind: Plain };
    let link = sealed(259, d.location(13), &[vec![0; 20], d.icb(10)].concat());
    d.block(ENTRIES + 13, &link);
    let (_, listed, ..) = list(&d.bytes).unwrap();
    let (chain, _) = listed.iter().find(|(entry, _)| entry.path == "/chain").unwrap();
    assert!(chain.faults.iter().any(|fault| fault.what.contains("leads back into itself")), "{:?}", chain.faults);
    assert!(known.keys().all(|path| listed.iter().any(|(entry, _)| entry.path == *path)));
}

#[test]
fn a_list_of_free_space_that_has_no_end_is_told() {
    let (bytes, known) = disc(Plain);
    let mut d = Disc { bytes, kind: Plain };
    for first in [33, 65] {
        let mut body = d.bytes[first * S + 16..first * S + 512].to_vec();
        put(&mut body, 40, &short(S, BITMAP + 1));
        d.sector(first, 5, &body);
    }
    let list_of = [vec![0; 20], 8u32.to_le_bytes().to_vec(), short(3 << 30 | S, BITMAP + 1)].concat();
    let raw = sealed(263, BITMAP + 1, &list_of);
    d.block(BITMAP + 1, &raw);
    let (facts, listed, ..) = list(&d.bytes).unwrap();
    assert!(facts.faults.iter().any(|fault| fault.what.contains("not read behind 4096")), "{:?}", facts.faults);
    assert!(known.keys().all(|path| listed.iter().any(|(entry, _)| entry.path == *path)));
}

#[test]
fn an_earlier_session_without_a_table_is_told() {
    let (mut bytes, _) = disc(Virtual(200));
    let last = (START + BLOCKS - 1) * S;
    let len = 160 + u32::from_le_bytes(bytes[last + 172..last + 176].try_into().unwrap()) as usize;
    let mut body = bytes[last + 16..last + 16 + len].to_vec();
    put(&mut body, 160 + 132, &5u32.to_le_bytes());
    put(&mut bytes, last, &sealed(261, BLOCKS - 1, &body));
    let (facts, ..) = list(&bytes).unwrap();
    assert!(facts.faults.iter().any(|fault| fault.what.contains("block 5, the table of the session before")));
}

#[test]
fn what_a_crc_covers_is_asked_only_of_a_sound_tag() {
    let mut raw = fid("name", 0, &long(S, 1, 0), 0);
    assert_eq!(Tag::covers(&raw, tag::FILE_IDENTIFIER), u16::try_from(raw.len() - 16).ok());
    assert_eq!(Tag::covers(&raw, tag::FILE_ENTRY), None);
    raw[7] ^= 1;
    assert_eq!(Tag::covers(&raw, tag::FILE_IDENTIFIER), None);
}

#[test]
fn a_descriptor_costs_the_pieces_that_it_gives() {
    let (bytes, _) = disc(Virtual(200));
    let image = of_bytes(&bytes).unwrap();
    let view = View::whole(image.as_ref());
    let (layout, _) = Layout::read(view, &Described::read(view, &[]).unwrap());
    let at = Address { part: 1, block: 0 };
    assert_eq!(layout.pieces(at, 10 * S as u64), 10);
    assert!(layout.pieces(at, 1 << 30) <= 31);
    let file = File::of(5, 0, 20 * S, short(20 * S, 1));
    let mut d = Disc { bytes: bytes.clone(), kind: Virtual(200) };
    d.file(2, &file);
    let image = of_bytes(&d.bytes).unwrap();
    let layout = Layout { view: View::whole(image.as_ref()), ..layout };
    let entry = layout.entry(Address { part: 1, block: 2 }).unwrap();
    let of = |fuel| alloc::map(&layout, &entry, &mut crate::fuel::Fuel::new(fuel)).wrong;
    assert_eq!(of(28), None);
    assert!(of(27).is_some());
}
