//! Health checks of the store, each sent once without retries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use futures_util::FutureExt;
use uuid::Uuid;

use super::abilities::scratch_key;
use super::{Error, Store, error};
use crate::stores::connect_error::{ConnectError, ErrorClass};

/// The result of a bucket check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketCheck {
    /// The `Server` header, if present.
    pub server: String,
    pub bucket_is_missing: bool,
}

/// Records the `Server` header of the response.
#[derive(Clone, Debug, Default)]
struct ServerHeader(Arc<Mutex<String>>);

impl Intercept for ServerHeader {
    fn name(&self) -> &'static str {
        "server"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(server) = context.response().headers().get("server") {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = server.chars().take(40).collect();
        }
        Ok(())
    }
}

impl Store {
    /// Whether the bucket is reachable. The caller sets the deadline.
    pub async fn check(&self, bucket: &str) -> Result<BucketCheck, ConnectError> {
        let header = ServerHeader::default();
        let request = self.client.head_bucket().bucket(bucket).customize();
        let response = request.config_override(once()).interceptor(header.clone()).send().await;
        let server = header.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match response {
            Ok(_) => Ok(BucketCheck { server, bucket_is_missing: false }),
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => {
                Ok(BucketCheck { server, bucket_is_missing: true })
            }
            // The response to HEAD has no body; that to a listing names the region.
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 400) => {
                let listed = self.client.list_objects_v2().bucket(bucket).max_keys(1).customize().config_override(once()).send().await;
                Err(listed.err().map_or_else(|| failed(error), failed))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes 16 bytes, reads them back and deletes them; returns the duration, or `None` if new objects
    /// cannot be deleted during the default retention of the bucket. `nonce` separates concurrent checks.
    /// Objects left by a crashed process are removed by the sweep of the abilities probe.
    pub async fn round_trip(&self, bucket: &str, nonce: Uuid) -> Result<Option<Duration>, ConnectError> {
        // If this is unknown, an object that is written might not be deletable.
        if self.check_retention(bucket).boxed().await.map_err(|error| of_error(&error))? {
            return Ok(None);
        }
        let key = scratch_key(nonce, "health");
        let sent = *Uuid::now_v7().as_bytes();
        let began = Instant::now();
        let put = self.client.put_object().bucket(bucket).key(&key).body(ByteStream::from(sent.to_vec()));
        let put = put.customize().config_override(once()).send().await.map_err(failed)?;
        let version = put.version_id().filter(|version| *version != "null");
        let got = self.client.get_object().bucket(bucket).key(&key).set_version_id(version.map(str::to_owned));
        let got = match got.range("bytes=0-16").customize().config_override(once()).send().await {
            Ok(response) if response.object_lock_mode().is_some() => {
                // This version cannot be deleted. Each process leaves at most one per bucket, hidden by a delete marker.
                self.remember_retention(bucket);
                let marker = self.client.delete_object().bucket(bucket).key(&key);
                drop(marker.customize().config_override(once()).send().await);
                return Ok(None);
            }
            Ok(response) => read_up_to(response.body, sent.len() + 1).await,
            Err(error) => Err(failed(error)),
        };
        // Deletes the version as well, so that nothing remains in a versioned bucket.
        let delete = self.client.delete_object().bucket(bucket).key(&key).set_version_id(version.map(str::to_owned));
        delete.customize().config_override(once()).send().await.map_err(failed)?;
        let took = began.elapsed();
        if self.endpoint.is_some() {
            // A store based on a file system may keep the folder.
            let folder = self.client.delete_object().bucket(bucket).key(scratch_key(nonce, ""));
            drop(folder.customize().config_override(once()).send().await);
        }
        if got? != sent {
            return Err(ConnectError::new(ErrorClass::Protocol, "The store returned different bytes than were written."));
        }
        Ok(Some(took))
    }
}

/// Reads at most `max` bytes.
async fn read_up_to(mut body: ByteStream, max: usize) -> Result<Vec<u8>, ConnectError> {
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| ConnectError::of(&error))?;
        read.extend(piece.iter().take(max - read.len()));
        if read.len() == max {
            break;
        }
    }
    Ok(read)
}

fn once() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().retry_config(RetryConfig::disabled())
}

fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E, HttpResponse>) -> ConnectError {
    match &error {
        SdkError::TimeoutError(_) => return ConnectError { class: ErrorClass::Timeout, message: None, detail: error.to_string() },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            return ConnectError { class: ErrorClass::Timeout, message: None, detail: error.to_string() };
        }
        SdkError::DispatchFailure(failure) => {
            if let Some(cause) = failure.as_connector_error() {
                let failed = ConnectError::of(cause);
                let message = if failed.class == ErrorClass::Tls { Some(error::UNTRUSTED.into()) } else { failed.message };
                return ConnectError { message, ..failed };
            }
        }
        _ => {}
    }
    of_error(&error::from_sdk(error))
}

fn of_error(error: &Error) -> ConnectError {
    let (class, message) = match error {
        Error::AccessDenied => (ErrorClass::Auth, Some("The store rejected Larder's access key or its permissions.".into())),
        Error::WrongRegion(_) => (ErrorClass::Protocol, Some(error.to_string().into())),
        Error::SlowDown | Error::NoSpace => (ErrorClass::Degraded, error.sentence().map(Into::into)),
        Error::QuotaExceeded(_) => (ErrorClass::Degraded, Some(format!("{error}.").into())),
        Error::Unreachable(_) => (ErrorClass::Connect, None),
        _ => (ErrorClass::Protocol, None),
    };
    ConnectError { class, message, detail: error.to_string() }
}
