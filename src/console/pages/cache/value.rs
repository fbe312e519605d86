//! A key's value as a page shows it: text, JSON or bytes, and never more of one element than can be read.

use crate::domain::preview;

/// Bytes of one element in a table.
const SHOWN: usize = 2 << 10;
/// Bytes of a line of hexadecimal figures.
const LINE: usize = 16;

/// One element of a collection.
pub struct Cell {
    pub shown: Vec<u8>,
    /// All its bytes, where not all of them are shown.
    pub cut: Option<usize>,
}

impl Cell {
    pub fn of(bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(SHOWN)];
        Self { shown: shown.to_vec(), cut: (shown.len() < bytes.len()).then_some(bytes.len()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
    Hex,
}

impl Shape {
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Hex];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Hex => "hex",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
            Self::Hex => "Hex",
        }
    }
}

/// The shape that was asked for, or else the one that suits the bytes; and the text in it. `whole`: there is nothing
/// before and after these bytes.
pub fn shaped(bytes: &[u8], asked: &str, whole: bool, offset: u64) -> (Shape, String) {
    let asked = Shape::ALL.into_iter().find(|shape| shape.as_str() == asked);
    let text = text(bytes);
    let json = || text.filter(|_| whole).and_then(preview::json);
    match (asked, text) {
        (Some(Shape::Hex), _) | (None, None) => (Shape::Hex, hex(bytes, offset)),
        (Some(Shape::Text), _) => (Shape::Text, text.map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)),
        (_, Some(plain)) => json().map_or_else(|| (Shape::Text, plain.to_owned()), |json| (Shape::Json, json)),
        (Some(Shape::Json), None) => (Shape::Hex, hex(bytes, offset)),
    }
}

/// UTF-8 without what no text holds; a page may end, or begin, within a character.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.chars().any(is_odd)).then_some(text)
}

/// As `hexdump -C` writes it.
fn hex(bytes: &[u8], offset: u64) -> String {
    let mut out = String::with_capacity(bytes.len() * 5);
    for (at, line) in bytes.chunks(LINE).enumerate() {
        out.push_str(&format!("{:08x}  ", offset + (at * LINE) as u64));
        for place in 0..LINE {
            match line.get(place) {
                Some(byte) => out.push_str(&format!("{byte:02x} ")),
                None => out.push_str("   "),
            }
            if place == LINE / 2 - 1 {
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
    fn bytes_are_shown_in_the_shape_that_suits_them() {
        assert_eq!(shaped(b"plain", "", true, 0), (Shape::Text, "plain".into()));
        assert_eq!(shaped(b"{\"a\":1}", "", true, 0).0, Shape::Json);
        assert_eq!(shaped(b"{\"a\":1}", "text", true, 0).0, Shape::Text);
        assert_eq!(shaped(b"{\"a\":1}", "", false, 0).0, Shape::Text, "a piece is no JSON");
        assert_eq!(shaped(b"\xff\0", "", true, 0).0, Shape::Hex);
        assert_eq!(shaped("gr\u{fc}".as_bytes(), "", true, 0).0, Shape::Text);
        assert_eq!(shaped(b"a\xc3", "", false, 0).1, "a", "cut within a character");
    }

    #[test]
    fn hexadecimal_lines_are_as_hexdump_writes_them() {
        assert_eq!(
            hex(b"0123456789abcdef\xff", 16),
            "00000010  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n00000020  ff                                                |.|\n"
        );
    }
}
