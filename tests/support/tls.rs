//! TLS in front of a server's socket.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A private certificate authority and a certificate for `localhost`.
pub fn certificates(directory: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let authority = ["req", "-x509", "-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(directory, &[&authority[..], &key[..]].concat());
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    openssl(directory, &[&request[..], &key[..5]].concat());
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost").unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem";
    openssl(directory, &sign.split(' ').collect::<Vec<_>>());
}

/// Terminates TLS and forwards to a server's socket or `host:port`; returns the port. `asked`: whether clients request TLS first,
/// with the SSLRequest of the Postgres protocol (8 bytes).
pub async fn tls_front(directory: &Path, socket: String, asked: bool) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(directory.join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                if asked {
                    let mut request = [0; 8];
                    client.read_exact(&mut request).await?;
                    assert_eq!(&request[4..], &80_877_103_u32.to_be_bytes(), "asks for TLS before anything else");
                    client.write_all(b"S").await?;
                }
                let mut client = acceptor.accept(client).await?;
                if socket.starts_with('/') {
                    tokio::io::copy_bidirectional(&mut client, &mut UnixStream::connect(socket).await?).await
                } else {
                    tokio::io::copy_bidirectional(&mut client, &mut TcpStream::connect(socket).await?).await
                }
            });
        }
    });
    port
}
