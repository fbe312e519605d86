//! A key's name: bytes, which need not be text.

use std::fmt::{self, Write};

use crate::domain::{Error, Result};
use crate::stores::redis::Redis;

/// Sessions, locks, counters of limits, samples: what would let somebody in, or break Larder.
const OWN: [&str; 2] = ["larder:", "blacklist:token:"];
/// The server takes 512 MiB; no address of a page does.
const LONGEST: usize = 8 << 10;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Refused where it is empty, or longer than 8 KiB.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::refused("match", "Write the name of a key."));
        }
        if bytes.len() > LONGEST {
            return Err(Error::refused("match", "The name is longer than 8 KiB, more than an address can hold."));
        }
        Ok(Self(bytes))
    }

    /// As the server named it, of any length.
    pub(super) fn found(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a page can lead to it.
    pub fn fits_an_address(&self) -> bool {
        self.0.len() <= LONGEST && !self.0.is_empty()
    }

    /// NotFound for the keys that Larder keeps for itself: nobody learns whether one is there.
    pub(super) fn judge(&self, redis: &Redis) -> Result<()> {
        if is_own(redis, &self.0) { Err(self.is_gone()) } else { Ok(()) }
    }

    pub(super) fn is_gone(&self) -> Error {
        Error::NotFound(format!("There is no key {self}. It may have expired, or somebody has deleted it."))
    }
}

/// Whether Larder keeps it for itself, and no page may show it.
pub(super) fn is_own(redis: &Redis, name: &[u8]) -> bool {
    name.strip_prefix(redis.prefix().as_bytes()).is_some_and(|rest| OWN.iter().any(|own| rest.starts_with(own.as_bytes())))
}

/// Bytes that are no text, or that no form would carry, as `\xff`, as redis-cli writes them; a backslash doubled, so
/// that two names never look alike.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    fn two_names_never_look_alike() {
        let shown = |bytes: &[u8]| Name::found(bytes.to_vec()).to_string();
        assert_eq!(shown(b"cache:a"), "cache:a");
        assert_eq!(shown(b"scan\xff\xfe41"), r"scan\xff\xfe41");
        assert_eq!(shown(br"scan\xff"), r"scan\\xff");
        assert_eq!(shown(b" a b \r\n\0 "), r"\x20a b \x0d\x0a\x00\x20");
        assert_eq!(shown("grün:😀".as_bytes()), "grün:😀");
    }

    #[test]
    fn a_name_must_fit_an_address() {
        assert!(Name::parse(Vec::new()).is_err() && Name::parse(vec![b'a'; LONGEST + 1]).is_err());
        assert!(Name::parse(vec![0xff, b'\r', b'\n']).is_ok());
    }
}
