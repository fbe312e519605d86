//! The folder that a probe writes in, and how it is removed again.

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
use crate::stores::s3::{Error, Store, fault};

pub(super) const TEXT: PutOptions<'static> = PutOptions { content_type: "text/plain", metadata: &[], only_if_absent: false };
pub(super) const BYTES: &[u8] = b"larder";

const PREFIX: &str = ".larder-probe-";
/// What is older than this was left by a probe that died.
const FORGOTTEN: TimeDelta = TimeDelta::hours(1);

/// The key of an object, by a nonce, that nobody but a probe makes.
pub(in crate::stores::s3) fn scratch_key(nonce: Uuid, name: &str) -> String {
    format!("{PREFIX}{}/{name}", nonce.simple())
}

/// What a trial came to; an error ends the probe.
pub(super) type Trial = Result<Ability, Error>;

/// A nonce of its own keeps probes that run at once apart.
pub(super) struct Scratch<'a> {
    pub store: &'a Store,
    pub bucket: &'a str,
    folder: String,
    /// Folders of probes that failed.
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

    /// A few bytes; their ETag.
    pub async fn put(&self, name: &str) -> Result<String, Error> {
        Ok(self.store.put(self.bucket, &self.key(name), Bytes::from_static(BYTES), &TEXT).await?.etag)
    }

    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.delete_key(&self.key(name), None).await
    }

    async fn delete_key(&self, key: &str, version: Option<&str>) -> Result<(), Error> {
        let request = self.store.client.delete_object().bucket(self.bucket).key(key).set_version_id(version.map(str::to_owned));
        request.send().await.map(|_| ()).map_err(fault::of)
    }

    /// Removes the scratch folder, the object that a dropped leading slash has made, and what probes that died
    /// have left behind.
    pub async fn sweep(&self) -> Result<(), Error> {
        for prefix in [PREFIX.to_owned(), format!("/{}", self.folder)] {
            let found = self.store.list(self.bucket, &prefix, false, None, 1000).await?.objects;
            let keys: Vec<String> =
                found.into_iter().filter(|object| self.may_go(&object.key, object.modified)).map(|object| object.key).collect();
            for deleted in join_all(keys.iter().map(|key| self.delete_key(key, None))).await {
                deleted?;
            }
        }
        // What follows is there on some stores only, and saying so is no fault.
        futures_util::join!(self.sweep_versions().boxed(), self.sweep_uploads().boxed(), self.sweep_folders().boxed());
        Ok(())
    }

    fn may_go(&self, key: &str, modified: Option<DateTime<Utc>>) -> bool {
        let key = key.trim_start_matches('/');
        let ours = key.starts_with(&self.folder) || self.earlier.iter().any(|folder| key.starts_with(folder));
        ours || (is_probe(key) && modified.is_some_and(|at| clock::now() - at > FORGOTTEN))
    }

    /// Where the bucket keeps versions, a deletion hides them only.
    async fn sweep_versions(&self) {
        let request = self.store.client.list_object_versions().bucket(self.bucket).prefix(PREFIX);
        let Ok(found) = request.send().await else { return };
        let modified = |at: Option<&SmithyTime>| at.and_then(to_chrono);
        let versions = found.versions().iter().map(|version| (version.key(), version.version_id(), modified(version.last_modified())));
        let markers = found.delete_markers().iter().map(|marker| (marker.key(), marker.version_id(), modified(marker.last_modified())));
        let doomed: Vec<ObjectIdentifier> = versions
            .chain(markers)
            .filter(|(key, _, modified)| key.is_some_and(|key| self.may_go(key, *modified)))
            .filter_map(|(key, version, _)| ObjectIdentifier::builder().key(key?).version_id(version?).build().ok())
            .collect();
        join_all(doomed.iter().map(|one| self.delete_key(one.key(), one.version_id()))).await;
    }

    async fn sweep_uploads(&self) {
        // By their whole names: some stores list an open upload under no other.
        let keys = super::trials::UPLOADED.map(|name| self.key(name));
        join_all(keys.iter().map(|key| async move {
            let Ok(found) = self.store.list_multipart(self.bucket, Some(key), None, 100).await else { return };
            for upload in found.uploads {
                // The name may be listed in another spelling than it has.
                let _ = self.store.abort_multipart(self.bucket, key, &upload.upload_id).await;
            }
        }))
        .await;
        let Ok(found) = self.store.list_multipart(self.bucket, Some(PREFIX), None, 100).await else { return };
        for upload in found.uploads.iter().filter(|upload| self.may_go(&upload.key, upload.initiated)) {
            let _ = self.store.abort_multipart(self.bucket, &upload.key, &upload.upload_id).await;
        }
    }

    /// A store over a file system keeps the folders; deepest first.
    async fn sweep_folders(&self) {
        for folder in ["two/", "back/", "order/", "a/", ""] {
            let _ = self.delete(folder).await;
        }
    }
}

/// Whether the first folder of a key has the name of a probe's.
fn is_probe(key: &str) -> bool {
    let nonce = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')).map(|(nonce, _)| nonce);
    nonce.is_some_and(|nonce| nonce.len() == 32 && Uuid::try_parse(nonce).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_probe_could_have_made_is_taken_for_a_probes() {
        assert!(is_probe(".larder-probe-0193d0c8f0a07c6e8a1b2c3d4e5f6071/trail"));
        for other in [".larder-probe-notes/a", ".larder-probe-", ".larder-probe-0193d0c8f0a07c6e8a1b2c3d4e5f6071", "x/.larder-probe-/y"] {
            assert!(!is_probe(other), "{other}");
        }
    }
}
