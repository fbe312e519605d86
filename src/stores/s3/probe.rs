//! Cheap questions to the store, each sent once and never again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use uuid::Uuid;

use super::abilities::scratch_key;
use super::{Error, Store, fault};
use crate::stores::connect_error::{ConnectError, ErrorKind};

/// What the bucket answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The server's name, where it gives one.
    pub server: String,
    pub bucket_is_missing: bool,
}

/// Takes down who answered.
#[derive(Clone, Debug, Default)]
struct Signature(Arc<Mutex<String>>);

impl Intercept for Signature {
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
    /// Whether the bucket answers. The caller sets the deadline.
    pub async fn check(&self, bucket: &str) -> Result<Checked, ConnectError> {
        let signature = Signature::default();
        let request = self.client.head_bucket().bucket(bucket).customize();
        let answer = request.config_override(once()).interceptor(signature.clone()).send().await;
        let server = signature.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Ok(_) => Ok(Checked { server, bucket_is_missing: false }),
            Err(error) if error.raw_response().is_some_and(|answer| answer.status().as_u16() == 404) => {
                Ok(Checked { server, bucket_is_missing: true })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes 16 bytes, reads them back and removes them; how long that took. `nonce` keeps those who do so at once
    /// apart. What a process that died has left is swept as what the trials of its abilities have.
    pub async fn round_trip(&self, bucket: &str, nonce: Uuid) -> Result<Duration, ConnectError> {
        let key = scratch_key(nonce, "health");
        let sent = *Uuid::now_v7().as_bytes();
        let began = Instant::now();
        let put = self.client.put_object().bucket(bucket).key(&key).body(ByteStream::from(sent.to_vec()));
        let put = put.customize().config_override(once()).send().await.map_err(failed)?;
        let version = put.version_id().filter(|version| *version != "null");
        let got = self.client.get_object().bucket(bucket).key(&key).set_version_id(version.map(str::to_owned));
        let got = match got.range("bytes=0-16").customize().config_override(once()).send().await {
            Ok(answer) => beginning(answer.body, sent.len() + 1).await,
            Err(error) => Err(failed(error)),
        };
        // Of a bucket that keeps versions nothing must stay behind either.
        let delete = self.client.delete_object().bucket(bucket).key(&key).set_version_id(version.map(str::to_owned));
        delete.customize().config_override(once()).send().await.map_err(failed)?;
        let took = began.elapsed();
        if self.endpoint.is_some() {
            // A store over a file system may keep the folder.
            let folder = self.client.delete_object().bucket(bucket).key(scratch_key(nonce, ""));
            drop(folder.customize().config_override(once()).send().await);
        }
        if got? != sent {
            return Err(ConnectError::new(ErrorKind::Protocol, "It gave back other bytes than were written."));
        }
        Ok(took)
    }
}

/// No more than so many bytes, whatever is sent.
async fn beginning(mut body: ByteStream, most: usize) -> Result<Vec<u8>, ConnectError> {
    let mut read = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| ConnectError::of(&error))?;
        read.extend(piece.iter().take(most - read.len()));
        if read.len() == most {
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
        SdkError::TimeoutError(_) => return ConnectError { kind: ErrorKind::Timeout, say: None, why: error.to_string() },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            return ConnectError { kind: ErrorKind::Timeout, say: None, why: error.to_string() };
        }
        SdkError::DispatchFailure(failure) => {
            if let Some(cause) = failure.as_connector_error() {
                return ConnectError::of(cause);
            }
        }
        SdkError::ServiceError(answer) if answer.raw().status().as_u16() == 301 => {
            return ConnectError::new(ErrorKind::Protocol, "The bucket is in another region than AWS_REGION says.");
        }
        _ => {}
    }
    let error = fault::of(error);
    let (kind, say) = match &error {
        Error::AccessDenied => (ErrorKind::Auth, Some("It refused Larder's key, or what the key may do.")),
        Error::SlowDown => (ErrorKind::NotReady, Some("It asks to slow down.")),
        Error::NoSpace => (ErrorKind::NotReady, Some("It has no space left.")),
        Error::Unreachable(_) => (ErrorKind::Connect, None),
        _ => (ErrorKind::Protocol, None),
    };
    ConnectError { kind, say, why: error.to_string() }
}
