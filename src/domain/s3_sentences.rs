//! What an error of the object store means for one bucket or one file, as a sentence for users. A page that fails as a
//! whole shows the sentence of its [`super::problem::Problem`].

use super::Error;
use super::names::BucketName;
use crate::stores::s3;

pub(super) fn bucket_not_found(bucket: &BucketName) -> Error {
    Error::NotFound(format!("Bucket {bucket} not found."))
}

/// Why a file was not stored.
pub(super) fn of_upload(error: &s3::Error) -> String {
    if let Some(sentence) = error.sentence() {
        return sentence.to_owned();
    }
    let sentence = match error {
        s3::Error::WrongRegion(_) => return error.to_string(),
        s3::Error::QuotaExceeded(_) => return format!("{error}."),
        s3::Error::AccessDenied => "The store denied access: Larder's key may not write here.",
        s3::Error::NoSuchBucket | s3::Error::NoSuchKey => "The bucket no longer exists.",
        s3::Error::ChecksumMismatch => "The data received by the store did not match its checksum. Try again.",
        s3::Error::NotDecrypted(_) => {
            "The store could not encrypt this file: its encryption key is disabled, or Larder's access key may not use it."
        }
        s3::Error::NoSuchUpload => "The upload no longer exists at the store.",
        s3::Error::InvalidKey(_) => "The store does not accept this name.",
        s3::Error::Other(_) => "The store returned an internal error. Try again, or contact its operator.",
        _ => "The store did not respond in time. Try again.",
    };
    sentence.to_owned()
}

/// Why the content of an object cannot be read, although the object exists; `None` if that may change soon.
pub(super) fn of_reading(error: &s3::Error) -> Option<String> {
    Some(match error {
        s3::Error::Archived(class) => {
            let class = class.as_deref().map(|class| format!(" in {class}")).unwrap_or_default();
            format!("This object is archived{class}. Restore it in the store first.")
        }
        s3::Error::CustomerKey => {
            "This object is encrypted with a customer key (SSE-C), which Larder does not have. Read it with the program that stored it."
                .to_owned()
        }
        s3::Error::NotDecrypted(_) => {
            "The store could not decrypt this object: its encryption key is disabled or deleted, or Larder's access \
             key may not use it. The operator of the store can permit kms:Decrypt."
                .to_owned()
        }
        s3::Error::AccessDenied => {
            "The store does not permit Larder's access key to read this object. The operator of the store can grant \
             s3:GetObject."
                .to_owned()
        }
        s3::Error::InvalidKey(_) | s3::Error::InvalidRequest(_) | s3::Error::NotSupported | s3::Error::Other(_) => {
            "The store returned an error when Larder read this object.".to_owned()
        }
        _ => return None,
    })
}

/// Why an object was not deleted.
pub(super) fn of_deletion(error: &s3::Error) -> &'static str {
    match error {
        s3::Error::AccessDenied => "The store denied access: Larder's key may not delete here.",
        s3::Error::Unreachable(_) | s3::Error::SlowDown | s3::Error::Other(_) => "The store is unreachable.",
        _ => "The store returned an error.",
    }
}
