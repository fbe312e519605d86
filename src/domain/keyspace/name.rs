//! A key's name: bytes, not necessarily text.

use std::fmt::{self, Write};

use crate::domain::{Error, Result};
use crate::stores::redis::Redis;

/// Sessions, locks, rate counters, samples: keys that would grant access or break Larder if shown or changed.
const OWN: [&str; 2] = ["larder:", "blacklist:token:"];
/// Redis accepts up to 512 MiB, but a page URL cannot hold that.
const MAX_BYTES: usize = 8 << 10;
const EMPTY: &str = "(empty)";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Refused if longer than 8 KiB. A key may have an empty name.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::refused("match", "The name is longer than 8 KiB, the longest that this page supports."));
        }
        Ok(Self(bytes))
    }

    /// A name returned by the server, of any length.
    pub(super) fn found(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a page URL can contain it.
    pub fn fits_in_url(&self) -> bool {
        self.0.len() <= MAX_BYTES
    }

    /// NotFound for Larder's own keys, so that their existence is not revealed.
    pub(super) fn check_visible(&self, redis: &Redis) -> Result<()> {
        if is_own(redis, &self.0) { Err(self.not_found()) } else { Ok(()) }
    }

    pub(super) fn not_found(&self) -> Error {
        Error::NotFound(format!("Key {self} not found. It may have expired or been deleted."))
    }
}

/// Whether it is one of Larder's own keys, which no page may show.
pub(super) fn is_own(redis: &Redis, name: &[u8]) -> bool {
    name.strip_prefix(redis.prefix().as_bytes()).is_some_and(|rest| OWN.iter().any(|own| rest.starts_with(own.as_bytes())))
}

/// Bytes that are not text, or that a form would change, are written as `\xff`, like redis-cli does; backslashes are
/// doubled, so that different names are never displayed alike. The empty name is displayed as `(empty)`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            b"" => return f.write_str(EMPTY),
            name if name == EMPTY.as_bytes() => return write!(f, "\\x28{}", &EMPTY[1..]),
            _ => {}
        }
        let blank = |byte: &u8| *byte == b' ';
        let start = self.0.iter().take_while(|byte| blank(byte)).count();
        let end = self.0.len() - self.0.iter().rev().take_while(|byte| blank(byte)).count();
        let mut at = 0;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' {
                    f.write_str(r"\\")?;
                } else if c.is_control() || (c == ' ' && (at < start || at >= end)) {
                    escape(f, c.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    f.write_char(c)?;
                }
                at += c.len_utf8();
            }
            escape(f, chunk.invalid())?;
            at += chunk.invalid().len();
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_names_are_displayed_differently() {
        let shown = |bytes: &[u8]| Name::found(bytes.to_vec()).to_string();
        assert_eq!(shown(b"cache:a"), "cache:a");
        assert_eq!(shown(b"scan\xff\xfe41"), r"scan\xff\xfe41");
        assert_eq!(shown(br"scan\xff"), r"scan\\xff");
        assert_eq!(shown(b" a b \r\n\0 "), r"\x20a b \x0d\x0a\x00\x20");
        assert_eq!(shown("grün:😀".as_bytes()), "grün:😀");
        assert_eq!((shown(b"").as_str(), shown(b"(empty)").as_str()), ("(empty)", r"\x28empty)"));
    }

    #[test]
    fn a_name_must_fit_into_a_url() {
        assert!(Name::parse(vec![b'a'; MAX_BYTES + 1]).is_err());
        assert!(Name::parse(vec![0xff, b'\r', b'\n']).is_ok() && Name::parse(Vec::new()).is_ok());
    }
}
