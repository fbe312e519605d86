//! Formatting of a key's value as text, JSON or hex, with long elements truncated.

use crate::domain::keyspace::{Decoded, decode_element};
use crate::domain::preview;
use crate::utf8::without_split_character;

/// Bytes shown of one element in a table.
const MAX_ELEMENT_BYTES: usize = 2 << 10;
/// Bytes per line of a hex dump.
const BYTES_PER_LINE: usize = 16;

/// One element of a collection.
pub struct Cell {
    pub shown: Vec<u8>,
    /// The full length, if the element is truncated.
    pub full_length: Option<usize>,
    /// The whole element, decoded or with the name of its format.
    pub decoded: Option<Decoded>,
}

impl Cell {
    pub fn of(bytes: &[u8]) -> Self {
        let shown = if bytes.len() > MAX_ELEMENT_BYTES { without_split_character(&bytes[..MAX_ELEMENT_BYTES]) } else { bytes };
        Self { shown: shown.to_vec(), full_length: (shown.len() < bytes.len()).then_some(bytes.len()), decoded: decode_element(bytes) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Decompressed or deserialized.
    Decoded,
    Text,
    Json,
    Hex,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Decoded, Self::Text, Self::Json, Self::Hex];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decoded => "decoded",
            Self::Text => "text",
            Self::Json => "json",
            Self::Hex => "hex",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Decoded => "Decoded",
            Self::Text => "Text",
            Self::Json => "JSON",
            Self::Hex => "Hex",
        }
    }
}

/// The bytes in the requested format, or in the one that suits them. `whole`: `bytes` is the complete value.
pub fn formatted(bytes: &[u8], requested: &str, whole: bool, offset: u64) -> (Format, String) {
    let requested = Format::ALL.into_iter().find(|shape| shape.as_str() == requested);
    let text = text(bytes);
    let json = || text.filter(|_| whole).and_then(preview::json);
    match (requested, text) {
        (Some(Format::Hex), _) | (None, None) => (Format::Hex, hex(bytes, offset)),
        (Some(Format::Text), _) => (Format::Text, text.map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)),
        (_, Some(plain)) => json().map_or_else(|| (Format::Text, plain.to_owned()), |json| (Format::Json, json)),
        (Some(Format::Json | Format::Decoded), None) => (Format::Hex, hex(bytes, offset)),
    }
}

/// UTF-8 without control characters.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.chars().any(is_odd)).then_some(text)
}

/// In the format of `hexdump -C`.
fn hex(bytes: &[u8], offset: u64) -> String {
    let mut out = String::with_capacity(bytes.len() * 5);
    for (at, line) in bytes.chunks(BYTES_PER_LINE).enumerate() {
        out.push_str(&format!("{:08x}  ", offset + (at * BYTES_PER_LINE) as u64));
        for place in 0..BYTES_PER_LINE {
            match line.get(place) {
                Some(byte) => out.push_str(&format!("{byte:02x} ")),
                None => out.push_str("   "),
            }
            if place == BYTES_PER_LINE / 2 - 1 {
                out.push(' ');
            }
        }
        out.push_str(" |");
        out.extend(line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }));
        out.push_str("|\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_a_suitable_format() {
        assert_eq!(formatted(b"plain", "", true, 0), (Format::Text, "plain".into()));
        assert_eq!(formatted(b"{\"a\":1}", "", true, 0).0, Format::Json);
        assert_eq!(formatted(b"{\"a\":1}", "text", true, 0).0, Format::Text);
        assert_eq!(formatted(b"{\"a\":1}", "", false, 0).0, Format::Text, "part of a value is not JSON");
        assert_eq!(formatted(b"\xff\0", "", true, 0).0, Format::Hex);
        assert_eq!(formatted("gr\u{fc}".as_bytes(), "", true, 0).0, Format::Text);
        assert_eq!(formatted(b"a\xc3", "", true, 0).0, Format::Hex, "no byte is omitted");
    }

    #[test]
    fn an_element_is_not_truncated_within_a_character() {
        let cell = Cell::of("aü".repeat(1_000).as_bytes());
        assert_eq!((cell.shown.len(), cell.full_length), (2_047, Some(3_000)));
        let cell = Cell::of(&b"\xff".repeat(3_000));
        assert_eq!((cell.shown.len(), cell.full_length), (MAX_ELEMENT_BYTES, Some(3_000)));
    }

    #[test]
    fn hex_lines_match_hexdump() {
        assert_eq!(
            hex(b"0123456789abcdef\xff", 16),
            "00000010  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n00000020  ff                                                |.|\n"
        );
    }
}
