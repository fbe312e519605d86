//! The TLS configuration of all outgoing connections: rustls with aws-lc-rs; certificates are always verified.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Trusts the system's certificate authorities, or only those in the file `root_certificate`.
pub(super) fn client(root_certificate: Option<&str>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    match root_certificate {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(Path::new(path)).map_err(|error| format!("sslrootcert {path:?}: {error}"))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| format!("sslrootcert {path:?}: {error}"))?;
                roots.add(certificate).map_err(|error| format!("sslrootcert {path:?}: {error}"))?;
            }
        }
        None => roots = system().clone(),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Read once: while a server is down, a client is created every few seconds.
fn system() -> &'static rustls::RootCertStore {
    static SYSTEM: LazyLock<rustls::RootCertStore> = LazyLock::new(|| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    &SYSTEM
}
