//! The key of a value within its namespace.

use std::fmt::{Display, Write as _};

use crate::domain::secrets::{hex, sha256};

/// Longer keys are shortened, because keys are displayed and sent with every lookup.
const MAX_LENGTH: usize = 200;
const SHORTENED_LENGTH: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// For a namespace with a single value.
    pub fn only() -> Self {
        Self::of(&[])
    }

    /// Different arguments, or a different order, always result in different keys. Long keys end with their SHA-256.
    pub fn of(arguments: &[&dyn Display]) -> Self {
        // Escaping removes both characters from arguments.
        let mut key = if arguments.is_empty() { "@".to_owned() } else { String::new() };
        for (at, argument) in arguments.iter().enumerate() {
            if at > 0 {
                key.push(':');
            }
            escape(&mut key, &argument.to_string());
        }
        if key.len() > MAX_LENGTH {
            let digest = hex(&sha256(key.as_bytes()));
            key.truncate(SHORTENED_LENGTH);
            key.push('#');
            key.push_str(&digest);
        }
        Self(key)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn escape(key: &mut String, argument: &str) {
    for byte in argument.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._/+=,".contains(&byte) {
            key.push(char::from(byte));
        } else {
            let _ = write!(key, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_arguments_make_different_keys() {
        let long = "x".repeat(500);
        let longer = format!("{long}x");
        let lists: [&[&dyn Display]; 14] = [
            &[],
            &[&""],
            &[&"", &""],
            &[&"a", &"b:c"],
            &[&"a:b", &"c"],
            &[&"a", &"b", &"c"],
            &[&"a%3Ab", &"c"],
            &[&"@"],
            &[&"b:c", &"a"],
            &[&12, &3],
            &[&1, &23],
            &[&long],
            &[&longer],
            &[&long, &""],
        ];
        let keys: std::collections::HashSet<Key> = lists.iter().map(|list| Key::of(list)).collect();
        assert_eq!(keys.len(), lists.len());
        assert!(keys.iter().all(|key| key.as_str().len() <= MAX_LENGTH && key.as_str().is_ascii()));
        assert_eq!(Key::of(&[&long]), Key::of(&[&long]));
    }

    #[test]
    fn a_key_is_readable_and_contains_no_wildcards() {
        assert_eq!(Key::of(&[&"sme-files", &7]).as_str(), "sme-files:7");
        assert_eq!(Key::of(&[&"a b*[?]\\\r\nä"]).as_str(), "a%20b%2A%5B%3F%5D%5C%0D%0A%C3%A4");
        // The digest cannot be produced by an argument.
        assert_ne!(Key::of(&[&Key::of(&[&"x".repeat(500)]).as_str()]), Key::of(&[&"x".repeat(500)]));
    }
}
