//! Recognizes how an application has encoded a value, and decodes it for reading. Formats whose decoding would execute code, or
//! that have no small decoder, are only named.

use rmpv::Value;

use crate::domain::preview;
use crate::domain::secrets::hex;
use crate::utf8::without_split_character;

/// Longer decompressed data is truncated.
const MAX_DECOMPRESSED: u64 = 256 << 10;
/// The same for single elements, of which a page shows many.
const MAX_DECOMPRESSED_ELEMENT: u64 = 32 << 10;
/// Longer elements are not decoded: a page decodes many, and MessagePack takes many times its size in memory.
const MAX_ELEMENT_INPUT: usize = 64 << 10;
/// Longer texts of single elements are truncated.
const MAX_ELEMENT_TEXT: usize = 8 << 10;
/// Nesting of a MessagePack value. Each level may allocate two megabytes before its elements are read.
const MAX_DEPTH: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// For example "gzip, MessagePack".
    pub format: String,
    /// `None`: recognized, but not decoded.
    pub text: Option<String>,
    /// Facts such as the name of the class and the decompressed size.
    pub note: Option<String>,
}

impl Decoded {
    fn named(format: impl Into<String>, note: Option<String>) -> Self {
        Self { format: format.into(), text: None, note }
    }
}

/// `None` for plain text and for unknown data. `bytes` may be the start of a longer value.
pub fn decode(bytes: &[u8]) -> Option<Decoded> {
    decode_up_to(bytes, MAX_DECOMPRESSED)
}

/// `limit`: of decompressed bytes.
fn decode_up_to(bytes: &[u8], limit: u64) -> Option<Decoded> {
    decompressed(bytes, limit).or_else(|| serialized(bytes)).or_else(|| with_magic(bytes))
}

/// Like [`decode`], with lower limits; also indents JSON. The text is truncated to what a table can show.
pub fn decode_element(bytes: &[u8]) -> Option<Decoded> {
    if bytes.len() > MAX_ELEMENT_INPUT {
        return None;
    }
    let json = std::str::from_utf8(bytes).ok().and_then(preview::json);
    let json = json.map(|text| Decoded { format: "JSON".into(), text: Some(text), note: None });
    let mut decoded = json.or_else(|| decode_up_to(bytes, MAX_DECOMPRESSED_ELEMENT))?;
    if let Some(text) = decoded.text.as_mut().filter(|text| text.len() > MAX_ELEMENT_TEXT) {
        text.truncate(without_split_character(&text.as_bytes()[..MAX_ELEMENT_TEXT]).len());
        text.push('…');
        text.shrink_to_fit();
    }
    Some(decoded)
}

/// Formats that contain others.
fn decompressed(bytes: &[u8], limit: u64) -> Option<Decoded> {
    let (format, content, is_complete) = if bytes.starts_with(b"\x1f\x8b\x08") {
        let (content, is_complete) = preview::decompressed("gzip", bytes, limit)?;
        ("gzip", content, is_complete)
    } else if is_zlib(bytes) {
        let (content, is_complete) = preview::decompressed("deflate", bytes, limit)?;
        // Two bytes are weak evidence.
        if !is_complete {
            return None;
        }
        ("zlib", content, is_complete)
    } else {
        return None;
    };
    let size = content.len();
    let note = if is_complete { format!("{size} bytes decompressed") } else { format!("the first {size} bytes decompressed") };
    let inner = if is_complete { serialized(&content) } else { None };
    let (inner_format, text) = match inner {
        Some(inner) => (Some(inner.format), inner.text),
        None => (None, text_start(&content, is_complete).map(|text| preview::json(text).unwrap_or_else(|| text.to_owned()))),
    };
    let format = inner_format.map_or_else(|| format.to_owned(), |inner| format!("{format}, {inner}"));
    Some(Decoded { format, text, note: Some(note) })
}

