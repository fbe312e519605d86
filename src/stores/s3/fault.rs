//! What went wrong at the store, in our words.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// Why a request to the store did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("There is no bucket of this name")]
    NoSuchBucket,
    #[error("There is no object of this key")]
    NoSuchKey,
    #[error("The store refused: access denied for Larder's key")]
    AccessDenied,
    /// 409 or 412 on a conditional request: another object is there.
    #[error("The object is not as expected")]
    PreconditionFailed,
    #[error("The bucket is not empty")]
    BucketNotEmpty,
    #[error("A bucket of this name exists already")]
    BucketExists,
    #[error("The store has no space left")]
    NoSpace,
    /// A sentence for people.
    #[error("{0}")]
    InvalidKey(String),
    #[error("The requested range is outside the object")]
    InvalidRange,
    /// 304: not an error to the person who asked.
    #[error("The object has not changed")]
    NotModified,
    /// A cursor, version or prefix that the store cannot read.
    #[error("The store cannot read this request: {0}")]
    InvalidRequest(String),
    /// What we sent did not match its checksum.
    #[error("The store received other bytes than Larder sent")]
    ChecksumMismatch,
    #[error("The multipart upload is not known to the store")]
    NoSuchUpload,
    #[error("The store does not offer this")]
    NotSupported,
    #[error("The store asks to slow down")]
    SlowDown,
    /// No answer within the deadline, or no connection.
    #[error("The store does not answer: {0}")]
    Unreachable(String),
    #[error("The store answered with an error: {0}")]
    Other(String),
}

pub(super) fn of<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E, HttpResponse>) -> Error {
    let (status, code, message) = match &error {
        SdkError::TimeoutError(_) => return Error::Unreachable("no answer in time".into()),
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map_or_else(|| "the connection failed".to_owned(), cause_of);
            return Error::Unreachable(cause);
        }
        SdkError::ConstructionFailure(_) => return Error::InvalidKey("The store's protocol cannot carry this name.".into()),
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            return if (500..600).contains(&status) {
                Error::Other(format!("status {status}"))
            } else {
                Error::Unreachable("an unreadable answer".into())
            };
        }
        SdkError::ServiceError(service) => {
            (service.raw().status().as_u16(), service.err().code().unwrap_or_default(), service.err().message().unwrap_or_default())
        }
        _ => return Error::Other(error.to_string()),
    };
    classify(status, code, message)
}

/// The innermost cause: "dispatch failure" alone helps nobody.
fn cause_of(error: &aws_sdk_s3::error::ConnectorError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// By code where the answer has one, by status where it has no body (HEAD).
fn classify(status: u16, code: &str, message: &str) -> Error {
    let without_space = ["no free volumes", "No space left", "no writable volumes"].iter().any(|part| message.contains(part));
    match code {
        "NoSuchBucket" => Error::NoSuchBucket,
        "NoSuchKey" | "NoSuchVersion" => Error::NoSuchKey,
        "NoSuchUpload" => Error::NoSuchUpload,
        "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AllAccessDisabled" | "ExpiredToken" => Error::AccessDenied,
        "PreconditionFailed" | "ConditionalRequestConflict" => Error::PreconditionFailed,
        "BucketNotEmpty" => Error::BucketNotEmpty,
        "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => Error::BucketExists,
        "XMinioStorageFull" | "InsufficientStorage" | "EntityTooLarge" if status == 507 || code == "XMinioStorageFull" => Error::NoSpace,
        "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidPart" => {
            Error::ChecksumMismatch
        }
        "InvalidRange" => Error::InvalidRange,
        "NotModified" => Error::NotModified,
        "KeyTooLongError" | "XMinioInvalidObjectName" | "XMinioInvalidResourceName" => {
            Error::InvalidKey("The store does not take this name.".into())
        }
        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" | "ServerBusy" | "TooManyRequests" => Error::SlowDown,
        "NotImplemented" | "UnsupportedOperation" => Error::NotSupported,
        _ if status == 501 => Error::NotSupported,
        _ if without_space || status == 507 => Error::NoSpace,
        _ => match status {
            304 => Error::NotModified,
            // A HEAD with a name that the store does not take has no body either.
            400 if code.is_empty() || code == "BadRequest" => Error::InvalidKey("The store does not take this name.".into()),
            // A HEAD has no body to say whether the bucket or the key is missing.
            404 => Error::NoSuchKey,
            401 | 403 => Error::AccessDenied,
            412 => Error::PreconditionFailed,
            416 => Error::InvalidRange,
            429 | 503 => Error::SlowDown,
            400..500 => Error::InvalidRequest(format!("{status} {code}")),
            _ => Error::Other(format!("{status} {code}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_named_by_their_code_and_by_their_status_without_one() {
        assert_eq!(classify(404, "NoSuchBucket", ""), Error::NoSuchBucket);
        assert_eq!(classify(404, "", ""), Error::NoSuchKey);
        assert_eq!(classify(403, "", ""), Error::AccessDenied);
        assert_eq!(classify(507, "XMinioStorageFull", ""), Error::NoSpace);
        assert_eq!(classify(500, "InternalError", "assign volume: no free volumes left"), Error::NoSpace);
        assert_eq!(classify(503, "SlowDown", ""), Error::SlowDown);
        assert_eq!(classify(501, "NotImplemented", ""), Error::NotSupported);
        assert_eq!(classify(400, "InvalidPart", ""), Error::ChecksumMismatch);
        assert_eq!(classify(500, "InternalError", "boom"), Error::Other("500 InternalError".into()));
    }
}
