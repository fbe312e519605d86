//! What this store supports, determined by trying it in a scratch folder: S3-compatible stores differ in these
//! points.

mod readings;
mod scratch;
mod trials;

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join4;
use uuid::Uuid;

use super::{Error, KeyRules, Store};
use scratch::Scratch;
pub(super) use scratch::scratch_key;

/// The whole probe ends within 15 s.
const TRIALS_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of failed probes to remember; older ones are removed by age.
const MAX_UNSWEPT: usize = 100;
const SWEEP_TIMEOUT: Duration = Duration::from_millis(4500);

/// The reasons are sentences.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    Yes,
    No(String),
    /// Could not be determined.
    Unknown(String),
}

impl Ability {
    pub fn is_no(&self) -> bool {
        matches!(self, Self::No(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Abilities {
    /// `If-None-Match: *` on PUT.
    pub put_if_absent: Ability,
    /// The same on CompleteMultipartUpload.
    pub complete_if_absent: Ability,
    /// `If-Match` on PUT.
    pub put_if_match: Ability,
    /// `If-Match` on DELETE.
    pub delete_if_match: Ability,
    /// Bytes that do not match their CRC-32 are rejected.
    pub checksums: Ability,
    pub range: Ability,
    pub presigned: Ability,
    /// Listings encode keys with `encoding-type=url`.
    pub encoded_listing: Ability,
    pub multipart_listing: Ability,
    pub tagging: Ability,
    pub versioning: Ability,
    pub lifecycle: Ability,
    pub policy: Ability,
    pub cors: Ability,
    /// The store claims to encode the keys of open uploads, but does not.
    pub raw_open_keys: bool,
    /// Keys are listed in file system order: a folder's content is listed at the position of the folder's name.
    pub lists_by_folder: bool,
    pub keys: KeyRules,
}

/// The result of a probe, with its bucket and time.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probed {
    pub abilities: Abilities,
    pub bucket: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Default)]
pub(super) struct Remembered {
    found: Arc<RwLock<Option<Probed>>>,
    /// Failed probes: requests that they sent may arrive long after their sweep.
    unswept: Arc<Mutex<Vec<Uuid>>>,
}

impl Store {
    /// The result of the last probe known to this process.
    pub fn probed(&self) -> Option<Probed> {
        self.probed.found.read().ok().and_then(|known| known.clone())
    }

    pub fn remember(&self, probed: Probed) {
        if let Ok(mut known) = self.probed.found.write() {
            *known = Some(probed);
        }
    }

    pub(super) fn known<T>(&self, what: impl FnOnce(&Abilities) -> T) -> Option<T> {
        self.probed.found.read().ok()?.as_ref().map(|probed| what(&probed.abilities))
    }

    /// Tries everything in `.larder-probe-<nonce>/` of `bucket`, then removes what it wrote, whatever the outcome.
    /// Fails with `AccessDenied` if Larder's key may not write there,
    /// and with `KeepsObjects` if the bucket would keep what it writes.
    pub async fn probe(&self, bucket: &str, nonce: Uuid) -> Result<Abilities, Error> {
        if self.keeps_new_objects(bucket).boxed().await? {
            return Err(Error::KeepsObjects);
        }
        let earlier = self.probed.unswept.lock().map(|unswept| unswept.clone()).unwrap_or_default();
        let scratch = Scratch::new(self, bucket, nonce, &earlier);
        let trials = tokio::time::timeout(TRIALS_TIMEOUT, scratch.try_all().boxed()).await;
        let sweep = tokio::time::timeout(SWEEP_TIMEOUT, scratch.sweep().boxed()).await;
        let too_slow = |_| Error::Unreachable("the probe of the store's abilities timed out".into());
        let outcome = trials.map_err(too_slow).flatten();
        let outcome = outcome.and_then(|abilities| sweep.map_err(too_slow).flatten().map(|()| abilities));
        if let Ok(mut unswept) = self.probed.unswept.lock() {
            if outcome.is_err() {
                unswept.push(nonce);
            }
            let surplus = unswept.len().saturating_sub(MAX_UNSWEPT);
            unswept.drain(..surplus);
        }
        outcome
    }
}

impl Scratch<'_> {
    async fn try_all(&self) -> Result<Abilities, Error> {
        // If writing and deleting are not permitted, nothing is trials.
        self.put("writable").await?;
        self.delete("writable").await?;
        // Boxed: the SDK's futures are large and many of them would overflow the stack.
        let conditions = try_join4(
            self.put_if_absent().boxed(),
            self.complete_if_absent().boxed(),
            self.put_if_match().boxed(),
            self.delete_if_match().boxed(),
        );
        let bytes = try_join4(self.checksums().boxed(), self.range().boxed(), self.presigned().boxed(), self.encoded_listing().boxed());
        let bucket = try_join4(self.versioning().boxed(), self.lifecycle().boxed(), self.policy().boxed(), self.cors().boxed());
        let rest =
            try_join4(self.multipart_listing().boxed(), self.tagging().boxed(), self.lists_by_folder().boxed(), self.key_rules().boxed());
        let (conditions, bytes, bucket, rest) = try_join4(conditions, bytes, bucket, rest).await?;
        let (put_if_absent, complete_if_absent, put_if_match, delete_if_match) = conditions;
        let (checksums, range, presigned, encoded_listing) = bytes;
        let (versioning, lifecycle, policy, cors) = bucket;
        let ((multipart_listing, raw_open_keys), tagging, lists_by_folder, keys) = rest;
        Ok(Abilities {
            put_if_absent,
            complete_if_absent,
            put_if_match,
            delete_if_match,
            checksums,
            range,
            presigned,
            encoded_listing,
            multipart_listing,
            tagging,
            versioning,
            lifecycle,
            policy,
            cors,
            raw_open_keys,
            lists_by_folder,
            keys,
        })
    }
}
