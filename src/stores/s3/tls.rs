//! TLS to a store with a private certificate authority.

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

/// An HTTP client that trusts these certificate authorities (PEM) as well as those of the system. The configuration has
/// checked them; `None` means that they cannot be used nevertheless.
pub(super) fn http_client(pem: &[u8]) -> Option<SharedHttpClient> {
    let trusted = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.inspect_err(|error| log::error!("the certificates of S3_CA_FILE cannot be used: {error}")).ok()?;
    Some(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}
