//! Opens connections: TLS according to the URL, keepalive and server-side timeouts.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::postgres_url::PostgresUrl;
use crate::stores::connect_error::{ConnectError, ErrorClass};
use crate::stores::tls;

/// What a connection is used for; migrations have no statement timeout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Pool,
    Migration,
}

/// The URL, with keepalive and server-side timeouts. Those given in the URL take precedence.
fn settings(url: &str, purpose: Purpose) -> Result<PostgresUrl, String> {
    let mut parsed = PostgresUrl::parse(url)?;
    parsed
        .config
        .connect_timeout(Duration::from_secs(3))
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(10));
    let limits = match purpose {
        Purpose::Pool => "-c statement_timeout=10s -c lock_timeout=3s -c idle_in_transaction_session_timeout=15s",
        Purpose::Migration => "-c statement_timeout=0 -c lock_timeout=30s -c idle_in_transaction_session_timeout=60s",
    };
    let options = parsed.config.get_options().map_or_else(|| limits.to_owned(), |given| format!("{limits} {given}"));
    parsed.config.options(options);
    Ok(parsed)
}

/// Opens a connection and runs its driver on the current runtime.
pub async fn open(url: String, purpose: Purpose) -> Result<AsyncPgConnection, ConnectError> {
    let invalid = |why: String| ConnectError { class: ErrorClass::Protocol, message: None, detail: why };
    let PostgresUrl { config, root_certificate, .. } = settings(&url, purpose).map_err(invalid)?;
    let opened = if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    } else {
        let tls = tls::client(root_certificate.as_deref()).map_err(|why| ConnectError { class: ErrorClass::Tls, ..invalid(why) })?;
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await.map_err(failed)?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    };
    opened.map_err(|error| ConnectError::of(&error))
}

/// Includes the cause: "error connecting to server" alone is not helpful.
fn failed(error: tokio_postgres::Error) -> ConnectError {
    let detail = std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let Some(state) = error.code() else { return ConnectError { detail, ..ConnectError::of(&error) } };
    let (class, message) = match *state {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (ErrorClass::Auth, Some("The server rejected Larder's user name or password."))
        }
        SqlState::INVALID_CATALOG_NAME => (ErrorClass::Protocol, Some("The database named in DATABASE_URL does not exist on the server.")),
        SqlState::CANNOT_CONNECT_NOW => (ErrorClass::Degraded, Some("The server is starting or stopping.")),
        SqlState::TOO_MANY_CONNECTIONS => (ErrorClass::Degraded, Some("The server has reached its connection limit.")),
        _ => (ErrorClass::Protocol, None),
    };
    ConnectError { class, message, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_the_url_override_the_defaults() {
        let options = settings("postgres://u@db/db?options=-c%20statement_timeout%3D1s", Purpose::Pool).unwrap();
        assert!(options.config.get_options().unwrap().ends_with("-c statement_timeout=1s"));
    }
}
