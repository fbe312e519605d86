//! Multipart uploads: parts in memory, each with a CRC-32 that the store verifies.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::objects::{PutOptions, crc32_header, unquoted};
use super::{Error, Store, error, transfer};

/// The object that the store now holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Without quotes.
    pub etag: String,
    pub version_id: Option<String>,
}

/// A part to send; numbers start at 1.
pub struct Part {
    pub number: i32,
    pub body: Bytes,
}

/// A part that the store has verified and stored.
#[derive(Clone, Debug)]
pub struct PartReceipt {
    pub number: i32,
    pub etag: String,
    pub crc32: String,
}

impl Store {
    /// Returns the ID of the new multipart upload.
    pub async fn create_multipart(&self, bucket: &str, key: &str, options: &PutOptions<'_>) -> Result<String, Error> {
        let mut request = self
            .client()
            .await?
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .content_type(options.content_type)
            .checksum_algorithm(ChecksumAlgorithm::Crc32);
        for (name, value) in options.metadata {
            request = request.metadata(*name, *value);
        }
        let response = request.send().await.map_err(error::from_sdk)?;
        response.upload_id().map(str::to_owned).ok_or_else(|| Error::Other("the response contains no upload ID".into()))
    }

    pub async fn put_part(&self, bucket: &str, key: &str, upload: &str, part: Part) -> Result<PartReceipt, Error> {
        let crc32 = crc32_header(&part.body);
        let request = self
            .client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(upload)
            .part_number(part.number)
            .content_length(i64::try_from(part.body.len()).unwrap_or(i64::MAX))
            .checksum_crc32(&crc32)
            .body(ByteStream::from(part.body))
            .customize()
            .disable_payload_signing()
            .config_override(transfer());
        let response = request.send().await.map_err(error::from_sdk)?;
        let etag = response.e_tag().map(str::to_owned).ok_or_else(|| Error::Other("the response contains no ETag".into()))?;
        Ok(PartReceipt { number: part.number, etag, crc32 })
    }

    /// Publishes the parts as one object.
    pub async fn complete_multipart(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[PartReceipt],
        only_if_absent: bool,
    ) -> Result<StoredObject, Error> {
        let completed = parts
            .iter()
            .map(|part| CompletedPart::builder().part_number(part.number).e_tag(&part.etag).checksum_crc32(&part.crc32).build());
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build())
            .set_if_none_match(only_if_absent.then(|| "*".to_owned()))
            .customize()
            .config_override(transfer());
        let response = request.send().await.map_err(error::from_sdk)?;
        Ok(StoredObject {
            etag: unquoted(response.e_tag()),
            version_id: response.version_id().filter(|id| *id != "null").map(str::to_owned),
        })
    }

    /// Succeeds if the upload no longer exists.
    pub async fn abort_multipart(&self, bucket: &str, key: &str, upload: &str) -> Result<(), Error> {
        match self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload).send().await.map_err(error::from_sdk) {
            Ok(_) | Err(Error::NoSuchUpload | Error::NoSuchKey | Error::NoSuchBucket) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
