//! Operations on objects: listing, HEAD, GET, PUT of one body, DELETE, presigned GET.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime as SmithyTime, DateTimeFormat};
use aws_sdk_s3::types::{EncodingType, ObjectStorageClass};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::multipart::StoredObject;
use super::{Error, Store, error, transfer};

pub struct ObjectEntry {
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    /// `None` for the store's standard class.
    pub storage_class: Option<String>,
}

pub struct Listing {
    /// Common prefixes, including the trailing slash.
    pub prefixes: Vec<String>,
    pub objects: Vec<ObjectEntry>,
    pub next: Option<String>,
}

/// Conditional and Range headers, as received.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub range: Option<String>,
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// The bytes of an object, as they arrive.
pub struct Body(ByteStream);

impl Body {
    /// `None` at the end; an error if the store ended the body early.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        Some(self.0.next().await?.map_err(|error| Error::Unreachable(error.to_string())))
    }
}

/// The response of a GET.
pub struct GetResponse {
    pub body: Body,
    pub length: u64,
    pub content_range: Option<String>,
    pub etag: Option<String>,
    pub modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
}

pub struct PutOptions<'a> {
    pub content_type: &'a str,
    /// Stored with the object, so that after a crash its origin can be determined.
    pub metadata: &'a [(&'a str, &'a str)],
    /// Fail if the object already exists.
    pub only_if_absent: bool,
}

/// CRC-32 in the S3 format: big-endian bytes in base64.
pub(super) fn crc32_header(bytes: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(bytes).to_be_bytes())
}

pub(super) fn to_chrono(time: &SmithyTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

pub(super) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// A storage class other than the standard one.
pub(super) fn special_class(class: Option<&str>) -> Option<String> {
    class.filter(|class| !class.is_empty() && *class != "STANDARD").map(str::to_owned)
}

/// `Content-Encoding` without the values that do not concern the stored bytes: some stores keep `aws-chunked`, the
/// encoding of the request that stored the object.
pub(super) fn stored_encoding(header: Option<&str>) -> Option<String> {
    let codings: Vec<&str> =
        header?.split(',').map(str::trim).filter(|coding| !matches!(*coding, "" | "aws-chunked" | "identity")).collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

/// Encoded keys are form-encoded (`encoding-type=url`): a plus sign is a space.
pub(super) fn decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// A listed key. A store that does not support `encoding-type=url` omits EncodingType and lists keys as they are.
pub(super) fn decoded_as(encoding: Option<&EncodingType>, key: &str) -> String {
    if encoding == Some(&EncodingType::Url) { decoded(key) } else { key.to_owned() }
}

impl Store {
    /// One page of a listing. `delimiter`: whether to group keys by the next slash.
    pub async fn list(&self, bucket: &str, prefix: &str, delimiter: bool, cursor: Option<&str>, limit: i32) -> Result<Listing, Error> {
        let response = self
            .client()
            .await?
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.then(|| "/".to_owned()))
            .set_continuation_token(cursor.map(str::to_owned))
            .max_keys(limit)
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(error::from_sdk)?;
        let decoded = |key: &str| decoded_as(response.encoding_type(), key);
        let objects = response.contents().iter().filter_map(|object| {
            Some(ObjectEntry {
                key: decoded(object.key()?),
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                etag: unquoted(object.e_tag()),
                modified: object.last_modified().and_then(to_chrono),
                storage_class: special_class(object.storage_class().map(ObjectStorageClass::as_str)),
            })
        });
        Ok(Listing {
            prefixes: response.common_prefixes().iter().filter_map(|folder| folder.prefix().map(decoded)).collect(),
            objects: objects.collect(),
            next: response.next_continuation_token().filter(|_| response.is_truncated().unwrap_or_default()).map(str::to_owned),
        })
    }

    /// `NotModified`, `PreconditionFailed` and `InvalidRange` are regular results of the conditions.
    pub async fn get(&self, bucket: &str, key: &str, version: Option<&str>, conditions: &Conditions) -> Result<GetResponse, Error> {
        let time = |value: &Option<String>| value.as_deref().and_then(|value| SmithyTime::from_str(value, DateTimeFormat::HttpDate).ok());
        let response = self
            .client()
            .await?
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_version_id(version.map(str::to_owned))
            .set_range(conditions.range.clone())
            .set_if_match(conditions.if_match.clone())
            .set_if_none_match(conditions.if_none_match.clone())
            .set_if_modified_since(time(&conditions.if_modified_since))
            .set_if_unmodified_since(time(&conditions.if_unmodified_since))
            .send()
            .await
            .map_err(error::from_sdk)?;
        Ok(GetResponse {
            length: u64::try_from(response.content_length().unwrap_or_default()).unwrap_or_default(),
            content_range: response.content_range().map(str::to_owned),
            etag: response.e_tag().map(|etag| unquoted(Some(etag))),
            modified: response.last_modified().and_then(to_chrono),
            content_type: response.content_type().map(str::to_owned),
            content_encoding: stored_encoding(response.content_encoding()),
            body: Body(response.body),
        })
    }

    /// Stores a body held in memory with one request; the store verifies its CRC-32.
    pub async fn put(&self, bucket: &str, key: &str, body: Bytes, options: &PutOptions<'_>) -> Result<StoredObject, Error> {
        let mut request = self
            .client
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_type(options.content_type)
            .content_length(i64::try_from(body.len()).unwrap_or(i64::MAX))
            .checksum_crc32(crc32_header(&body))
            .set_if_none_match(options.only_if_absent.then(|| "*".to_owned()));
        for (name, value) in options.metadata {
            request = request.metadata(*name, *value);
        }
        let request = request.body(ByteStream::from(body)).customize().disable_payload_signing().config_override(transfer());
        let response = request.send().await.map_err(error::from_sdk)?;
        Ok(StoredObject {
            etag: unquoted(response.e_tag()),
            version_id: response.version_id().filter(|id| *id != "null").map(str::to_owned),
        })
    }

    /// Deletes the object if its ETag is `etag`. Checked here as well, because some stores ignore `If-Match` on
    /// DELETE.
    pub async fn delete_if(&self, bucket: &str, key: &str, etag: &str) -> Result<(), Error> {
        let found = self.head(bucket, key, None).await?;
        if found.etag != etag {
            return Err(Error::PreconditionFailed);
        }
        let quoted = format!("\"{etag}\"");
        self.client().await?.delete_object().bucket(bucket).key(key).if_match(quoted).send().await.map(|_| ()).map_err(error::from_sdk)
    }

    /// A link that downloads the object as an attachment until `ttl` has passed.
    pub async fn presign(&self, bucket: &str, key: &str, disposition: &str, ttl: Duration) -> Result<String, Error> {
        let config = PresigningConfig::expires_in(ttl).map_err(|error| Error::Other(error.to_string()))?;
        let request = self
            .public
            .get_object()
            .bucket(bucket)
            .key(key)
            .response_content_disposition(disposition)
            .response_content_type("application/octet-stream");
        Ok(request.presigned(config).await.map_err(error::from_sdk)?.uri().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::stored_encoding;

    #[test]
    fn the_encoding_of_the_request_is_not_that_of_the_object() {
        for (header, encoding) in
            [("aws-chunked", None), ("identity", None), ("aws-chunked, gzip", Some("gzip")), ("gzip,br", Some("gzip, br"))]
        {
            assert_eq!(stored_encoding(Some(header)).as_deref(), encoding, "{header}");
        }
        assert_eq!(stored_encoding(None), None);
    }
}
