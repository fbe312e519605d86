//! Opens connections: TLS according to the URL, keepalive and server-side timeouts.

use std::str::FromStr;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::stores::connect_error::{ConnectError, ErrorKind};
use crate::stores::tls;

/// What a connection is used for; migrations have no statement timeout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Pool,
    Migration,
}

/// Checks that the URL is valid, without opening a connection.
pub fn check_url(url: &str) -> Result<(), String> {
    settings(url, Purpose::Pool).map(|_| ())
}

struct Settings {
    config: tokio_postgres::Config,
    /// A private certificate authority, from `sslrootcert`.
    root_certificate: Option<String>,
}

/// `verify-ca` and `verify-full` are treated as `require`, because certificates are always verified. Without
/// `sslmode`, connections to a loopback address or a socket are unencrypted and all others prefer TLS.
fn settings(url: &str, purpose: Purpose) -> Result<Settings, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut root_certificate = None;
    let mut mode_given = false;
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => {
                root_certificate = Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned());
            }
            Some(("sslmode", "verify-ca" | "verify-full")) => {
                mode_given = true;
                kept.push("sslmode=require");
            }
            Some(("sslmode", _)) => {
                mode_given = true;
                kept.push(pair);
            }
            _ => kept.push(pair),
        }
    }
    let rebuilt = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let mut config = tokio_postgres::Config::from_str(&rebuilt).map_err(|error| error.to_string())?;
    let local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    });
    if !mode_given && local && root_certificate.is_none() {
        config.ssl_mode(SslMode::Disable);
    }
    config
        .connect_timeout(Duration::from_secs(3))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    if config.get_application_name().is_none() {
        config.application_name("larder");
    }
    let limits = match purpose {
        Purpose::Pool => "-c statement_timeout=10s -c lock_timeout=3s -c idle_in_transaction_session_timeout=15s",
        Purpose::Migration => "-c statement_timeout=0 -c lock_timeout=30s -c idle_in_transaction_session_timeout=60s",
    };
    let options = config.get_options().map_or_else(|| limits.to_owned(), |given| format!("{limits} {given}"));
    config.options(options);
    Ok(Settings { config, root_certificate })
}

/// Opens a connection and runs its driver on the current runtime.
pub async fn open(url: String, purpose: Purpose) -> Result<AsyncPgConnection, ConnectError> {
    let invalid = |why: String| ConnectError { kind: ErrorKind::Protocol, message: None, detail: why };
    let Settings { config, root_certificate } = settings(&url, purpose).map_err(invalid)?;
    let opened = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    } else {
        let tls = tls::client(root_certificate.as_deref()).map_err(|why| ConnectError { kind: ErrorKind::Tls, ..invalid(why) })?;
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    };
    opened.map_err(|error| ConnectError::of(&error))
}

/// Includes the cause: "error connecting to server" alone is not helpful.
fn failed(error: tokio_postgres::Error) -> ConnectError {
    let detail = std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let Some(state) = error.code() else { return ConnectError { detail, ..ConnectError::of(&error) } };
    let (kind, message) = match *state {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (ErrorKind::Auth, Some("The server rejected Larder's user name or password."))
        }
        SqlState::INVALID_CATALOG_NAME => (ErrorKind::Protocol, Some("The database named in DATABASE_URL does not exist on the server.")),
        SqlState::CANNOT_CONNECT_NOW => (ErrorKind::NotReady, Some("The server is starting or stopping.")),
        SqlState::TOO_MANY_CONNECTIONS => (ErrorKind::NotReady, Some("The server has reached its connection limit.")),
        _ => (ErrorKind::Protocol, None),
    };
    ConnectError { kind, message, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        settings(url, Purpose::Pool).unwrap().config.get_ssl_mode()
    }

    #[test]
    fn the_url_determines_the_tls_mode() {
        assert_eq!(mode("postgres://u:p@127.0.0.1/db"), SslMode::Disable);
        assert_eq!(mode("postgres:///app?host=/run/larder&user=app"), SslMode::Disable);
        assert_eq!(mode("postgres://u@db.example.com/db"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@127.0.0.1/db?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode("postgres://u@db.example.com/db?sslmode=disable"), SslMode::Disable);
        let with_ca = settings("postgres://u@db/db?sslmode=require&sslrootcert=/etc/my%20ca.pem", Purpose::Pool).unwrap();
        assert_eq!(with_ca.root_certificate.as_deref(), Some("/etc/my ca.pem"));
        assert!(check_url("postgres://u@db/db?sslmode=invalid").is_err());
    }

    #[test]
    fn options_in_the_url_override_the_defaults() {
        let options = settings("postgres://u@db/db?options=-c%20statement_timeout%3D1s", Purpose::Pool).unwrap();
        assert!(options.config.get_options().unwrap().ends_with("-c statement_timeout=1s"));
    }
}
