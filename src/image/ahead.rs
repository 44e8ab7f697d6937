//! All bytes of the evidence in order, for whoever goes through them once: what has to be decoded is decoded on all
//! threads of the pool, one batch ahead of whoever takes it.

use super::{Image, ImageError};
use crate::extent::Extent;
use rayon::prelude::*;
use std::borrow::Cow;

/// How much is decoded ahead of what is taken.
const BATCH: u64 = 16 << 20;
/// What of a batch one thread decodes at a time.
const SHARE: u64 = 1 << 20;

/// Calls `take` with all bytes of the evidence, in order, `step` at a time or less.
///
/// # Errors
/// Where the image cannot be read.
pub fn each_part(image: &dyn Image, step: u64, mut take: impl FnMut(&[u8]) + Send) -> Result<(), ImageError> {
    if image.packed() {
        return decoded_ahead(image, take);
    }
    let mut at = 0u64;
    while at < image.size() {
        let part = image.part_once(Extent::new(at, step.min(image.size().saturating_sub(at))))?;
        take(&part);
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

fn decoded_ahead(image: &dyn Image, mut take: impl FnMut(&[u8]) + Send) -> Result<(), ImageError> {
    let whole = Extent::new(0, image.size());
    let batch = |at| Extent::new(at, BATCH).intersect(whole);
    let mut here = batch(0);
    let mut ready = fetch(image, here)?;
    while !here.is_empty() {
        here = batch(here.end());
        let taken = || ready.iter().flatten().for_each(|part| take(part));
        let (next, ()) = rayon::join(|| fetch(image, here), taken);
        ready = next?;
    }
    Ok(())
}

type Parts<'i> = Vec<Cow<'i, [u8]>>;

fn fetch(image: &dyn Image, extent: Extent) -> Result<Vec<Parts<'_>>, ImageError> {
    let shares: Vec<Extent> = (0..extent.len.div_ceil(SHARE))
        .map(|n| Extent::new(extent.start.saturating_add(n.saturating_mul(SHARE)), SHARE).intersect(extent))
        .collect();
    shares.into_par_iter().map(|share| parts(image, share)).collect()
}

fn parts(image: &dyn Image, mut extent: Extent) -> Result<Parts<'_>, ImageError> {
    let mut parts = Vec::new();
    while !extent.is_empty() {
        let part = image.part_once(extent)?;
        extent = Extent::between(extent.start.saturating_add(part.len() as u64), extent.end());
        parts.push(part);
    }
    Ok(parts)
}