/// RFC 1950, section 2.2: deflate with a window of 32 KiB and without a dictionary.
fn is_zlib(bytes: &[u8]) -> bool {
    bytes.len() > 6 && bytes[0] == 0x78 && bytes[1] & 0x20 == 0 && (u16::from(bytes[0]) << 8 | u16::from(bytes[1])).is_multiple_of(31)
}

/// The text, without a character that the end of incomplete data has split.
fn text_start(bytes: &[u8], is_complete: bool) -> Option<&str> {
    std::str::from_utf8(if is_complete { bytes } else { without_split_character(bytes) }).ok()
}

fn serialized(bytes: &[u8]) -> Option<Decoded> {
    message_pack(bytes).or_else(|| java(bytes)).or_else(|| php(bytes)).or_else(|| pickle(bytes))
}

/// Only complete maps and arrays: almost any byte is a valid number.
fn message_pack(bytes: &[u8]) -> Option<Decoded> {
    let is_container = matches!(bytes.first(), Some(0x80..=0x9f | 0xdc..=0xdf)) && bytes.len() > 1;
    if !is_container || std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, MAX_DEPTH).ok().filter(|_| rest.is_empty())?;
    let text = serde_json::to_string_pretty(&json_of(value)).ok();
    Some(Decoded { format: "MessagePack".into(), text, note: None })
}

/// Keys that are not text, binary data and extensions are written as text.
fn json_of(value: Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(number) => {
            number.as_i64().map(Into::into).or_else(|| number.as_u64().map(Into::into)).unwrap_or(serde_json::Value::Null)
        }
        Value::F32(number) => f64::from(number).into(),
        Value::F64(number) => number.into(),
        Value::String(text) => match text.into_str() {
            Some(text) => text.into(),
            None => "(invalid text)".into(),
        },
        Value::Binary(bytes) => format!("0x{}", hex(&bytes)).into(),
        Value::Array(values) => values.into_iter().map(json_of).collect(),
        Value::Map(pairs) => {
            let key = |key: Value| match json_of(key) {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            pairs.into_iter().map(|(name, value)| (key(name), json_of(value))).collect()
        }
        Value::Ext(kind, bytes) => format!("extension {kind}: 0x{}", hex(&bytes)).into(),
    }
}

/// Java Object Serialization Specification, section 6.4.2: magic number, version, and the class of the first object.
fn java(bytes: &[u8]) -> Option<Decoded> {
    let content = bytes.strip_prefix(b"\xac\xed\0\x05")?;
    let class = content.strip_prefix(b"sr").and_then(|rest| {
        let length = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
        std::str::from_utf8(rest.get(2..2 + length)?).ok().map(|name| format!("class {name}"))
    });
    Some(Decoded::named("Java serialization", class))
}

