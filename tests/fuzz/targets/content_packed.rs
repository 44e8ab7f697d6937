//! Packed blocks: any bytes as blocks of every method, at any offset of them; and as LZVN alone.
#![no_main]

use evidex::content::packed::{Block, Method};
use evidex::content::{Codec, Content, Run, Stream, lzvn};
use evidex::extent::Extent;
use evidex::image::View;
use evidex_fuzz::{Bytes, Tape, drain};

const METHODS: [Method; 11] = [
    Method::Plain,
    Method::Hole,
    Method::Zlib,
    Method::DecmpfsZlib,
    Method::DecmpfsLzvn,
    Method::DecmpfsLzfse,
    Method::Xz,
    Method::Lzma,
    Method::Lzo,
    Method::Lz4,
    Method::Zstd,
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut tape = Tape(data);
    let mut blocks = Vec::new();
    for _ in 0..1 + tape.byte() % 4 {
        let method = METHODS[usize::from(tape.byte()) % METHODS.len()];
        blocks.push(Block { stored: tape.number(2), size: tape.number(3), skip: tape.number(2), method });
    }
    let size = tape.number(3);
    let wanted = (size as usize) & 0xffff;
    assert!(lzvn::decompress(tape.0, wanted).is_none_or(|bytes| bytes.len() == wanted), "not what was asked for");
    let image = Bytes(tape.0.to_vec());
    let stored = image.0.len() as u64;
    let runs =
        vec![Run::Data(Extent::new(0, stored / 2)), Run::Data(Extent::between(stored / 2, stored)), Run::Hole(9)];
    let mut stream = Stream::plain(runs, size);
    stream.codec = Codec::Packed { blocks: blocks.into() };
    drain(&Content::new(View::whole(&image), &stream));
});
