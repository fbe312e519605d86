//! The biggest keys of each type, by the cheapest question of that type; only those in the end are weighed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stores::redis::{BrowseCommands, Error};

/// Of each type.
const KEPT: usize = 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Big {
    pub name: Vec<u8>,
    pub kind: String,
    /// Bytes of a string, elements of anything else.
    pub length: u64,
    /// The server's estimate; `None`: not weighed, or gone since.
    pub bytes: Option<u64>,
}

#[derive(Default)]
pub(super) struct Top(BTreeMap<String, Vec<Big>>);

impl Top {
    pub async fn look_at(&mut self, browse: &BrowseCommands<'_>, names: Vec<Vec<u8>>) -> Result<(), Error> {
        let kinds = browse.kinds(&names).await?;
        let known: Vec<(Vec<u8>, String)> = names.into_iter().zip(kinds).filter_map(|(name, kind)| Some((name, kind?))).collect();
        let lengths = browse.lengths(&known).await?;
        for ((name, kind), length) in known.into_iter().zip(lengths) {
            if let Some(length) = length {
                self.add(Big { name, kind, length, bytes: None });
            }
        }
        Ok(())
    }

    fn add(&mut self, big: Big) {
        let list = self.0.entry(big.kind.clone()).or_default();
        if list.len() == KEPT && list.last().is_some_and(|least| least.length >= big.length) {
            return;
        }
        // The server may name a key twice.
        if list.iter().any(|known| known.name == big.name) {
            return;
        }
        let at = list.partition_point(|known| known.length >= big.length);
        list.insert(at, big);
        list.truncate(KEPT);
    }

    pub fn list(&self) -> Vec<Big> {
        self.0.values().flatten().cloned().collect()
    }

    /// With the server's estimate of each, the heaviest first.
    pub async fn weighed(&self, browse: &BrowseCommands<'_>) -> Result<Vec<Big>, Error> {
        let mut list = self.list();
        let names: Vec<Vec<u8>> = list.iter().map(|big| big.name.clone()).collect();
        for (big, described) in list.iter_mut().zip(browse.describe(&names).await?) {
            big.bytes = described.bytes;
        }
        list.sort_by_key(|big| std::cmp::Reverse((big.bytes, big.length)));
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_biggest_stay_and_each_once() {
        let mut top = Top::default();
        for length in (0..100).chain(50..60) {
            top.add(Big { name: vec![length], kind: "list".into(), length: u64::from(length), bytes: None });
        }
        let lengths: Vec<u64> = top.list().iter().map(|big| big.length).collect();
        assert_eq!(lengths, (80..100).rev().collect::<Vec<_>>());
    }
}
