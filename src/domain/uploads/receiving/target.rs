//! Where a file is stored, and how its name is recorded.

use uuid::Uuid;

use crate::domain::names::{ObjectKey, storable};

#[derive(Clone, Debug)]
pub(in crate::domain::uploads) struct Target {
    pub batch: Uuid,
    pub bucket: String,
    pub key: String,
    pub name: String,
    pub content_type: String,
    pub overwrite: bool,
}

impl Target {
    /// Names that the store rejects, as Postgres can store them.
    pub fn recordable(self) -> Self {
        Self { key: recordable(&self.key), name: recordable(&self.name), ..self }
    }
}

fn recordable(text: &str) -> String {
    let clean = storable(text);
    let mut end = clean.len().min(ObjectKey::MAX_BYTES);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 { "(no name)".to_owned() } else { clean[..end].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_invalid_name_fits_the_column() {
        assert_eq!(recordable("a\0b"), "a\u{fffd}b");
        assert_eq!(recordable(""), "(no name)");
        assert!(recordable(&"é".repeat(2000)).len() <= 1024);
    }
}
