//! Multipart uploads in progress at the store, and the parts received for each.

use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};

use super::objects::{decoded_as, to_chrono, unquoted};
use super::{Error, Store, error};

/// A multipart upload that is neither completed nor aborted, created by Larder or by another application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    pub key: String,
    pub upload_id: String,
    pub initiated: Option<DateTime<Utc>>,
}

/// The upload after which to continue, as named by the store: some name both fields, some only the upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenMarker {
    pub key: Option<String>,
    pub upload_id: Option<String>,
}

pub struct OpenUploads {
    pub uploads: Vec<OpenUpload>,
    pub next: Option<OpenMarker>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenPart {
    pub number: i32,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
}

pub struct OpenParts {
    pub parts: Vec<OpenPart>,
    /// The number of the last part of this page, if there are more.
    pub next: Option<i32>,
}

impl Store {
    /// One page of the multipart uploads in progress whose keys start with `prefix`, in the store's order.
    pub async fn list_multipart(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        marker: Option<&OpenMarker>,
        limit: i32,
    ) -> Result<OpenUploads, Error> {
        let response = self
            .client()
            .await?
            .list_multipart_uploads()
            .bucket(bucket)
            .set_prefix(prefix.map(str::to_owned))
            .set_key_marker(marker.and_then(|marker| marker.key.clone()))
            .set_upload_id_marker(marker.and_then(|marker| marker.upload_id.clone()))
            .max_uploads(limit)
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(error::from_sdk)?;
        let raw = response.uploads().iter().filter_map(|upload| upload.key()).any(is_raw);
        let raw = raw || self.known(|abilities| abilities.raw_open_keys).unwrap_or_default();
        let decode_key = |key: &str| if raw { key.to_owned() } else { decoded_as(response.encoding_type(), key) };
        let mut uploads: Vec<OpenUpload> = response
            .uploads()
            .iter()
            .filter_map(|upload| {
                Some(OpenUpload {
                    key: decode_key(upload.key()?),
                    upload_id: upload.upload_id()?.to_owned(),
                    initiated: upload.initiated().and_then(to_chrono),
                })
            })
            .collect();
        if let Some(marker) = marker {
            drop_seen(&mut uploads, marker);
        }
        // MinIO ignores the limit and the markers when listing a whole bucket.
        let max = usize::try_from(limit).unwrap_or(1).max(1);
        let cut = uploads.len() > max;
        uploads.truncate(max);
        let given = |marker: Option<&str>| marker.filter(|marker| !marker.is_empty()).map(str::to_owned);
        let named = OpenMarker {
            key: given(response.next_key_marker()).map(|key| decode_key(&key)),
            upload_id: given(response.next_upload_id_marker()),
        };
        let next = if cut || (response.is_truncated().unwrap_or_default() && named == OpenMarker::default()) {
            uploads.last().map(|last| OpenMarker { key: Some(last.key.clone()), upload_id: Some(last.upload_id.clone()) })
        } else {
            response.is_truncated().unwrap_or_default().then_some(named)
        };
        Ok(OpenUploads { uploads, next })
    }

    /// One page of the received parts after part number `marker`. `NoSuchUpload` if the upload no longer exists.
    pub async fn list_parts(&self, bucket: &str, key: &str, upload: &str, marker: Option<i32>, limit: i32) -> Result<OpenParts, Error> {
        let request = self.client().await?.list_parts().bucket(bucket).key(key).upload_id(upload).max_parts(limit);
        let request = request.set_part_number_marker(marker.map(|number| number.to_string()));
        let response = request.send().await.map_err(error::from_sdk)?;
        let parts: Vec<OpenPart> = response
            .parts()
            .iter()
            .filter_map(|part| {
                Some(OpenPart {
                    number: part.part_number()?,
                    size: u64::try_from(part.size().unwrap_or_default()).unwrap_or_default(),
                    etag: unquoted(part.e_tag()),
                    modified: part.last_modified().and_then(to_chrono),
                })
            })
            .collect();
        let next = parts.last().map(|part| part.number).filter(|_| response.is_truncated().unwrap_or_default());
        Ok(OpenParts { parts, next })
    }
}

/// Whether a key contains a character that `encoding-type=url` always escapes: SeaweedFS claims to encode the keys of
/// open uploads, but does not.
fn is_raw(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*+".contains(&byte);
    let bytes = key.as_bytes();
    let escape = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    bytes.iter().enumerate().any(|(at, byte)| !(plain(*byte) || *byte == b'%' && escape(at)))
}

/// Removes uploads that a store repeats because it ignores the marker. If the marked upload itself no longer exists,
/// its key still determines which uploads came before it.
fn drop_seen(uploads: &mut Vec<OpenUpload>, marker: &OpenMarker) {
    let (Some(key), Some(id)) = (&marker.key, &marker.upload_id) else { return };
    match uploads.iter().position(|upload| upload.key == *key && upload.upload_id == *id) {
        Some(at) => drop(uploads.drain(..=at)),
        None => uploads.retain(|upload| upload.key >= *key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unencoded_keys_are_recognized_by_their_characters() {
        for raw in ["a b", "é", "100%", "a%2", "a&b", "a\nb"] {
            assert!(is_raw(raw), "{raw}");
        }
        for either in ["a", "a/b.txt", "a+b%2Fc", "%C3%A9"] {
            assert!(!is_raw(either), "{either}");
        }
    }

    #[test]
    fn uploads_repeated_by_a_store_that_ignores_the_marker_are_removed() {
        let upload = |key: &str, id: &str| OpenUpload { key: key.into(), upload_id: id.into(), initiated: None };
        let all = || vec![upload("a", "1"), upload("b", "2"), upload("b", "1"), upload("c", "3")];
        let marker = |id: &str| OpenMarker { key: Some("b".into()), upload_id: Some(id.into()) };
        let (mut seen, mut over, mut other) = (all(), all(), all());
        drop_seen(&mut seen, &marker("2"));
        assert_eq!(seen, [upload("b", "1"), upload("c", "3")]);
        drop_seen(&mut over, &marker("9"));
        assert_eq!(over, all()[1..]);
        drop_seen(&mut other, &OpenMarker { key: None, upload_id: Some("x".into()) });
        assert_eq!(other, all());
    }
}
