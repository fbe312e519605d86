//! The object store: one client, timeouts, and specific errors.

mod abilities;
mod buckets;
mod error;
mod head;
mod headers;
mod keys;
mod multipart;
mod objects;
mod open;
mod probe;
mod retention;
mod tls;

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};

pub use abilities::{Abilities, Ability, Probed};
pub use buckets::{BucketEntry, Versioning};
pub use error::Error;
pub use head::Head;
pub use keys::KeyRules;
pub use multipart::{Part, PartReceipt, StoredObject};
pub use objects::{Body, Conditions, GetResponse, Listing, ObjectEntry, PutOptions};
pub use open::{OpenMarker, OpenPart, OpenParts, OpenUpload, OpenUploads};
pub use probe::BucketCheck;

use crate::config::S3Config;
use crate::stores::availability::Availability;

/// A frozen store must result in a 503 within 5 s.
const DEADLINE: Duration = Duration::from_secs(4);

/// Timeouts of transfers: one attempt sends up to one part.
const TRANSFER_ATTEMPT: Duration = Duration::from_secs(60);
const TRANSFER: Duration = Duration::from_secs(150);

#[derive(Clone)]
pub struct Store {
    client: Client,
    /// Signs links with the address through which browsers reach the store, and with the key for links.
    public: Client,
    region: String,
    /// For connections to a store with a private certificate authority.
    http_client: Option<SharedHttpClient>,
    /// `None` means AWS, which keeps all keys unchanged.
    endpoint: Option<String>,
    probed: abilities::Remembered,
    availability: Availability,
    retaining: retention::Retaining,
}

impl Store {
    /// Opens no connection yet.
    pub fn new(config: &S3Config) -> Self {
        let http_client = config.ca_pem.as_deref().and_then(tls::http_client);
        let client = client(config, config.endpoint.as_deref(), http_client.clone());
        let public_endpoint = config.public_url.as_deref().or(config.endpoint.as_deref());
        let public = match &config.link_key {
            Some(key) => {
                let signing = S3Config {
                    access_key_id: key.access_key_id.clone(),
                    secret_access_key: key.secret_access_key.clone(),
                    session_token: None,
                    ..config.clone()
                };
                self::client(&signing, public_endpoint, None)
            }
            None if config.public_url.is_some() => self::client(config, public_endpoint, None),
            None => client.clone(),
        };
        Self {
            client,
            public,
            region: config.region.clone(),
            http_client,
            endpoint: config.endpoint.clone(),
            probed: abilities::Remembered::default(),
            availability: Availability::default(),
            retaining: retention::Retaining::default(),
        }
    }

    /// For requests that a page waits for. The parts of an upload in progress, its completion and the health checks use the
    /// client directly: they have their own timeouts.
    async fn client(&self) -> Result<&Client, Error> {
        self.availability.check_again().await.map_err(|why| Error::Unreachable(why.into()))?;
        Ok(&self.client)
    }

    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    pub fn region(&self) -> &str {
        &self.region
    }

    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Whether the store itself refuses to replace an object (`If-None-Match: *`), so that no prior check is needed.
    pub fn refuses_to_replace(&self) -> bool {
        self.known(|can| can.put_if_absent == Ability::Yes && can.complete_if_absent == Ability::Yes).unwrap_or(self.endpoint.is_none())
    }
}

fn client(config: &S3Config, endpoint: Option<&str>, http_client: Option<SharedHttpClient>) -> Client {
    let credentials = Credentials::new(
        &config.access_key_id,
        config.secret_access_key.reveal(),
        config.session_token.as_ref().map(|token| token.reveal().to_owned()),
        None,
        "environment",
    );
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .interceptor(headers::ReadableHeaders { region: config.region.clone() })
        .region(Region::new(config.region.clone()))
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(100)))
        // Downloads and uploads have their own idle timeouts; the SDK's stall detection has aborted slow but healthy
        // transfers (aws-sdk-rust#1141).
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The SDK's default checksum trailers break some stores; Larder computes checksums of parts itself.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(http_client) = http_client {
        builder = builder.http_client(http_client);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(builder.build())
}

/// Timeouts of all requests except transfers.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_attempt_timeout(DEADLINE).operation_timeout(DEADLINE).build()
}

/// Timeouts and retries for one part or one small object. The body is in memory, so it can be sent again.
fn transfer() -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(TRANSFER_ATTEMPT)
        .operation_timeout(TRANSFER)
        .build();
    aws_sdk_s3::Config::builder().timeout_config(timeouts).retry_config(RetryConfig::standard().with_max_attempts(3))
}
