//! Errors of the object store.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::stores::connect_error::{ErrorClass, class_of};

/// What to do about a certificate that is not trusted.
pub(super) const UNTRUSTED: &str = "The certificate of the store is not trusted, or the store does not use TLS. Set S3_CA_FILE to the \
                                    certificate of its authority if that is private.";

/// Why a request to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Bucket not found")]
    NoSuchBucket,
    #[error("Object not found")]
    NoSuchKey,
    #[error("The store denied access to Larder's key")]
    AccessDenied,
    /// 409 or 412 on a conditional request: another object exists.
    #[error("The object differs from the expected one")]
    PreconditionFailed,
    #[error("The bucket is not empty")]
    BucketNotEmpty,
    #[error("A bucket with this name already exists")]
    BucketExists,
    #[error("The store has no space left")]
    NoSpace,
    /// The quota of the bucket is used up; the store's own sentence.
    #[error("The store has no space left for this bucket: {0}")]
    QuotaExceeded(String),
    /// A sentence for display.
    #[error("{0}")]
    InvalidKey(String),
    #[error("The requested range is outside the object")]
    InvalidRange,
    /// Nothing was tried, because new objects could not be deleted during the default retention of the bucket.
    #[error("New objects of the bucket cannot be deleted during its default retention")]
    KeepsObjects,
    /// 304: not an error for the caller.
    #[error("The object has not changed")]
    NotModified,
    /// An invalid cursor, version or prefix.
    #[error("The store rejected the request: {0}")]
    InvalidRequest(String),
    /// The data received by the store did not match its checksum.
    #[error("The store received different bytes than Larder sent")]
    ChecksumMismatch,
    #[error("The multipart upload does not exist")]
    NoSuchUpload,
    /// The content of the object is archived, in this storage class if the store names it.
    #[error("The object is archived")]
    Archived(Option<String>),
    /// Encrypted with a key that only the client has (SSE-C).
    #[error("The object is encrypted with a customer key")]
    CustomerKey,
    /// The key management service refused or failed to decrypt the object.
    #[error("The object cannot be decrypted: {0}")]
    NotDecrypted(String),
    /// The bucket or the store is in another region than the configured one; the region that the store reported.
    #[error("{}", wrong_region(.0.as_deref()))]
    WrongRegion(Option<String>),
    #[error("The store does not support this")]
    NotSupported,
    #[error("The store is receiving too many requests")]
    SlowDown,
    /// No response within the deadline, or no connection.
    #[error("The store is unreachable: {0}")]
    Unreachable(String),
    #[error("The store returned an error: {0}")]
    Other(String),
}

impl Error {
    /// A sentence about the state of the store that users may see; `None` if the error concerns one request.
    pub fn sentence(&self) -> Option<&'static str> {
        match self {
            Self::NoSpace => Some("The store has no space left."),
            Self::SlowDown => Some("The store is receiving too many requests. Try again in a moment."),
            _ => None,
        }
    }
}

pub(super) fn from_sdk<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E, HttpResponse>) -> Error {
    let (status, code, message) = match &error {
        SdkError::TimeoutError(_) => return Error::Unreachable("no response in time".into()),
        SdkError::DispatchFailure(failure) => {
            let Some(error) = failure.as_connector_error() else { return Error::Unreachable("the connection failed".into()) };
            let hint = if class_of(error) == ErrorClass::Tls { format!(". {UNTRUSTED}") } else { String::new() };
            return Error::Unreachable(format!("{}{hint}", cause_of(error)));
        }
        SdkError::ConstructionFailure(_) => return Error::InvalidKey("The S3 protocol cannot represent this name.".into()),
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            return if (500..600).contains(&status) {
                Error::Other(format!("status {status}"))
            } else {
                Error::Unreachable("an unreadable response".into())
            };
        }
        SdkError::ServiceError(service) if service.err().code() == Some("InvalidObjectState") => {
            return Error::Archived(service.raw().body().bytes().and_then(|body| element(body, "StorageClass")));
        }
        // The response to HEAD has no code. The header is removed from responses if it has the configured region.
        SdkError::ServiceError(service) if is_wrong_region(service.raw(), service.err().code(), region_of(service.raw()).is_some()) => {
            return Error::WrongRegion(region_of(service.raw()));
        }
        SdkError::ServiceError(service) => {
            (service.raw().status().as_u16(), service.err().code().unwrap_or_default(), service.err().message().unwrap_or_default())
        }
        _ => return Error::Other(error.to_string()),
    };
    classify(status, code, message)
}

