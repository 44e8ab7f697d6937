//! Bitmaps of free blocks: the stretches of set bits, the lowest bit of a byte first (UDF, UFS).

/// First bit and number of bits of each stretch of ones among the first `count` bits.
pub(super) fn stretches(bitmap: &[u8], count: u64) -> Vec<(u64, u64)> {
    let (mut found, mut begun, mut at) = (Vec::new(), None, 0u64);
    for byte in bitmap {
        let left = count.saturating_sub(at).min(8);
        if left == 0 {
            break;
        }
        // Whole bytes that change nothing are most of them.
        if left == 8 && *byte == if begun.is_some() { 0xff } else { 0 } {
            at = at.saturating_add(8);
            continue;
        }
        for bit in 0..left {
            let here = at.saturating_add(bit);
            match (byte >> bit & 1 != 0, begun) {
                (true, None) => begun = Some(here),
                (false, Some(first)) => {
                    found.push((first, here.saturating_sub(first)));
                    begun = None;
                }
                _ => {}
            }
        }
        at = at.saturating_add(left);
    }
    found.extend(begun.map(|first| (first, at.saturating_sub(first))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_bit_is_in_one_stretch_or_in_none(bitmap in prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..40), count in 0u64..400) {
            let found = stretches(&bitmap, count);
            for bit in 0..count.min(bitmap.len() as u64 * 8) {
                let set = bitmap[bit as usize / 8] >> (bit % 8) & 1 != 0;
                prop_assert_eq!(found.iter().any(|(first, len)| (*first..first + len).contains(&bit)), set);
            }
            prop_assert!(found.iter().all(|(first, len)| first + len <= count));
            prop_assert!(found.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
        }
    }
}
