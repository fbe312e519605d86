//! Bucket names and object keys as types, with S3's naming rules.

use crate::config::bucket_rules;
use std::fmt;

/// The name of an existing bucket: anything that S3 ever accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct BucketName(String);

impl BucketName {
    /// Parses a name from a URL. `None` if no bucket can have this name, so that it is never used in a request.
    pub fn parse(name: &str) -> Option<Self> {
        let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        ((3..=63).contains(&name.len()) && legal && !name.contains("..") && !name.starts_with('.')).then(|| Self(name.to_owned()))
    }

    /// A name for a new bucket, checked by [`bucket_rules::violated`].
    pub fn for_new(name: &str) -> Result<Self, Vec<String>> {
        let broken = bucket_rules::violated(name);
        if broken.is_empty() { Ok(Self(name.to_owned())) } else { Err(broken) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that Postgres can store: NUL is replaced by U+FFFD.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A key: 1 to 1,024 bytes of UTF-8, without further restrictions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectKey(String);

impl ObjectKey {
    pub const MAX_BYTES: usize = 1024;

    pub fn parse(key: impl Into<String>) -> Option<Self> {
        let key = key.into();
        (1..=Self::MAX_BYTES).contains(&key.len()).then_some(Self(key))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last slash; for a folder marker, the folder's own name with its slash.
    pub fn name(&self) -> &str {
        let trimmed = self.0.strip_suffix('/').unwrap_or(&self.0);
        match trimmed.rfind('/') {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        }
    }

    /// Everything up to and including the slash before [`Self::name`]; empty at the root.
    pub fn folder(&self) -> &str {
        &self.0[..self.0.len() - self.name().len()]
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violated_bucket_rule_has_its_own_sentence() {
        for (name, word) in [
            ("ab", "3 to 63"),
            ("Scans", "Uppercase"),
            ("a_b_c", "Only lowercase"),
            ("-abc", "start and end"),
            ("a..b", "dot must not"),
            ("192.168.5.4", "IP address"),
            ("xn--abc", "start with"),
            ("abc-s3alias", "end with"),
        ] {
            let broken = bucket_rules::violated(name);
            assert!(broken.iter().any(|rule| rule.contains(word)), "{name}: {broken:?}");
        }
        for name in ["new", "sme-files", "a.b.c", "123", &"a".repeat(63)] {
            assert_eq!(bucket_rules::violated(name), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_key_splits_into_folder_and_name() {
        for (key, folder, name) in
            [("a", "", "a"), ("a/b", "a/", "b"), ("a/b/", "a/", "b/"), ("/", "", "/"), ("//", "/", "/"), ("a//b", "a//", "b")]
        {
            let key = ObjectKey::parse(key).unwrap();
            assert_eq!((key.folder(), key.name()), (folder, name));
        }
        assert!(ObjectKey::parse("").is_none());
        assert!(ObjectKey::parse("é".repeat(513)).is_none());
    }
}
