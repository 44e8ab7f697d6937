//! `evidex hash`: the evidence bytes, hashed.

use super::{Common, index, output};
use crate::hash::{Algorithm, Hasher, Hashes};
use crate::image::{self, Image, ImageError, seal};
use anyhow::Result;
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(super) struct HashArgs {
    /// A disk image (the first segment of a split one), a block device or a folder
    image: PathBuf,
    /// Which hashes
    #[arg(long, value_delimiter = ',', default_value = "blake3,sha256,sha1,md5", value_name = "LIST")]
    algo: Vec<String>,
}

pub(super) fn run(args: &HashArgs, common: &Common) -> Result<ExitCode> {
    let algorithms = index::algorithms(&args.algo)?;
    let image = image::open(&args.image)?;
    let hashes = hash(image.as_ref(), &algorithms)?;
    let mut out = std::io::stdout().lock();
    if common.json {
        output::json(
            &mut out,
            &json!({"image": args.image, "size": image.size(), "blake3": hashes.blake3,
            "sha256": hashes.sha256, "sha1": hashes.sha1, "md5": hashes.md5}),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    for algorithm in algorithms {
        let name = args.image.display().to_string();
        writeln!(
            out,
            "{:<6} {}  {}",
            algorithm.name(),
            hashes.get(algorithm).unwrap_or("-"),
            crate::text::printable(&name)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// BLAKE3 on all cores; the others, which are chains, each on one.
pub(super) fn hash(image: &dyn Image, algorithms: &[Algorithm]) -> Result<Hashes, ImageError> {
    let one = |algorithm: &Algorithm| -> Result<Hashes, ImageError> {
        if *algorithm == Algorithm::Blake3 {
            return Ok(Hashes { blake3: Some(seal::blake3(image)?), ..Hashes::default() });
        }
        let mut hasher = Hasher::new(&[*algorithm]);
        seal::each_part(image, 4 << 20, |bytes| hasher.update(bytes))?;
        Ok(hasher.finish())
    };
    let all: Vec<Hashes> = algorithms.par_iter().map(one).collect::<Result<_, _>>()?;
    Ok(all.into_iter().fold(Hashes::default(), |sum, h| Hashes {
        md5: sum.md5.or(h.md5),
        sha1: sum.sha1.or(h.sha1),
        sha256: sum.sha256.or(h.sha256),
        blake3: sum.blake3.or(h.blake3),
    }))
}
