//! Text that was cut at a byte limit.

/// The bytes without a UTF-8 character that their end has split. Other invalid bytes are kept.
pub fn without_split_character(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_split_character_at_the_end_is_removed() {
        let cut = |text: &str, length| without_split_character(&text.as_bytes()[..length]).len();
        assert_eq!((cut("aü", 3), cut("aü", 2), cut("a😀", 4), cut("ü", 1)), (3, 1, 1, 0));
        assert_eq!(without_split_character(b"a\xff\xc3"), b"a\xff\xc3", "not text");
    }
}
