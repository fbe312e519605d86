//! What a value is kept under within its namespace.

use std::fmt::{Display, Write as _};

use crate::domain::secrets::{hex, sha256};

/// Longer ones are shortened: a key is read by people, and sent with every lookup.
const LONGEST: usize = 200;
const SHORTENED: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// For a namespace of one value.
    pub fn only() -> Self {
        Self::of(&[])
    }

    /// Other arguments, or the same in another order, never make the same key. What is long ends in its SHA-256.
    pub fn of(arguments: &[&dyn Display]) -> Self {
        // Neither sign comes out of an argument.
        let mut key = if arguments.is_empty() { "@".to_owned() } else { String::new() };
        for (at, argument) in arguments.iter().enumerate() {
            if at > 0 {
                key.push(':');
            }
            escape(&mut key, &argument.to_string());
        }
        if key.len() > LONGEST {
            let digest = hex(&sha256(key.as_bytes()));
            key.truncate(SHORTENED);
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
        assert!(keys.iter().all(|key| key.as_str().len() <= LONGEST && key.as_str().is_ascii()));
        assert_eq!(Key::of(&[&long]), Key::of(&[&long]));
    }

    #[test]
    fn a_key_can_be_read_and_holds_no_pattern() {
        assert_eq!(Key::of(&[&"sme-files", &7]).as_str(), "sme-files:7");
        assert_eq!(Key::of(&[&"a b*[?]\\\r\nä"]).as_str(), "a%20b%2A%5B%3F%5D%5C%0D%0A%C3%A4");
        // Its digest cannot be typed as an argument.
        assert_ne!(Key::of(&[&Key::of(&[&"x".repeat(500)]).as_str()]), Key::of(&[&"x".repeat(500)]));
    }
}
