//! Operations on objects: listing, HEAD, GET, PUT of one body, DELETE, presigned GET.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime as SmithyTime, DateTimeFormat};
use aws_sdk_s3::types::EncodingType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::multipart::Stored;
use super::{Error, Store, fault, transfer};

pub struct ObjectEntry {
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
}

pub struct Listing {
    /// Common prefixes, with their slash.
    pub prefixes: Vec<String>,
    pub objects: Vec<ObjectEntry>,
    pub next: Option<String>,
}

/// What HEAD tells.
#[derive(Clone, Debug)]
pub struct Head {
    pub size: u64,
    pub etag: String,
    pub modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
    pub version_id: Option<String>,
    pub metadata: Vec<(String, String)>,
}

/// Conditional and Range headers, as they came.
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
    /// `None` at the end; an error where the store cut the body short.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        Some(self.0.next().await?.map_err(|error| Error::Unreachable(error.to_string())))
    }
}

/// An object that GET has opened.
pub struct Opened {
    pub body: Body,
    pub length: u64,
    pub content_range: Option<String>,
    pub etag: Option<String>,
    pub modified: Option<DateTime<Utc>>,
    pub content_type: Option<String>,
}

pub struct PutOptions<'a> {
    pub content_type: &'a str,
    /// Stored with the object, so that a crash between store and database can be told apart later.
    pub metadata: &'a [(&'a str, &'a str)],
    /// Refuse to replace an object that is there.
    pub only_if_absent: bool,
}

/// CRC-32 as S3 writes it: big-endian bytes in base64.
pub(super) fn crc32_header(bytes: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(bytes).to_be_bytes())
}

pub(super) fn to_chrono(time: &SmithyTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

pub(super) fn unquoted(etag: Option<&str>) -> String {
    etag.unwrap_or_default().trim_matches('"').to_owned()
}

/// Listed keys come form-encoded (`encoding-type=url`): plus is a space.
pub(super) fn decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

impl Store {
    /// One page of a listing. `delimiter`: whether to fold what stands behind the next slash.
    pub async fn list(&self, bucket: &str, prefix: &str, delimiter: bool, cursor: Option<&str>, limit: i32) -> Result<Listing, Error> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.then(|| "/".to_owned()))
            .set_continuation_token(cursor.map(str::to_owned))
            .max_keys(limit)
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(fault::of)?;
        let objects = answer.contents().iter().filter_map(|object| {
            Some(ObjectEntry {
                key: decoded(object.key()?),
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                etag: unquoted(object.e_tag()),
                modified: object.last_modified().and_then(to_chrono),
            })
        });
        Ok(Listing {
            prefixes: answer.common_prefixes().iter().filter_map(|folder| folder.prefix().map(decoded)).collect(),
            objects: objects.collect(),
            next: answer.next_continuation_token().filter(|_| answer.is_truncated().unwrap_or_default()).map(str::to_owned),
        })
    }

    pub async fn head(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Head, Error> {
        let request = self.client.head_object().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
        let answer = request.send().await.map_err(fault::of)?;
        let mut metadata: Vec<(String, String)> =
            answer.metadata().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
        metadata.sort();
        Ok(Head {
            size: u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default(),
            etag: unquoted(answer.e_tag()),
            modified: answer.last_modified().and_then(to_chrono),
            content_type: answer.content_type().map(str::to_owned),
            version_id: answer.version_id().filter(|version| *version != "null").map(str::to_owned),
            metadata,
        })
    }

    /// `NotModified`, `PreconditionFailed` and `InvalidRange` are answers to the conditions, not faults.
    pub async fn get(&self, bucket: &str, key: &str, version: Option<&str>, conditions: &Conditions) -> Result<Opened, Error> {
        let time = |value: &Option<String>| value.as_deref().and_then(|value| SmithyTime::from_str(value, DateTimeFormat::HttpDate).ok());
        let answer = self
            .client
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
            .map_err(fault::of)?;
        Ok(Opened {
            length: u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default(),
            content_range: answer.content_range().map(str::to_owned),
            etag: answer.e_tag().map(|etag| unquoted(Some(etag))),
            modified: answer.last_modified().and_then(to_chrono),
            content_type: answer.content_type().map(str::to_owned),
            body: Body(answer.body),
        })
    }

    /// Stores a body that fits into memory with one request that the store checks against its CRC-32.
    pub async fn put(&self, bucket: &str, key: &str, body: Bytes, options: &PutOptions<'_>) -> Result<Stored, Error> {
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
        let answer = request.send().await.map_err(fault::of)?;
        Ok(Stored { etag: unquoted(answer.e_tag()), version_id: answer.version_id().filter(|id| *id != "null").map(str::to_owned) })
    }

    /// Deletes the object if its ETag is `etag`. Looked at first as well: some stores ignore `If-Match` here.
    pub async fn delete_if(&self, bucket: &str, key: &str, etag: &str) -> Result<(), Error> {
        let found = self.head(bucket, key, None).await?;
        if found.etag != etag {
            return Err(Error::PreconditionFailed);
        }
        let quoted = format!("\"{etag}\"");
        self.client.delete_object().bucket(bucket).key(key).if_match(quoted).send().await.map(|_| ()).map_err(fault::of)
    }

    /// A link that downloads the object until `lifetime` is over, always as an attachment.
    pub async fn presign(&self, bucket: &str, key: &str, disposition: &str, lifetime: Duration) -> Result<String, Error> {
        let config = PresigningConfig::expires_in(lifetime).map_err(|error| Error::Other(error.to_string()))?;
        let request = self
            .public
            .get_object()
            .bucket(bucket)
            .key(key)
            .response_content_disposition(disposition)
            .response_content_type("application/octet-stream");
        Ok(request.presigned(config).await.map_err(fault::of)?.uri().to_owned())
    }
}
