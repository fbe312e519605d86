//! The scratch folder of a probe, and its removal.

use aws_sdk_s3::primitives::DateTime as SmithyTime;
use aws_sdk_s3::types::ObjectIdentifier;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use futures_util::future::join_all;
use uuid::Uuid;

use super::Ability;
use crate::clock;
use crate::stores::s3::objects::{PutOptions, to_chrono};
use crate::stores::s3::{Error, Store, error};

pub(super) const TEXT: PutOptions<'static> = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
pub(super) const BYTES: &[u8] = b"larder";

const PREFIX: &str = ".larder-probe-";
/// Objects older than this were left behind by a crashed probe.
const ABANDONED_AFTER: TimeDelta = TimeDelta::hours(1);

/// A key that only a probe creates, derived from a nonce.
pub(in crate::stores::s3) fn scratch_key(nonce: Uuid, name: &str) -> String {
    format!("{PREFIX}{}/{name}", nonce.simple())
}

/// The result of a trial; an error ends the probe.
pub(super) type Trial = Result<Ability, Error>;

/// The nonce separates concurrent probes.
pub(super) struct Scratch<'a> {
    pub store: &'a Store,
    pub bucket: &'a str,
    folder: String,
    /// Folders of failed probes.
    earlier: Vec<String>,
}

impl<'a> Scratch<'a> {
    pub fn new(store: &'a Store, bucket: &'a str, nonce: Uuid, earlier: &[Uuid]) -> Self {
        let folder = |nonce: &Uuid| scratch_key(*nonce, "");
        Self { store, bucket, folder: folder(&nonce), earlier: earlier.iter().map(folder).collect() }
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Stores a few bytes and returns their ETag.
    pub async fn put(&self, name: &str) -> Result<String, Error> {
        Ok(self.store.put(self.bucket, &self.key(name), Bytes::from_static(BYTES), &TEXT).await?.etag)
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.delete_key(&self.key(name), None).await
    }

    async fn delete_key(&self, key: &str, version: Option<&str>) -> Result<(), Error> {
        let request = self.store.client.delete_object().bucket(self.bucket).key(key).set_version_id(version.map(str::to_owned));
        request.send().await.map(|_| ()).map_err(error::from_sdk)
    }

    /// Removes the scratch folder, the object created by a store that strips leading slashes, and objects left behind
    /// by crashed probes.
    pub async fn sweep(&self) -> Result<(), Error> {
        for prefix in [PREFIX.to_owned(), format!("/{}", self.folder)] {
            let found = self.store.list(self.bucket, &prefix, false, None, 1000).await?.objects;
            let keys: Vec<String> =
                found.into_iter().filter(|object| self.is_removable(&object.key, object.modified)).map(|object| object.key).collect();
            for deleted in join_all(keys.iter().map(|key| self.delete_key(key, None))).await {
                deleted?;
            }
        }
        // Some stores lack these requests, so their errors are ignored.
        futures_util::join!(self.sweep_versions().boxed(), self.sweep_uploads().boxed(), self.sweep_folders().boxed());
        Ok(())
    }

    fn is_removable(&self, key: &str, modified: Option<DateTime<Utc>>) -> bool {
        let key = key.trim_start_matches('/');
        let ours = key.starts_with(&self.folder) || self.earlier.iter().any(|folder| key.starts_with(folder));
        ours || (is_probe(key) && modified.is_some_and(|at| clock::now() - at > ABANDONED_AFTER))
    }

    /// In a versioned bucket, deletions only hide objects.
    async fn sweep_versions(&self) {
        let request = self.store.client.list_object_versions().bucket(self.bucket).prefix(PREFIX);
        let Ok(found) = request.send().await else { return };
        let modified = |at: Option<&SmithyTime>| at.and_then(to_chrono);
        let versions = found.versions().iter().map(|version| (version.key(), version.version_id(), modified(version.last_modified())));
        let markers = found.delete_markers().iter().map(|marker| (marker.key(), marker.version_id(), modified(marker.last_modified())));
        let to_delete: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter(|(key, _, modified)| key.is_some_and(|key| self.is_removable(key, *modified)))
            .filter_map(|(key, version, _)| ObjectIdentifier::builder().key(key?).version_id(version?).build().ok())
            .collect();
        join_all(to_delete.iter().map(|one| self.delete_key(one.key(), one.version_id()))).await;
    }

    async fn sweep_uploads(&self) {
        // By their full keys: some stores list an open upload only by its full key.
        let keys = super::trials::UPLOAD_NAMES.map(|name| self.key(name));
        join_all(keys.iter().map(|key| async move {
            let Ok(found) = self.store.list_multipart(self.bucket, Some(key), None, 100).await else { return };
            for upload in found.uploads {
                // The key may be listed with a different spelling.
                let _ = self.store.abort_multipart(self.bucket, key, &upload.upload_id).await;
            }
        }))
        .await;
        let Ok(found) = self.store.list_multipart(self.bucket, Some(PREFIX), None, 100).await else { return };
        for upload in found.uploads.iter().filter(|upload| self.is_removable(&upload.key, upload.initiated)) {
            let _ = self.store.abort_multipart(self.bucket, &upload.key, &upload.upload_id).await;
        }
    }

    /// Stores based on a file system keep the folders; removed deepest first.
    async fn sweep_folders(&self) {
        for folder in ["two/", "back/", "order/", "a/", ""] {
            let _ = self.delete(folder).await;
        }
    }
}

/// Whether the first folder of a key is a probe's scratch folder.
fn is_probe(key: &str) -> bool {
    let nonce = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).map(|(nonce, _)| nonce);
    nonce.is_some_and(|nonce| nonce.len() == 32 && Uuid::try_parse(nonce).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scratch_folders_of_probes_are_recognized() {
        assert!(is_probe(".larder-probe-0193d0c8f0a07c6e8a1b2c3d4e5f6071/trail"));
        for other in [".larder-probe-notes/a", ".larder-probe-", ".larder-probe-0193d0c8f0a07c6e8a1b2c3d4e5f6071", "x/.larder-probe-/y"] {
            assert!(!is_probe(other), "{other}");
        }
    }
}
