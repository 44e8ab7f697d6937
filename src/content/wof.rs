//! Content that the Windows Overlay Filter keeps compressed in `:WofCompressedData` ([MS-FSCC] 2.1.2.13 names the reparse
//! point, the layout is that of a WIM resource): a table of the places of all chunks but the first, relative to its end,
//! in 4 bytes (8 for files of more than 4 GiB), then the chunks. A chunk that is as long as what it stands for is stored.
//!
//! Checked against resources that wimlib wrote (`fixtures/wof`), by SHA-256.

use super::{Stream, lzx, xpress};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use serde::{Deserialize, Serialize};

/// How chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Xpress in chunks of 4 KiB.
    Xpress4K,
    /// Xpress in chunks of 8 KiB.
    Xpress8K,
    /// Xpress in chunks of 16 KiB.
    Xpress16K,
    /// LZX in chunks of 32 KiB.
    Lzx,
}

/// A chunk is never larger than 32 KiB.
const MOST: u64 = lzx::CHUNK as u64;

impl Algorithm {
    /// What `FILE_PROVIDER_EXTERNAL_INFO_V1.Algorithm` means.
    pub const fn of_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Xpress4K),
            1 => Some(Self::Lzx),
            2 => Some(Self::Xpress8K),
            3 => Some(Self::Xpress16K),
            _ => None,
        }
    }

    const fn chunk(self) -> u64 {
        match self {
            Self::Xpress4K => 1 << 12,
            Self::Xpress8K => 1 << 13,
            Self::Xpress16K => 1 << 14,
            Self::Lzx => lzx::CHUNK as u64,
        }
    }

    fn decompress(self, data: &[u8], size: usize) -> Option<Vec<u8>> {
        match self {
            Self::Lzx => lzx::decompress(data, size),
            _ => xpress::decompress(data, size),
        }
    }
}

/// The bytes of `wanted` that lie in the chunk in which it starts; `stored` bytes of the stream's runs hold all chunks.
///
/// # Errors
/// A fault where the chunk is missing or damaged.
pub fn chunk_part(
    view: View<'_>,
    stream: &Stream,
    starts: &[u64],
    (algorithm, stored): (Algorithm, u64),
    wanted: Extent,
) -> Result<Vec<u8>, Fault> {
    let number = wanted.start.checked_div(algorithm.chunk()).unwrap_or(0);
    let first = number.saturating_mul(algorithm.chunk());
    let size = algorithm.chunk().min(stream.size.saturating_sub(first));
    let fault = |what: &str| Fault::new(view.extent().start, "wof", format!("chunk {number}: {what}"));
    let read = |extent: Extent| {
        let inside = extent.end() <= stored && extent.len <= MOST;
        inside.then(|| super::stored(view, stream, starts, extent)).flatten()
    };
    let place = place(stream.size, algorithm.chunk(), number, stored, read);
    let data = place.filter(|place| place.len <= size).ok_or_else(|| fault("its place is not told"))?;
    let data = read(data).ok_or_else(|| fault("it ends before it should"))?;
    let whole = if data.len() as u64 == size { Some(data) } else { algorithm.decompress(&data, index(size)) };
    let whole = whole.ok_or_else(|| fault("it is damaged"))?;
    let from = index(wanted.start.saturating_sub(first)).min(whole.len());
    let to = index(wanted.end().saturating_sub(first)).min(whole.len());
    Ok(whole.get(from..to).unwrap_or_default().to_vec())
}

/// Where a chunk lies in the stored bytes.
fn place(size: u64, chunk: u64, number: u64, stored: u64, read: impl Fn(Extent) -> Option<Vec<u8>>) -> Option<Extent> {
    let width: u64 = if size > u64::from(u32::MAX) { 8 } else { 4 };
    let rows = size.div_ceil(chunk).checked_sub(1)?;
    let table = rows.checked_mul(width)?;
    let row = |number: u64| {
        let raw = read(Extent::new(number.checked_sub(1)?.checked_mul(width)?, width))?;
        let value = if width == 8 { raw.le64(0)? } else { raw.le32(0)?.into() };
        table.checked_add(value)
    };
    let start = if number == 0 { table } else { row(number)? };
    let end = if number >= rows { stored } else { row(number.checked_add(1)?)? };
    (start < end).then(|| Extent::between(start, end))
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Content, Run};
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    /// Size and SHA-256 of what `fixtures/wof/make.sh` compresses.
    const SAMPLE: (u64, &str) = (66_406, "e74bd88e7356a9d92b1eeb50c491efc9d297dbf0df102ae094d70107ab433f65");

    fn decoded(resource: &[u8], algorithm: Algorithm, size: u64) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(resource)?;
        let stored = resource.len() as u64;
        // In two pieces, to read over the border of runs.
        let (head, tail) = (Extent::new(0, stored / 2), Extent::between(stored / 2, stored));
        let runs = vec![Run::Data(head), Run::Data(tail)];
        let stream = Stream { size, runs, valid: size, codec: Codec::Wof { algorithm, stored } };
        let content = Content::new(View::whole(image.as_ref()), &stream);
        let mut out = Vec::new();
        for part in content.parts() {
            out.extend_from_slice(&part.map_err(|fault| fault.to_string())?);
        }
        assert!(size < 5000 || content.slice(4090, 20).prefix(20).as_ref() == &out[4090..4110]);
        Ok(out)
    }

    #[test]
    fn the_samples_decode() -> Result<(), Box<dyn std::error::Error>> {
        for (name, algorithm) in [
            ("xpress4096", Algorithm::Xpress4K),
            ("xpress8192", Algorithm::Xpress8K),
            ("xpress16384", Algorithm::Xpress16K),
            ("lzx32768", Algorithm::Lzx),
        ] {
            let file = format!("{}/fixtures/wof/sample.{name}", env!("CARGO_MANIFEST_DIR"));
            let out = decoded(&std::fs::read(file)?, algorithm, SAMPLE.0)?;
            let hash: String = Sha256::digest(&out).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((out.len() as u64, hash.as_str()), SAMPLE, "{name}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_resource_is_survived(bytes in prop::collection::vec(any::<u8>(), 1..200), size in 1u64..20_000) {
            for algorithm in (0..4).filter_map(Algorithm::of_number) {
                let out = decoded(&bytes, algorithm, size);
                prop_assert!(out.is_err() || out.is_ok_and(|out| out.len() as u64 == size));
            }
        }
    }
}
