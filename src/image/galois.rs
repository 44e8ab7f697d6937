//! The field of 256 elements in which RAID 6 keeps its second parity: polynomial 0x11d, generator 2 (H. P. Anvin, "The mathematics of
//! RAID-6").

/// The product of two elements.
pub const fn times(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = a << 1 ^ if a >> 7 == 1 { 0x1d } else { 0 };
        b >>= 1;
    }
    product
}

/// The generator, so many times with itself.
pub fn power(exponent: usize) -> u8 {
    (0..exponent.checked_rem(255).unwrap_or(0)).fold(1, |product, _| times(product, 2))
}

/// What makes one of an element; zero of zero.
pub fn inverse(a: u8) -> u8 {
    (0..254).fold(1, |product, _| times(product, a))
}

/// Products of an element with all.
pub fn products(of: u8) -> [u8; 256] {
    let mut table = [0; 256];
    table.iter_mut().zip(0u8..=255).for_each(|(product, other)| *product = times(of, other));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_that_of_the_paper() {
        assert_eq!((power(0), power(8), power(255)), (1, 0x1d, 1));
        assert!((1..=255).all(|a| times(a, inverse(a)) == 1 && products(a)[2] == times(2, a)));
    }
}
