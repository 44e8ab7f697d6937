//! Xpress and LZX: any bytes as one chunk, and as the stored chunks of a stream behind the table of their places.
#![no_main]

use evidex::content::wof::Algorithm;
use evidex::content::{Codec, Content, Run, Stream, lzx, xpress};
use evidex::extent::Extent;
use evidex::image::View;
use evidex_fuzz::{Bytes, Tape, drain};

const ALGORITHMS: [Algorithm; 4] = [Algorithm::Xpress4K, Algorithm::Xpress8K, Algorithm::Xpress16K, Algorithm::Lzx];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut tape = Tape(data);
    let algorithm = ALGORITHMS[usize::from(tape.byte()) % ALGORITHMS.len()];
    let size = tape.number(2);
    let stored = tape.0;
    let decompress = if algorithm == Algorithm::Lzx { lzx::decompress } else { xpress::decompress };
    let wanted = (size as usize) % (lzx::CHUNK + 1);
    assert!(decompress(stored, wanted).is_none_or(|bytes| bytes.len() == wanted), "not what was asked for");
    let image = Bytes(stored.to_vec());
    let stored = image.0.len() as u64;
    let runs =
        vec![Run::Data(Extent::new(0, stored / 2)), Run::Data(Extent::between(stored / 2, stored)), Run::Hole(9)];
    let mut stream = Stream::plain(runs, size);
    stream.codec = Codec::Wof { algorithm, stored: stored + 9 };
    drain(&Content::new(View::whole(&image), &stream));
});
