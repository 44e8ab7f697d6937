//! LZNT1: any bytes as chunks, and as the stored clusters of a compressed stream.
#![no_main]

use evidex::content::{Codec, Content, Run, Stream, lznt1};
use evidex::extent::Extent;
use evidex::image::View;
use evidex_fuzz::{Bytes, Tape, drain};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut tape = Tape(data);
    let (shift, count) = (tape.byte() % 17, tape.byte() % 16);
    let (size, valid) = (tape.number(3), tape.number(3));
    let runs = (0..count).map(|_| match (tape.byte() % 2, tape.number(2), tape.number(2)) {
        (0, len, _) => Run::Hole(len),
        (_, len, start) => Run::Data(Extent::new(start, len)),
    });
    let runs = runs.collect();
    let stored = tape.0;
    for limit in [0, 100, 1 << 16] {
        assert!(lznt1::decompress(stored, limit).is_none_or(|bytes| bytes.len() <= limit), "more than was asked for");
    }
    let image = Bytes(stored.to_vec());
    let stream = Stream { size, runs, valid, codec: Codec::Lznt1 { unit: 1 << shift } };
    drain(&Content::new(View::whole(&image), &stream));
});
