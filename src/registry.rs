//! Everything that is registered: one line a module, one table a layer. The order of a table is the order of trial.

use crate::carve::Carver;
use crate::extract::Extractor;
use crate::{fs, image, volume};

/// Containers of evidence.
pub static IMAGES: &[image::Format] = &[
    image::Format { name: "folder", open: image::folder::open },
    image::Format { name: "raw", open: image::raw::open },
];

/// Partition schemes; a GPT goes before the MBR that protects it.
pub static SCHEMES: &[volume::Scheme] =
    &[volume::Scheme { name: "gpt", read: volume::gpt::read }, volume::Scheme { name: "mbr", read: volume::mbr::read }];

/// File systems.
pub static FILE_SYSTEMS: &[fs::Row] = &[
    fs::Row { name: "folder", probe: fs::folder::probe, open: fs::folder::open },
    fs::Row { name: "fat", probe: fs::fat::probe, open: fs::fat::open },
    fs::Row { name: "ext", probe: fs::ext::probe, open: fs::ext::open },
];

/// Carvers.
pub static CARVERS: &[Carver] = &[];

/// Extractors.
pub static EXTRACTORS: &[Extractor] = &[];
