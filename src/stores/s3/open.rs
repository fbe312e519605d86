//! Multipart uploads that are open at the store, and the parts that have arrived of each.

use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};

use super::objects::{decoded, to_chrono, unquoted};
use super::{Error, Store, fault};

/// A multipart upload that nobody has completed or aborted yet: ours, or another program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenUpload {
    pub key: String,
    pub upload_id: String,
    pub initiated: Option<DateTime<Utc>>,
}

/// Behind which upload to go on, as the store named it: some name both, some the upload alone.
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
    /// The number of the last part of this page, where there are more.
    pub next: Option<i32>,
}

impl Store {
    /// One page of the open uploads whose keys begin with `prefix`, in the order of the store.
    pub async fn list_multipart(
        &self,
        bucket: &str,
        prefix: Option<&str>,
        marker: Option<&OpenMarker>,
        limit: i32,
    ) -> Result<OpenUploads, Error> {
        let answer = self
            .client
            .list_multipart_uploads()
            .bucket(bucket)
            .set_prefix(prefix.map(str::to_owned))
            .set_key_marker(marker.and_then(|marker| marker.key.clone()))
            .set_upload_id_marker(marker.and_then(|marker| marker.upload_id.clone()))
            .max_uploads(limit)
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(fault::of)?;
        let raw = answer.uploads().iter().filter_map(|upload| upload.key()).any(is_raw);
        let raw = raw || self.known(|abilities| abilities.raw_open_keys).unwrap_or_default();
        let spelt = |key: &str| if raw { key.to_owned() } else { decoded(key) };
        let mut uploads: Vec<OpenUpload> = answer
            .uploads()
            .iter()
            .filter_map(|upload| {
                Some(OpenUpload {
                    key: spelt(upload.key()?),
                    upload_id: upload.upload_id()?.to_owned(),
                    initiated: upload.initiated().and_then(to_chrono),
                })
            })
            .collect();
        if let Some(marker) = marker {
            drop_seen(&mut uploads, marker);
        }
        // MinIO ignores both limit and markers where it is asked for all of a bucket.
        let most = usize::try_from(limit).unwrap_or(1).max(1);
        let cut = uploads.len() > most;
        uploads.truncate(most);
        let given = |marker: Option<&str>| marker.filter(|marker| !marker.is_empty()).map(str::to_owned);
        let named =
            OpenMarker { key: given(answer.next_key_marker()).map(|key| spelt(&key)), upload_id: given(answer.next_upload_id_marker()) };
        let next = if cut || (answer.is_truncated().unwrap_or_default() && named == OpenMarker::default()) {
            uploads.last().map(|last| OpenMarker { key: Some(last.key.clone()), upload_id: Some(last.upload_id.clone()) })
        } else {
            answer.is_truncated().unwrap_or_default().then_some(named)
        };
        Ok(OpenUploads { uploads, next })
    }

    /// One page of the parts that have arrived, behind the part number `marker`. `NoSuchUpload` where it is over.
    pub async fn list_parts(&self, bucket: &str, key: &str, upload: &str, marker: Option<i32>, limit: i32) -> Result<OpenParts, Error> {
        let request = self.client.list_parts().bucket(bucket).key(key).upload_id(upload).max_parts(limit);
        let request = request.set_part_number_marker(marker.map(|number| number.to_string()));
        let answer = request.send().await.map_err(fault::of)?;
        let parts: Vec<OpenPart> = answer
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
        let next = parts.last().map(|part| part.number).filter(|_| answer.is_truncated().unwrap_or_default());
        Ok(OpenParts { parts, next })
    }
}

/// Whether a key has a character that `encoding-type=url` never leaves: SeaweedFS says that it has encoded the
/// keys of open uploads, and has not.
fn is_raw(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/*+".contains(&byte);
    let bytes = key.as_bytes();
    let escape = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    bytes.iter().enumerate().any(|(at, byte)| !(plain(*byte) || *byte == b'%' && escape(at)))
}

/// What a store that ignores the marker has sent again. Where the marked upload itself is over by now, its key
/// still tells what came before.
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
    fn a_key_that_was_not_encoded_gives_itself_away_by_most_characters() {
        for raw in ["a b", "é", "100%", "a%2", "a&b", "a\nb"] {
            assert!(is_raw(raw), "{raw}");
        }
        for either in ["a", "a/b.txt", "a+b%2Fc", "%C3%A9"] {
            assert!(!is_raw(either), "{either}");
        }
    }

    #[test]
    fn a_store_that_ignores_the_marker_repeats_nothing() {
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