/// The output of PHP's `serialize`.
fn php(bytes: &[u8]) -> Option<Decoded> {
    let (kind, rest) = match bytes {
        [kind @ (b'a' | b'O' | b's' | b'C' | b'E'), b':', rest @ ..] => (*kind, rest),
        _ => return None,
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let count: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = rest[digits..].strip_prefix(b":")?;
    let quoted = |end: &[u8]| {
        let text = rest.strip_prefix(b"\"")?;
        text.get(count..)?.starts_with(end).then(|| text.get(..count)).flatten()
    };
    let note = match kind {
        b'a' => rest.starts_with(b"{").then(|| format!("array of {count}"))?,
        b's' => quoted(b"\";").map(|_| format!("string of {count} bytes"))?,
        _ => format!("class {}", String::from_utf8_lossy(quoted(b"\"")?)),
    };
    Some(Decoded::named("PHP serialization", Some(note)))
}

/// Unpickling executes code.
fn pickle(bytes: &[u8]) -> Option<Decoded> {
    match bytes {
        [0x80, version @ 2..=5, .., b'.'] => Some(Decoded::named("Python pickle", Some(format!("protocol {version}")))),
        _ => None,
    }
}

fn with_magic(bytes: &[u8]) -> Option<Decoded> {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"\x04\x22\x4d\x18", "LZ4"),
        (b"\xff\x06\0\0sNaPpY", "Snappy"),
        (b"\0\0\0\x02", "igbinary"),
        (b"HYLL", "HyperLogLog"),
        (b"\x04\x08[", "Ruby Marshal"),
    ];
    MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| Decoded::named(*name, None))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn message_pack_is_shown_as_json() {
        let bytes = b"\x84\xa1a\x01\xa1b\x92\xc3\xc0\x07\xcb\x3f\xf8\0\0\0\0\0\0\xa1c\xc4\x02\xff\x01";
        let decoded = decode(bytes).unwrap();
        let value: serde_json::Value = serde_json::from_str(decoded.text.as_deref().unwrap()).unwrap();
        assert_eq!(value, serde_json::json!({ "a": 1, "b": [true, null], "7": 1.5, "c": "0xff01" }));
        assert_eq!(decode(&gzip(bytes)).unwrap().format, "gzip, MessagePack");
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None, "incomplete");
        assert_eq!(decode(&[bytes.as_slice(), b"\0"].concat()), None, "followed by other data");
        assert_eq!(decode(&b"\xdd\xff\xff\xff\xff".repeat(1_000)), None, "deeply nested");
    }

    #[test]
    fn compressed_data_is_decompressed_up_to_a_limit() {
        assert_eq!(decode(&gzip(b"{\"a\":1}")).unwrap().text.unwrap(), "{\n  \"a\": 1\n}");
        assert_eq!(decode(&zlib("grün".as_bytes())).unwrap().text.as_deref(), Some("grün"));
        let bomb = decode(&gzip(&vec![b'x'; 50 << 20])).unwrap();
        assert_eq!(bomb.text.unwrap().len() as u64, MAX_DECOMPRESSED);
        let cut = gzip(&(0..20_000).map(|at| format!("{at} ü ")).collect::<String>().into_bytes());
        let cut = decode(&cut[..cut.len() / 2]).unwrap();
        assert!(cut.note.unwrap().starts_with("the first") && cut.text.unwrap().starts_with("0 ü 1 ü"));
        assert_eq!(decode(&gzip(b"\xff\xfe")).unwrap().text, None, "binary content");
        assert_eq!(decode(b"x\x9cabcdefgh"), None, "not zlib");
    }

    #[test]
    fn the_text_of_an_element_is_short() {
        assert_eq!(decode_element(b"[1]").unwrap().text.as_deref(), Some("[\n  1\n]"));
        let long = decode_element(format!("[\"{}\"]", "ü".repeat(10_000)).as_bytes()).unwrap();
        assert!(long.format == "JSON" && (8_000..8_200).contains(&long.text.unwrap().len()));
        assert_eq!(decode_element(b"plain"), None);
    }

    #[test]
    fn other_formats_are_named() {
        let named = |bytes: &[u8]| decode(bytes).map(|decoded| format!("{} {}", decoded.format, decoded.note.unwrap_or_default()));
        let named = |bytes: &[u8]| named(bytes).unwrap_or_default();
        assert_eq!(named(b"\xac\xed\0\x05sr\0\x11java.util.HashMap\x05\x07"), "Java serialization class java.util.HashMap");
        assert_eq!(named(b"\xac\xed\0\x05sr\xff\xff"), "Java serialization ");
        assert_eq!(named(b"a:1:{i:0;s:1:\"x\";}"), "PHP serialization array of 1");
        assert_eq!(named(b"O:8:\"stdClass\":1:{s:1:\"a\";i:1;}"), "PHP serialization class stdClass");
        assert_eq!(named(b"s:5:\"hello\";"), "PHP serialization string of 5 bytes");
        assert_eq!(named(b"\x80\x04\x95\x0f\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s."), "Python pickle protocol 4");
        assert_eq!(named(b"HYLL\x01\0\0\0"), "HyperLogLog ");
        for plain in [&b"a:b:c"[..], b"s:9:x", b"O:1", b"a:99999999999999999999:{", b"text", b"", b"{\"a\":1}", b"\xff\0\x01", b"-1"] {
            assert_eq!(decode(plain), None, "{plain:?}");
        }
    }
}
