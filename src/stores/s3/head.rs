//! HEAD of an object, and what a listing reports about an object whose HEAD the store refuses.

use aws_sdk_s3::types::StorageClass;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::headers::decoded_words;
use super::objects::{special_class, stored_encoding, to_chrono, unquoted};
use super::{Conditions, Error, Store, error};

/// The result of HEAD.
#[derive(Clone, Debug)]
pub struct Head {
    pub size: u64,
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
    /// How the stored bytes are compressed, for example `gzip`.
    pub content_encoding: Option<String>,
    pub version_id: Option<String>,
    pub metadata: Vec<(String, String)>,
    /// `None` for the store's standard class.
    pub storage_class: Option<String>,
    /// The state of the restoration of an archived object, as the header `x-amz-restore` describes it.
    pub restore: Option<String>,
    /// Why the store refuses HEAD. The other fields are then those of the listing.
    pub unreadable: Option<Error>,
}

impl Store {
    /// The response to a refused HEAD contains no reason. If the object is listed, its entry is returned with the reason that GET
    /// reports.
    pub async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        match self.head_only(bucket, key, version).await {
            Err(error @ (Error::AccessDenied | Error::InvalidKey(_))) if version.is_none() => self.listed(bucket, key, error).boxed().await,
            found => found,
        }
    }

    async fn head_only(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        let request = self.client().await?.head_object().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
        let response = request.send().await.map_err(error::from_sdk)?;
        let mut metadata: Vec<(String, String)> =
            response.metadata().into_iter().flatten().map(|(name, value)| (name.clone(), decoded_words(value))).collect();
        metadata.sort();
        Ok(Head {
            size: u64::try_from(response.content_length().unwrap_or_default()).unwrap_or_default(),
            etag: unquoted(response.e_tag()),
            modified: response.last_modified().and_then(to_chrono),
            content_type: response.content_type().map(str::to_owned),
            content_encoding: stored_encoding(response.content_encoding()),
            version_id: response.version_id().filter(|version| *version != "null").map(str::to_owned),
            metadata,
            storage_class: special_class(response.storage_class().map(StorageClass::as_str)),
            restore: response.restore().map(str::to_owned),
            unreadable: None,
        })
    }

    /// The entry of the listing with exactly this key, which is the first with this prefix; `refused` if there is none.
    async fn listed(&self, bucket: &str, key: &str, refused: Error) -> Result<Head, Error> {
        let listing = match self.list(bucket, key, false, None, 1).await {
            Ok(listing) => listing,
            Err(error @ Error::WrongRegion(_)) => return Err(error),
            Err(_) => return Err(refused),
        };
        let Some(entry) = listing.objects.into_iter().find(|entry| entry.key == key) else { return Err(refused) };
        let unreadable = match self.check_readable(bucket, key).await {
            Err(Error::InvalidKey(_)) | Ok(()) => refused,
            Err(error) => error,
        };
        Ok(Head {
            size: entry.size,
            etag: entry.etag,
            modified: entry.modified,
            content_type: None,
            content_encoding: None,
            version_id: None,
            metadata: Vec::new(),
            storage_class: entry.storage_class,
            restore: None,
            unreadable: Some(unreadable),
        })
    }

    /// The error of a GET of the first byte.
    pub async fn check_readable(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let first = Conditions { range: Some("bytes=0-0".to_owned()), ..Conditions::default() };
        match self.get(bucket, key, None, &first).await {
            Ok(_) | Err(Error::InvalidRange) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
