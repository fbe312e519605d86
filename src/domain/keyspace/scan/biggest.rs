//! The largest keys of each type, ranked by length; only the final ones are measured with MEMORY USAGE.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stores::redis::{BrowseCommands, Error};

/// Per type.
const PER_TYPE: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeKey {
    pub name: Vec<u8>,
    pub kind: String,
    /// Bytes of a string, elements of other types.
    pub length: u64,
    /// The server's estimate; `None`: not measured, or deleted since.
    pub bytes: Option<u64>,
}

#[derive(Default)]
pub(super) struct Largest(BTreeMap<String, Vec<LargeKey>>);

impl Largest {
    pub async fn examine(&mut self, browse: &BrowseCommands<'_>, names: Vec<Vec<u8>>) -> Result<(), Error> {
        let kinds = browse.kinds(&names).await?;
        let known: Vec<(Vec<u8>, String)> = names.into_iter().zip(kinds).filter_map(|(name, kind)| Some((name, kind?))).collect();
        let lengths = browse.lengths(&known).await?;
        for ((name, kind), length) in known.into_iter().zip(lengths) {
            if let Some(length) = length {
                self.add(LargeKey { name, kind, length, bytes: None });
            }
        }
        Ok(())
    }

    fn add(&mut self, large_key: LargeKey) {
        let list = self.0.entry(large_key.kind.clone()).or_default();
        if list.len() == PER_TYPE && list.last().is_some_and(|least| least.length >= large_key.length) {
            return;
        }
        // SCAN may return a key twice.
        if list.iter().any(|known| known.name == large_key.name) {
            return;
        }
        let at = list.partition_point(|known| known.length >= large_key.length);
        list.insert(at, large_key);
        list.truncate(PER_TYPE);
    }

    pub fn list(&self) -> Vec<LargeKey> {
        self.0.values().flatten().cloned().collect()
    }

    /// Includes the server's size estimates, largest first.
    pub async fn measured(&self, browse: &BrowseCommands<'_>) -> Result<Vec<LargeKey>, Error> {
        let mut list = self.list();
        let names: Vec<Vec<u8>> = list.iter().map(|large_key| large_key.name.clone()).collect();
        for (large_key, described) in list.iter_mut().zip(browse.describe(&names).await?) {
            large_key.bytes = described.bytes;
        }
        list.sort_by_key(|large_key| std::cmp::Reverse((large_key.bytes, large_key.length)));
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_largest_keys_are_kept_without_duplicates() {
        let mut largest = Largest::default();
        for length in (0..100).chain(50..60) {
            largest.add(LargeKey { name: vec![length], kind: "list".into(), length: u64::from(length), bytes: None });
        }
        let lengths: Vec<u64> = largest.list().iter().map(|large_key| large_key.length).collect();
        assert_eq!(lengths, (80..100).rev().collect::<Vec<_>>());
    }
}
