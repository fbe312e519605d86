//! What this store can do, found out by trying it in a scratch folder: stores that speak S3 differ in exactly this.

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
const TRIALS: Duration = Duration::from_secs(10);
/// Remembered at most; what is forgotten is swept when it is old.
const UNSWEPT: usize = 100;
const SWEEPING: Duration = Duration::from_millis(4500);

/// The reasons are sentences.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    Yes,
    No(String),
    /// It could not be found out.
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
    /// Bytes that differ from their CRC-32 are refused.
    pub checksums: Ability,
    pub range: Ability,
    pub presigned: Ability,
    /// Keys of listings come in `encoding-type=url`.
    pub encoded_listing: Ability,
    pub multipart_listing: Ability,
    pub tagging: Ability,
    pub versioning: Ability,
    pub lifecycle: Ability,
    pub policy: Ability,
    pub cors: Ability,
    /// The store says that it has encoded the keys of open uploads, and has not.
    pub raw_open_keys: bool,
    /// Keys are listed as in a file system, what is in a folder where the folder's name stands.
    pub lists_by_folder: bool,
    pub keys: KeyRules,
}

/// What a probe found, where and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probed {
    pub abilities: Abilities,
    pub bucket: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Default)]
pub(super) struct Remembered {
    found: Arc<RwLock<Option<Probed>>>,
    /// Probes that failed: what they sent may arrive long after they have swept.
    unswept: Arc<Mutex<Vec<Uuid>>>,
}

impl Store {
    /// What the last probe found, as far as this process knows.
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

    /// Tries everything in `.larder-probe-<nonce>/` of `bucket` and removes what it has written, whatever its end.
    /// `AccessDenied` where our key may not write there: then nothing can be tried.
    pub async fn probe(&self, bucket: &str, nonce: Uuid) -> Result<Abilities, Error> {
        let earlier = self.probed.unswept.lock().map(|unswept| unswept.clone()).unwrap_or_default();
        let scratch = Scratch::new(self, bucket, nonce, &earlier);
        let tried = tokio::time::timeout(TRIALS, scratch.try_all().boxed()).await;
        let swept = tokio::time::timeout(SWEEPING, scratch.sweep().boxed()).await;
        let too_slow = |_| Error::Unreachable("it took too long to try what it can do".into());
        let outcome = tried.map_err(too_slow).flatten();
        let outcome = outcome.and_then(|abilities| swept.map_err(too_slow).flatten().map(|()| abilities));
        if let Ok(mut unswept) = self.probed.unswept.lock() {
            if outcome.is_err() {
                unswept.push(nonce);
            }
            let surplus = unswept.len().saturating_sub(UNSWEPT);
            unswept.drain(..surplus);
        }
        outcome
    }
}

impl Scratch<'_> {
    async fn try_all(&self) -> Result<Abilities, Error> {
        // Where nothing may be written or deleted, nothing is tried.
        self.put("ground").await?;
        self.delete("ground").await?;
        // Boxed: what the SDK keeps for one request fills the stack where many are under way.
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
