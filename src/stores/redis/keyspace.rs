//! Finds keys without listing all of them, and describes single keys.

use std::time::Duration;

use redis::Value;

use super::browse::{BrowseCommands, answer};
use super::{Error, milliseconds};

/// One key at the time of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// `string`, `hash`, `list`, `set`, `zset`, `stream` or a module's type; `None`: the key does not exist.
    pub kind: Option<String>,
    pub ttl: Ttl,
    /// The server's estimate from a sample of elements; `None`: not available.
    pub bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    None,
    Remaining(Duration),
    /// The key does not exist.
    Missing,
}

impl Ttl {
    pub(super) fn of(pttl: i64) -> Self {
        match pttl {
            -1 => Self::None,
            left => u64::try_from(left).map_or(Self::Missing, |left| Self::Remaining(Duration::from_millis(left))),
        }
    }
}

/// A glob pattern that matches only these bytes.
pub fn literal(bytes: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if b"*?[]\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern
}

/// The name that a pattern without wildcards matches.
pub fn without_wildcards(pattern: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return None,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    Some(unescaped(pattern))
}

/// The pattern with `\*` replaced by `*`, and so on.
pub fn unescaped(pattern: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => name.push(*bytes.next().unwrap_or(&b'\\')),
            byte => name.push(*byte),
        }
    }
    name
}

impl BrowseCommands<'_> {
    /// One SCAN step. The server examines about `count` keys and returns those that match: any number, including
    /// none, and possibly duplicates. The cursor is 0 at the start and at the end.
    pub async fn scan(&self, cursor: u64, pattern: Option<&[u8]>, count: usize) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let mut command = redis::cmd("SCAN");
        command.arg(cursor).arg("COUNT").arg(count);
        if let Some(pattern) = pattern {
            command.arg("MATCH").arg(pattern);
        }
        self.run(command).await
    }

    /// In the order of `keys`, in one round trip.
    pub async fn describe(&self, keys: &[Vec<u8>]) -> Result<Vec<Described>, Error> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("TYPE").arg(key).cmd("PTTL").arg(key);
            pipeline.cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(5);
        }
        let answers = self.run_all(pipeline).await?;
        answers.chunks_exact(3).map(|answers| described(answers.to_vec())).collect()
    }

    /// In the order of `keys`; `None`: the key does not exist.
    pub async fn kinds(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<String>>, Error> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("TYPE").arg(key);
        }
        let kinds: Result<Vec<String>, Error> = self.run_all(pipeline).await?.into_iter().map(answer).collect();
        Ok(kinds?.into_iter().map(|kind| (kind != "none").then_some(kind)).collect())
    }

    /// Number of elements of each key, or bytes of a string, in constant time; `None`: missing key or unknown type.
    pub async fn lengths(&self, keys: &[(Vec<u8>, String)]) -> Result<Vec<Option<u64>>, Error> {
        let mut pipeline = redis::pipe();
        for (key, kind) in keys {
            match length_command(kind) {
                Some(command) => pipeline.cmd(command).arg(key),
                None => pipeline.cmd("EXISTS").arg(key),
            };
        }
        let answers = self.run_all(pipeline).await?.into_iter().zip(keys);
        Ok(answers.map(|(value, (_, kind))| length_command(kind).and_then(|_| answer(value).ok())).collect())
    }

    /// For example `listpack`, `hashtable` or `embstr`.
    pub async fn encoding(&self, key: &[u8]) -> Result<Option<String>, Error> {
        let mut command = redis::cmd("OBJECT");
        command.arg("ENCODING").arg(key);
        match self.run(command).await {
            Err(Error::Other(_)) => Ok(None),
            encoding => encoding,
        }
    }

    /// How many keys existed. The server frees their memory in the background.
    pub async fn unlink(&self, keys: &[Vec<u8>]) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("UNLINK");
        command.arg(keys);
        match self.run_once(command.clone()).await {
            // Servers before Redis 4 lack UNLINK.
            Err(Error::NotPermitted) => {
                let mut command = redis::cmd("DEL");
                command.arg(keys);
                self.run_once(command).await
            }
            outcome => outcome,
        }
    }

    /// Sets or removes the TTL. Returns whether the key exists and was changed.
    pub async fn set_ttl(&self, key: &[u8], left: Option<Duration>) -> Result<bool, Error> {
        let command = match left {
            Some(left) => redis::Cmd::pexpire(key, milliseconds(left)),
            None => redis::Cmd::persist(key),
        };
        self.run(command).await
    }
}

/// All of these run in constant time.
pub(super) fn length_command(kind: &str) -> Option<&'static str> {
    match kind {
        "string" => Some("STRLEN"),
        "hash" => Some("HLEN"),
        "list" => Some("LLEN"),
        "set" => Some("SCARD"),
        "zset" => Some("ZCARD"),
        "stream" => Some("XLEN"),
        _ => None,
    }
}

fn described(answers: Vec<Value>) -> Result<Described, Error> {
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil);
    let kind: String = answer(next())?;
    let ttl = Ttl::of(answer(next())?);
    let bytes = answer::<Option<u64>>(next()).ok().flatten();
    Ok(Described { kind: (kind != "none").then_some(kind), ttl, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_pattern_round_trips_to_its_name() {
        for name in [&b"plain"[..], b"a*b?c[d]e\\f", b"\xff\r\n\0"] {
            assert_eq!(without_wildcards(&literal(name)).as_deref(), Some(name));
        }
        assert_eq!(without_wildcards(b"a*"), None);
        assert_eq!(without_wildcards(b"a[b]"), None);
        assert_eq!(without_wildcards(b"a\\"), Some(b"a\\".to_vec()));
    }
}
