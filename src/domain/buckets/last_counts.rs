//! The last counts that this process has read, which are shown with their age while Redis is unavailable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BucketStats;

#[derive(Clone, Default)]
pub struct LastCounts(Arc<Mutex<HashMap<String, BucketStats>>>);

impl LastCounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BucketStats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the bucket has no count.
    pub(super) fn replace(&self, bucket: &str, stats: Option<&BucketStats>) {
        match stats {
            Some(stats) => drop(self.lock().insert(bucket.to_owned(), stats.clone())),
            None => drop(self.lock().remove(bucket)),
        }
    }

    pub(super) fn get(&self, bucket: &str) -> Option<BucketStats> {
        self.lock().get(bucket).cloned()
    }
}
