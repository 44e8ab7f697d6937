//! The words of AFF4's three vocabularies: the Standard's, that of Evimetry before it, that of Rekall and its memory imagers.

use super::turtle::{Graph, Object};
use crate::image::codec::Codec;

/// What a term's URI begins with.
const NAMESPACES: [&str; 3] =
    ["http://aff4.org/Schema#", "http://afflib.org/2009/aff4#", "http://afflib.org/2012/SymbolicStream#"];

/// Images of any kind.
pub(super) const IMAGE: &[&str] =
    &["Image", "ContiguousImage", "DiscontiguousImage", "DiskImage", "VolumeImage", "MemoryImage"];
/// Maps.
pub(super) const MAP: &[&str] = &["Map", "map"];
/// Streams of chunks.
pub(super) const STREAM: &[&str] = &["ImageStream", "stream", "image"];
/// Evidence that is files.
pub(super) const LOGICAL: &[&str] = &["FileImage", "FolderImage", "Folder", "LogicalAcquisitionTask"];
/// Bytes of a stream.
pub(super) const SIZE: &[&str] = &["size"];
/// Bytes of a chunk.
pub(super) const CHUNK: &[&str] = &["chunkSize", "chunk_size"];
/// Chunks of a bevy.
pub(super) const CHUNKS: &[&str] = &["chunksInSegment", "chunks_in_segment", "chunks_per_segment"];
/// How chunks are packed.
pub(super) const COMPRESSION: &[&str] = &["compressionMethod", "CompressionMethod", "compression"];

/// What the metadata may say of the acquisition, and how it is called here.
const FACTS: &[(&[&str], &str)] = &[
    (&["caseName"], "case"),
    (&["caseDescription"], "description"),
    (&["examiner"], "examiner"),
    (&["diskMake"], "make"),
    (&["diskModel"], "model"),
    (&["diskSerial"], "serial number"),
    (&["diskFirmware"], "firmware"),
    (&["diskInterfaceType"], "interface"),
    (&["diskDeviceName"], "device"),
    (&["sectorCount"], "sectors"),
    (&["blockSize"], "sector"),
    (&["memoryInstalledSize"], "memory"),
    (&["acquisitionType"], "acquisition"),
    (&["acquisitionCompletionState"], "acquisition ended as"),
    (&["startTime", "StartTime"], "acquisition began"),
    (&["endTime", "EndTime"], "acquisition ended"),
    (&["creationTime", "CreationTime"], "container made"),
    (&["tool"], "acquired with"),
];

/// A symbolic stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// This byte over and over.
    Byte(u8),
    /// Was not acquired.
    Unknown,
    /// Could not be read.
    Unreadable,
}

/// A URI without its namespace; `None` where it is of another.
pub(super) fn term(uri: &str) -> Option<&str> {
    NAMESPACES.iter().find_map(|space| uri.strip_prefix(space))
}

/// True where a URI is one of these terms.
pub(super) fn is(uri: &str, terms: &[&str]) -> bool {
    term(uri).is_some_and(|term| terms.contains(&term))
}

/// True where `subject` is of one of these classes.
pub(super) fn is_a(graph: &Graph, subject: &str, classes: &[&str]) -> bool {
    graph.types(subject).any(|class| is(class, classes))
}

/// What is said of `subject` by one of these predicates.
pub(super) fn all<'g>(graph: &'g Graph, subject: &str, predicates: &'g [&str]) -> impl Iterator<Item = &'g Object> {
    graph.said(subject).filter(|(predicate, _)| is(predicate, predicates)).map(|(_, object)| object)
}

/// The number that is said of `subject`.
pub(super) fn number(graph: &Graph, subject: &str, predicates: &[&str]) -> Option<u64> {
    graph
        .said(subject)
        .filter(|(predicate, _)| is(predicate, predicates))
        .find_map(|(_, object)| object.text.parse().ok())
}

/// The symbolic stream that a URI names.
pub(super) fn symbol(uri: &str) -> Option<Symbol> {
    let term = term(uri)?;
    match term {
        "Zero" => return Some(Symbol::Byte(0)),
        "UnknownData" | "NoData" => return Some(Symbol::Unknown),
        "UnreadableData" => return Some(Symbol::Unreadable),
        _ => {}
    }
    let digits = term.strip_prefix("SymbolicStream").unwrap_or(term);
    if digits.len() != 2 {
        return None;
    }
    crate::bytes::unhex(digits)?.first().map(|byte| Symbol::Byte(*byte))
}

/// How the chunks of a stream are packed: none of them, or with this, and whether even those that did not become smaller.
///
/// # Errors
/// The name of a method that is not known.
pub(super) fn compression(graph: &Graph, stream: &str) -> Result<Option<(Codec, bool)>, String> {
    let Some(method) = all(graph, stream, COMPRESSION).next() else { return Ok(None) };
    let uri = method.text.as_str();
    match uri {
        "http://code.google.com/p/snappy/" => Ok(Some((Codec::Snappy, false))),
        "https://github.com/google/snappy" => Ok(Some((Codec::Snappy, true))),
        "https://code.google.com/p/lz4/" | "https://github.com/lz4/lz4" => Ok(Some((Codec::Lz4, false))),
        _ if is(uri, &["NullCompressor", "compression/stored"]) => Ok(None),
        _ if uri.contains("rfc1950") => Ok(Some((Codec::Zlib, false))),
        _ if uri.contains("rfc1951") => Ok(Some((Codec::Deflate, false))),
        _ => Err(uri.to_owned()),
    }
}

/// What the metadata says of the acquisition: name and value.
pub(super) fn facts(graph: &Graph) -> Vec<(&'static str, String)> {
    let value = |predicates: &[&str]| {
        let said = graph.subjects().flat_map(|subject| graph.said(subject));
        let mut objects = said.filter(|(predicate, _)| is(predicate, predicates)).map(|(_, object)| &object.text);
        objects.find(|text| !text.is_empty()).map(|text| term(text).unwrap_or(text).to_owned())
    };
    FACTS.iter().filter_map(|(predicates, name)| Some((*name, value(predicates)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_every_vocabulary() {
        let standard = |name: &str| symbol(&format!("http://aff4.org/Schema#{name}"));
        assert_eq!(standard("Zero"), Some(Symbol::Byte(0)));
        assert_eq!(standard("SymbolicStreamfF"), Some(Symbol::Byte(255)));
        assert_eq!(standard("UnreadableData"), Some(Symbol::Unreadable));
        assert_eq!(symbol("http://afflib.org/2009/aff4#FF"), Some(Symbol::Byte(255)));
        assert_eq!(symbol("http://afflib.org/2012/SymbolicStream#61"), Some(Symbol::Byte(0x61)));
        assert_eq!((standard("Map"), symbol("aff4://1")), (None, None));
    }
}
