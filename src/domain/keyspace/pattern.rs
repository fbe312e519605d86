//! Patterns: how they are typed and displayed, and the key names that they may be meant to be.

use std::collections::BTreeSet;

use super::name::{Name, is_own};
use crate::domain::{Context, Result};
use crate::stores::redis::{self, BrowseCommands};

/// Parses user input, in which `\xff` stands for a byte that cannot be typed.
pub fn typed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(br"\x").and_then(|hex| {
            let digits = std::str::from_utf8(hex.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escaped {
            Some(escaped) => {
                if b"*?[]\\".contains(&escaped) {
                    bytes.push(b'\\');
                }
                bytes.push(escaped);
                rest = &rest[4..];
            }
            None if rest.starts_with(br"\\") => {
                bytes.extend_from_slice(br"\\");
                rest = &rest[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

/// The inverse of [`typed`]. Escapes control characters and leading or trailing blanks, which forms do not preserve.
pub(super) fn as_typed(pattern: &[u8]) -> String {
    let blanks = |bytes: &mut dyn Iterator<Item = &u8>| bytes.take_while(|byte| **byte == b' ').count();
    let (start, end) = (blanks(&mut pattern.iter()), pattern.len() - blanks(&mut pattern.iter().rev()));
    let mut text = String::with_capacity(pattern.len());
    let mut at = 0;
    for chunk in pattern.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || (c.is_whitespace() && (c != ' ' || at < start || at >= end)) {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(escaped));
            } else {
                text.push(c);
            }
            at += c.len_utf8();
        }
        text.extend(chunk.invalid().iter().copied().map(escaped));
        at += chunk.invalid().len();
    }
    text
}

fn escaped(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

/// The names that a pattern may be meant to be: the text as it is, and with `\*` as `*`. Larder's own keys and names that
/// no page can show are omitted.
pub(super) fn literal_names(ctx: &Context, pattern: &[u8]) -> BTreeSet<Name> {
    let names = [pattern.to_vec(), redis::unescaped(pattern)].into_iter().filter(|name| !is_own(&ctx.redis, name));
    names.filter_map(|name| Name::parse(name).ok()).collect()
}

/// Of the literal names of a pattern, those of existing keys.
pub(super) async fn literal_keys(ctx: &Context, browse: &BrowseCommands<'_>, pattern: &[u8]) -> Result<Vec<Name>> {
    let names: Vec<Name> = literal_names(ctx, pattern).into_iter().collect();
    let kinds = browse.kinds(&names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>()).await?;
    Ok(names.into_iter().zip(kinds).filter_map(|(name, kind)| kind.map(|_| name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untypable_bytes_are_entered_as_escapes() {
        assert_eq!(typed(r"scan\xff*"), b"scan\xff*");
        assert_eq!(typed(r"a\x2ab"), br"a\*b", "an escaped star is not a wildcard");
        assert_eq!(typed(r"a\*b\\c\xzz"), br"a\*b\\c\xzz");
        assert_eq!(typed("grün"), "grün".as_bytes());
    }

    #[test]
    fn a_pattern_is_displayed_as_it_was_typed() {
        for pattern in [r"scan\xff*", r"a\*b\\c", "grün?"] {
            assert_eq!(as_typed(&typed(pattern)), pattern);
        }
    }

    #[test]
    fn a_pattern_survives_a_form_unchanged() {
        for pattern in [&b"a\nb\r\n\0*"[..], b" a b* ", b"  ", "\u{a0}a\u{3000}*\u{2003}".as_bytes(), b"\xff\t*", br"a\*b\\x41"] {
            let text = as_typed(pattern);
            assert_eq!(typed(text.trim()), pattern, "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_displayed_name_finds_its_key() {
        for name in [&b"scan\xff\xfe"[..], br"back\slash", b"plain"] {
            let shown = Name::found(name.to_vec()).to_string();
            assert_eq!(redis::without_wildcards(&typed(&shown)).as_deref(), Some(name));
        }
    }
}