/// The innermost cause: "dispatch failure" alone is not helpful.
fn cause_of(error: &aws_sdk_s3::error::ConnectorError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The region of the bucket, as far as the response contains it.
fn region_of(response: &HttpResponse) -> Option<String> {
    let header = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    header.or_else(|| response.body().bytes().and_then(|body| element(body, "Region")))
}

fn is_wrong_region(response: &HttpResponse, code: Option<&str>, is_region_reported: bool) -> bool {
    match code {
        Some("PermanentRedirect" | "IllegalLocationConstraintException") => true,
        // Also the responses to a malformed credential and for a bucket that was just created.
        Some("AuthorizationHeaderMalformed" | "TemporaryRedirect") => is_region_reported,
        _ if response.status().as_u16() == 301 => true,
        _ if response.status().as_u16() == 307 => is_region_reported,
        None | Some("" | "BadRequest") => response.status().as_u16() == 400 && response.headers().contains_key("x-amz-bucket-region"),
        Some(_) => false,
    }
}

fn wrong_region(reported: Option<&str>) -> String {
    match reported {
        Some(region) => {
            format!(
                "The bucket is in region {region}, but AWS_REGION is set to a different region. Set AWS_REGION={region} and restart Larder."
            )
        }
        None => "The bucket is in a different region than AWS_REGION names. Set AWS_REGION to the region of the bucket and restart Larder."
            .to_owned(),
    }
}

/// The text of an element of an error response.
fn element(body: &[u8], name: &str) -> Option<String> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once('<')?;
    let is_word = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_word.then(|| text.to_owned())
}

/// By error code, or by status if the response has no body (HEAD).
fn classify(status: u16, code: &str, message: &str) -> Error {
    let is_full = ["no free volumes", "No space left", "no writable volumes"].iter().any(|part| message.contains(part));
    match code {
        // AWS, MinIO and SeaweedFS use the codes of invalid requests.
        _ if status == 400 && message.contains("Server Side Encryption") => Error::CustomerKey,
        _ if code.contains("KMS") || message.contains("kms:Decrypt") => Error::NotDecrypted(format!("{status} {code}")),
        // MinIO, and Ceph's gateway.
        _ if code.contains("QuotaExceeded") => {
            let words: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
            Error::QuotaExceeded(if words.is_empty() { code.to_owned() } else { words })
        }
        "InvalidObjectState" => Error::Archived(None),
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
            Error::InvalidKey("The store does not accept this name.".into())
        }
        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" | "ServerBusy" | "TooManyRequests" => Error::SlowDown,
        "NotImplemented" | "UnsupportedOperation" => Error::NotSupported,
        _ if status == 501 => Error::NotSupported,
        _ if is_full || status == 507 => Error::NoSpace,
        _ => match status {
            304 => Error::NotModified,
            // The response to a HEAD with an unacceptable name has no body either.
            400 if code.is_empty() || code == "BadRequest" => Error::InvalidKey("The store does not accept this name.".into()),
            // A HEAD response has no body that says whether the bucket or the key is missing.
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
    fn only_a_plain_word_is_read_from_an_error_response() {
        let body = b"<Error><Code>InvalidObjectState</Code><StorageClass>DEEP_ARCHIVE</StorageClass></Error>";
        assert_eq!(element(body, "StorageClass").as_deref(), Some("DEEP_ARCHIVE"));
        assert_eq!(element(body, "Region"), None);
        assert_eq!(element(b"<Region>eu &amp; west</Region>", "Region"), None);
    }

    #[test]
    fn responses_are_classified_by_code_or_else_by_status() {
        assert_eq!(classify(404, "NoSuchBucket", ""), Error::NoSuchBucket);
        assert_eq!(classify(404, "", ""), Error::NoSuchKey);
        assert_eq!(classify(403, "", ""), Error::AccessDenied);
        assert_eq!(classify(507, "XMinioStorageFull", ""), Error::NoSpace);
        assert_eq!(classify(500, "InternalError", "assign volume: no free volumes left"), Error::NoSpace);
        assert_eq!(classify(503, "SlowDown", ""), Error::SlowDown);
        assert_eq!(classify(501, "NotImplemented", ""), Error::NotSupported);
        let customer_key = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided.";
        assert_eq!(classify(400, "InvalidRequest", customer_key), Error::CustomerKey);
        let decrypt = "User: arn:aws:iam::1:user/larder is not authorized to perform: kms:Decrypt on this resource";
        assert_eq!(classify(403, "AccessDenied", decrypt), Error::NotDecrypted("403 AccessDenied".into()));
        assert_eq!(classify(400, "KMS.DisabledException", ""), Error::NotDecrypted("400 KMS.DisabledException".into()));
        let quota = classify(400, "XMinioAdminBucketQuotaExceeded", "Bucket quota exceeded");
        assert_eq!(quota, Error::QuotaExceeded("Bucket quota exceeded".into()));
        assert_eq!(classify(403, "QuotaExceeded", ""), Error::QuotaExceeded("QuotaExceeded".into()));
        assert_eq!(classify(400, "InvalidPart", ""), Error::ChecksumMismatch);
        assert_eq!(classify(500, "InternalError", "boom"), Error::Other("500 InternalError".into()));
    }
}
