//! How a store treats unusual keys. Some strip a leading slash, collapse `//` or turn `\` into `/`, so that an action
//! on one key affects another object. Such keys are rejected before they reach the store.

use bytes::Bytes;

use super::objects::PutOptions;
use super::{Error, Store};

/// Which unusual keys the store keeps unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyRules {
    pub leading_slash: bool,
    pub double_slash: bool,
    pub dot_segment: bool,
    pub backslash: bool,
    pub control: bool,
    pub trailing_slash_with_body: bool,
}

impl KeyRules {
    const EXACT: Self =
        Self { leading_slash: true, double_slash: true, dot_segment: true, backslash: true, control: true, trailing_slash_with_body: true };

    /// Why an action on `key` could affect another object, as a sentence; `None` if it cannot.
    pub fn mangled(&self, key: &str) -> Option<&'static str> {
        if key.contains('\0') {
            return Some("A name may not contain a NUL character.");
        }
        if !self.leading_slash && key.starts_with('/') {
            return Some("The store removes a slash at the start of a name.");
        }
        if !self.double_slash && key.contains("//") {
            return Some("The store merges consecutive slashes into one.");
        }
        if !self.dot_segment && key.split('/').any(|segment| segment == "." || segment == "..") {
            return Some("The store does not accept . or .. as a folder or name.");
        }
        if !self.backslash && key.contains('\\') {
            return Some("The store replaces backslashes with slashes.");
        }
        if !self.control && key.chars().any(|c| c.is_ascii_control()) {
            return Some("The store changes control characters in a name.");
        }
        None
    }

    /// Like [`Self::mangled`], for storing content: some stores keep no content in folder markers.
    pub fn mangled_with_body(&self, key: &str) -> Option<&'static str> {
        if !self.trailing_slash_with_body && key.ends_with('/') {
            return Some("The store cannot keep content under a name that ends with a slash.");
        }
        self.mangled(key)
    }
}

impl Store {
    /// The known rules; until the store has been probed, no unusual key is considered safe.
    pub fn key_rules(&self) -> KeyRules {
        if self.endpoint.is_none() {
            return KeyRules::EXACT;
        }
        self.known(|abilities| abilities.keys).unwrap_or_default()
    }

    pub fn key_rules_known(&self) -> bool {
        self.endpoint.is_none() || self.known(|_| ()).is_some()
    }

    /// Stores and lists a few bytes under unusual keys; `key` prepends the scratch folder of a probe.
    pub(super) async fn try_keys(&self, bucket: &str, key: impl Fn(&str) -> String) -> Result<KeyRules, Error> {
        Ok(KeyRules {
            leading_slash: self.keeps(bucket, &format!("/{}", key("lead")), &key("lead")).await?,
            double_slash: self.keeps(bucket, &key("two//slashes"), &key("two/slashes")).await?,
            dot_segment: self.keeps(bucket, &key("a/../up"), &key("up")).await?
                && self.keeps(bucket, &key("a/./here"), &key("a/here")).await?,
            backslash: self.keeps(bucket, &key("back\\slash"), &key("back/slash")).await?,
            control: self.keeps(bucket, &key("con\n\u{1}trol"), &key("control")).await?,
            trailing_slash_with_body: self.keeps(bucket, &key("trail/"), &key("trail")).await?,
        })
    }

    /// Whether content stored under `key` is listed and returned under exactly this key, and not under `twin`, the
    /// key that the store might change it to.
    async fn keeps(&self, bucket: &str, key: &str, twin: &str) -> Result<bool, Error> {
        let options = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
        match self.put(bucket, key, Bytes::from_static(b"larder"), &options).await {
            Ok(_) => {}
            Err(
                error @ (Error::Unreachable(_)
                | Error::SlowDown
                | Error::AccessDenied
                | Error::NoSuchBucket
                | Error::NoSpace
                | Error::QuotaExceeded(_)),
            ) => {
                return Err(error);
            }
            Err(_) => return Ok(false),
        }
        let listed = self.list(bucket, key, false, None, 10).await?.objects.iter().any(|object| object.key == key && object.size == 6);
        let read = matches!(self.head(bucket, key, None).await, Ok(head) if head.size == 6);
        let apart = matches!(self.head(bucket, twin, None).await, Err(Error::NoSuchKey));
        Ok(listed && read && apart)
    }
}
