//! Bounded decompression, for previews of objects with `Content-Encoding` and of Redis values.

use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

/// At most `limit` decompressed bytes, and whether they end where the compressed bytes do. `None` if the encoding is
/// unknown or the bytes are invalid from the start.
pub(in crate::domain) fn decompressed(encoding: &str, bytes: &[u8], limit: u64) -> Option<(Vec<u8>, bool)> {
    match encoding {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(bytes), limit),
        "deflate" => read(ZlibDecoder::new(bytes), limit),
        _ => None,
    }
}

fn read(decoder: impl Read, limit: u64) -> Option<(Vec<u8>, bool)> {
    let mut out = Vec::new();
    // One more byte than the limit shows whether there are more.
    let outcome = decoder.take(limit + 1).read_to_end(&mut out);
    let is_too_long = out.len() as u64 > limit;
    out.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    // Compressed bytes that were read only in part end with an error.
    if outcome.is_err() && out.is_empty() { None } else { Some((out, outcome.is_ok() && !is_too_long)) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_length_of_the_result_is_limited() {
        let bomb = gzip(&vec![b'a'; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decompressed("gzip", &bomb, 1000), Some((vec![b'a'; 1000], false)));
        assert_eq!(decompressed("gzip", &gzip(b"text"), 1000), Some((b"text".to_vec(), true)));
    }

    #[test]
    fn incomplete_and_invalid_bytes_are_recognized() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|number| format!("{number} ").into_bytes()).collect();
        let packed = gzip(&text);
        let (begin, ended) = decompressed("gzip", &packed[..packed.len() / 2], 1 << 20).unwrap();
        assert!(!ended && !begin.is_empty() && text.starts_with(&begin));
        assert_eq!(decompressed("gzip", b"plain text", 1000), None);
        assert_eq!(decompressed("br", b"x", 1000), None);
    }
}
