//! Object lock: a bucket with a default retention keeps every new version for a time, even if its object is deleted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Store, error};

/// Buckets that were found to keep new objects, although the access key may not read their configuration.
#[derive(Clone, Default)]
pub(super) struct Retaining(Arc<Mutex<HashSet<String>>>);

impl Store {
    /// Whether new objects of the bucket cannot be deleted during its default retention, so that Larder must not write trial
    /// objects there.
    /// `false` if the store does not support this or does not permit this request.
    pub async fn keeps_new_objects(&self, bucket: &str) -> Result<bool, Error> {
        self.client().await?;
        self.check_retention(bucket).await
    }

    /// Like [`Self::keeps_new_objects`], also while the store is known to be down: for the health checks.
    pub(super) async fn check_retention(&self, bucket: &str) -> Result<bool, Error> {
        match self.client.get_object_lock_configuration().bucket(bucket).send().await.map_err(error::from_sdk) {
            Ok(found) => {
                let rule = found.object_lock_configuration().and_then(|lock| lock.rule());
                Ok(rule.is_some_and(|rule| rule.default_retention().is_some()))
            }
            Err(error @ (Error::Unreachable(_) | Error::SlowDown | Error::WrongRegion(_))) => Err(error),
            Err(_) => Ok(self.retaining.0.lock().unwrap_or_else(PoisonError::into_inner).contains(bucket)),
        }
    }

    pub(super) fn remember_retention(&self, bucket: &str) {
        self.retaining.0.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket.to_owned());
    }
}
