//! All bytes of the evidence in order, for whoever goes through them once: what has to be decoded is decoded on all
//! threads of the pool, one batch ahead of whoever takes it.

use super::{Image, ImageError};
use crate::extent::Extent;
use rayon::prelude::*;
use std::borrow::Cow;

/// How much is decoded ahead of what is taken, at least.
const BATCH: u64 = 16 << 20;
/// No more is decoded ahead, if not all threads have something to do then.
const MOST: u64 = 256 << 20;
/// What of a batch one thread decodes at a time, at least: it goes on to the end of the piece that it is in.
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
    let mut here = shares(image, 0);
    let mut ready = fetch(image, &here)?;
    while let Some(last) = here.last() {
        here = shares(image, last.end());
        let taken = || ready.iter().flatten().for_each(|part| take(part));
        let (next, ()) = rayon::join(|| fetch(image, &here), taken);
        ready = next?;
    }
    Ok(())
}

/// The batch that begins at byte `at`.
fn shares(image: &dyn Image, at: u64) -> Vec<Extent> {
    let (mut shares, mut end) = (Vec::new(), at);
    let enough =
        |shares: &[Extent], len: u64| len >= MOST || len >= BATCH && shares.len() >= rayon::current_num_threads();
    while end < image.size() && !enough(&shares, end.saturating_sub(at)) {
        let next = end.saturating_add(SHARE).min(image.size());
        let share = Extent::between(end, image.border(next.saturating_sub(1)).max(next));
        shares.push(share);
        end = share.end();
    }
    shares
}

type Parts<'i> = Vec<Cow<'i, [u8]>>;

fn fetch<'i>(image: &'i dyn Image, shares: &[Extent]) -> Result<Vec<Parts<'i>>, ImageError> {
    shares.par_iter().map(|share| parts(image, *share)).collect()
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
