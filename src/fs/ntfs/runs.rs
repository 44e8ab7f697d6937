//! Mapping pairs: the run list of a non-resident attribute.
//!
//! A run is a byte of two lengths, then so many bytes of cluster count and of signed difference to the last cluster
//! number. Without the latter the run is stored nowhere: sparse, or the saved part of a compression unit.

use crate::content::Run;
use crate::extent::Extent;

/// The decoded runs in bytes of the volume, and whether the list held to its end.
pub(super) fn decode(mut pairs: &[u8], cluster: u64, clusters: u64) -> (Vec<Run>, bool) {
    let (mut runs, mut lcn) = (Vec::new(), 0i64);
    loop {
        match pairs.split_first() {
            None | Some((0, _)) => return (runs, true),
            Some((header, rest)) => match next(*header, rest, &mut lcn, cluster, clusters) {
                Some((run, used)) => {
                    runs.push(run);
                    pairs = rest.get(used..).unwrap_or_default();
                }
                None => return (runs, false),
            },
        }
    }
}

fn next(header: u8, rest: &[u8], lcn: &mut i64, cluster: u64, clusters: u64) -> Option<(Run, usize)> {
    let (count_len, step_len) = (usize::from(header & 15), usize::from(header >> 4));
    let used = count_len.checked_add(step_len)?;
    let count = u64::try_from(signed(rest.get(..count_len)?)?).ok()?;
    let bytes = count.checked_mul(cluster)?;
    if step_len == 0 {
        return Some((Run::Hole(bytes), used));
    }
    *lcn = lcn.checked_add(signed(rest.get(count_len..used)?)?)?;
    let first = u64::try_from(*lcn).ok()?;
    (first.checked_add(count)? <= clusters).then_some(())?;
    Some((Run::Data(Extent::new(first.checked_mul(cluster)?, bytes)), used))
}

/// A little-endian two's complement number of 0 to 8 bytes.
fn signed(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last()? & 0x80 != 0;
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_relative_to_each_other() {
        // 0x18 clusters at 0x5634; then 8 back; then 16 sparse.
        let pairs = [0x21, 0x18, 0x34, 0x56, 0x11, 0x02, 0xf8, 0x01, 0x10, 0x00];
        let expected = [Run::Data(Extent::new(0x5634, 0x18)), Run::Data(Extent::new(0x562c, 2)), Run::Hole(16)];
        assert_eq!(decode(&pairs, 1, 1 << 20), (expected.to_vec(), true));
        assert!(!decode(&pairs, 1, 0x5640).1, "a run behind the volume's end is no run");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let (runs, _) = decode(&bytes, 4096, 1 << 30);
            prop_assert!(runs.len() <= bytes.len());
        }
    }
}
