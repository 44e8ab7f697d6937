//! The carvers: the first byte names a row of the table, the second one of its headers; what follows stands behind that.
#![no_main]

use evidex::fuel::Fuel;
use evidex::registry::CARVERS;

/// Steps for an input; the carvers burn one for each byte that they look at.
const FUEL: u64 = 1 << 26;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (&[row, header], rest) = data.split_first_chunk().unwrap_or((&[0, 0], &[]));
    let carver = &CARVERS[usize::from(row) % CARVERS.len()];
    let mut bytes = vec![0; carver.offset];
    bytes.extend_from_slice(carver.headers[usize::from(header) % carver.headers.len()]);
    bytes.extend_from_slice(rest);
    if let Ok(Some(found)) = (carver.measure)(&bytes, &mut Fuel::new(FUEL)) {
        assert!(found.len > 0, "{}: a find of no bytes", carver.name);
        assert!(
            !found.whole || found.len <= bytes.len() as u64,
            "{}: whole, but longer than what is there",
            carver.name
        );
    }
});
