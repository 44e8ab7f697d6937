//! Identification and the extractors. The first byte puts a signature in front, so that the formats are found soon. A
//! panic in a foreign crate becomes a fault of the item (`work::guarded`) and is no finding; one in evidex is.
#![no_main]

use evidex::content::Content;
use evidex::extract::{Findings, Member, extractor_for};
use evidex::fault::Fault;
use evidex::fuel::{Fuel, Spent};
use evidex::identify::identify;
use evidex::text::Place;

const FUEL: u64 = 1 << 26;

const HEADS: &[&[u8]] = &[
    b"",
    b"PK\x03\x04",
    b"%PDF-1.4\n",
    b"<html><body>",
    b"From a@b.c Mon Jan  1 00:00:00 2024\n",
    b"From: a@b.c\nTo: d@e.f\nSubject: g\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMIME-Version: 1.0\n",
    b"\x1f\x8b\x08",
    b"BZh9",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
];

struct Told {
    depth: u32,
}

impl Findings for Told {
    fn text(&mut self, _: &str, _: Option<Place>) -> Result<(), Spent> {
        Ok(())
    }

    fn member(&mut self, member: Member<'_>, fuel: &mut Fuel) -> Result<(), Spent> {
        if self.depth == 0 { Ok(()) } else { read(&member.content, self.depth - 1, fuel) }
    }

    fn property(&mut self, _: &'static str, _: &str) {}

    fn fault(&mut self, _: Fault) {}

    fn encrypted(&mut self) {}
}

fn read(content: &Content<'_>, depth: u32, fuel: &mut Fuel) -> Result<(), Spent> {
    let identity = identify(&content.prefix(evidex::identify::HEAD), content.size());
    let Some(row) = extractor_for(&identity) else { return Ok(()) };
    (row.extract)(content, &identity, &mut Told { depth }, fuel)
}

fn foreign(panic: &std::panic::PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|at| at.file().contains("/registry/src/"))
}

libfuzzer_sys::fuzz_target!(
    init: {
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| if !foreign(panic) { fatal(panic) }));
    },
    |data: &[u8]| {
        let (head, rest) = data.split_first().unwrap_or((&0, &[]));
        let bytes = [HEADS[usize::from(*head) % HEADS.len()], rest].concat();
        let all = std::panic::AssertUnwindSafe(|| read(&Content::borrowed(&bytes), 2, &mut Fuel::new(FUEL)));
        let _ = std::panic::catch_unwind(all);
    }
);
