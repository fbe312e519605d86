//! What an error of the object store means for one bucket or one file, as a sentence for users. A page that fails as a
//! whole shows the sentence of its [`super::problem::Problem`].

use super::Error;
use super::names::BucketName;
use crate::stores::s3;

pub(super) fn bucket_not_found(bucket: &BucketName) -> Error {
    Error::NotFound(format!("Bucket {bucket} not found."))
}

/// Why a file was not stored.
pub(super) fn of_upload(error: &s3::Error) -> &'static str {
    if let Some(sentence) = error.sentence() {
        return sentence;
    }
    match error {
        s3::Error::AccessDenied => "The store denied access: Larder's key may not write here.",
        s3::Error::NoSuchBucket | s3::Error::NoSuchKey => "The bucket no longer exists.",
        s3::Error::ChecksumMismatch => "The data received by the store did not match its checksum. Try again.",
        s3::Error::NoSuchUpload => "The upload no longer exists at the store.",
        s3::Error::InvalidKey(_) => "The store does not accept this name.",
        s3::Error::Other(_) => "The store returned an internal error. Try again, or contact its operator.",
        _ => "The store did not respond in time. Try again.",
    }
}

/// Why an object was not deleted.
pub(super) fn of_deletion(error: &s3::Error) -> &'static str {
    match error {
        s3::Error::AccessDenied => "The store denied access: Larder's key may not delete here.",
        s3::Error::Unreachable(_) | s3::Error::SlowDown | s3::Error::Other(_) => "The store is unreachable.",
        _ => "The store returned an error.",
    }
}
