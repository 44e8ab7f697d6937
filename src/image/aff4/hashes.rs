//! The hashes that a volume carries of its image as a whole, and of the hashes of its chunks ("AFF4 Standard v1.0a", section 6).

use super::lexicon::{self, all, number};
use super::map::{Stretch, Target};
use super::stream::Stream;
use super::sums::Sum;
use super::turtle::Graph;
use crate::bytes::unhex;
use crate::extent::Extent;
use crate::image::about::{About, Algorithm};
use crate::image::chunks::Files;

/// The hashes of chunks that are hashed when a volume is opened.
const MOST: u64 = 64 << 20;

/// What is said of an image.
#[derive(Default)]
pub(super) struct Hashes {
    /// Of all of its bytes.
    linear: Vec<(Sum, String)>,
    /// By the number of a stream: of the hashes of its chunks by the first algorithm, the second is that of this hash.
    blocks: Vec<(usize, Sum, Sum, String)>,
    /// False where bytes of the disk were not acquired: what its writer took for them is in its hash, and is no evidence.
    complete: bool,
}

impl Hashes {
    /// Gathers them from the metadata.
    pub(super) fn of(
        graph: &Graph,
        image: &str,
        data: &str,
        streams: &[Stream],
        stretches: &[Stretch],
        targets: &[Target],
    ) -> Self {
        let sum = |uri: &Option<String>| uri.as_deref().and_then(lexicon::term).and_then(Sum::named);
        let said = |subject: &str, predicates| {
            let said: Vec<_> = all(graph, subject, predicates).collect();
            said.into_iter()
                .filter_map(|object| Some((sum(&object.datatype)?, object.text.to_lowercase())))
                .collect::<Vec<_>>()
        };
        let mut linear = [said(image, &["hash"]), said(data, &["hash"])].concat();
        // A stream's hash is the image's where the image is the stream, from its first byte to its last.
        let size = number(graph, data, lexicon::SIZE);
        for (uri, stream) in streams.iter().map(|stream| (stream.uri.as_str(), stream)) {
            let whole = Stretch { extent: Extent::new(0, stream.size), target: 0, at: 0 };
            let alone = stretches.len() == 1 && stretches.first().map(|s| Stretch { target: 0, ..*s }) == Some(whole);
            if alone && size.is_none_or(|size| size == stream.size) {
                linear.extend(said(uri, &["hash"]));
            }
        }
        let mut blocks = Vec::new();
        for (row, stream) in streams.iter().enumerate() {
            for of in
                stream.bevies.values().flat_map(|bevy| bevy.sums.keys()).collect::<std::collections::BTreeSet<_>>()
            {
                let uri = format!("{}/blockhash.{}", stream.uri, of.name().to_lowercase());
                blocks.extend(said(&uri, &["hash"]).into_iter().map(|(by, hex)| (row, *of, by, hex)));
            }
        }
        let is_lost = |stretch: &&Stretch| {
            !matches!(targets.get(stretch.target), Some(Target::Stream(_) | Target::Symbol(lexicon::Symbol::Byte(_))))
        };
        Self { linear, blocks, complete: !stretches.iter().any(|stretch| is_lost(&stretch)) }
    }
}

/// Tells of the hashes of the whole, which are checked when all of it is read, and checks those of the hashes of chunks.
pub(super) fn check(hashes: &Hashes, streams: &[Stream], files: &Files, about: &mut About) {
    for (sum, hex) in &hashes.linear {
        let algorithm = match sum {
            Sum::Md5 => Algorithm::Md5,
            Sum::Sha1 => Algorithm::Sha1,
            Sum::Sha256 => Algorithm::Sha256,
            Sum::Sha512 => Algorithm::Sha512,
            Sum::Blake2b => Algorithm::Blake2b,
        };
        match unhex(hex).filter(|bytes| bytes.len() == sum.len()) {
            None => about.fault(format!("the {} that it carries is none: {hex}", sum.name())),
            Some(bytes) if hashes.complete => about.hash(algorithm, &bytes, "the metadata"),
            Some(_) => {
                about.fact(&format!("{} of the disk", sum.name()), hex.clone());
                about.remark(format!(
                    "the {} that it carries covers what was not acquired: it is not checked",
                    sum.name()
                ));
            }
        }
    }
    for (row, of, by, hex) in &hashes.blocks {
        let Some(stream) = streams.get(*row) else { continue };
        match stream.blocks(files, *of, MOST) {
            Some(tables) => {
                let parts: Vec<&[u8]> = tables.iter().map(Vec::as_slice).collect();
                if !by.holds(&parts, hex) {
                    let what = format!("{}: the hash of the {} of its chunks does not hold", stream.uri, of.name());
                    about.fault(format!("{what}: one of them was changed, or the metadata"));
                }
            }
            None => about.remark(format!(
                "{}: the {} of its chunks are not checked as a whole, each is",
                stream.uri,
                of.name()
            )),
        }
    }
}
