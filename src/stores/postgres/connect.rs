//! Opens connections with the limits of a session, and finds out whether a pooler is in between that refuses them.

use std::time::Duration;

use diesel::connection::CacheSize;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::config::{SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::coded_stream::CodedStream;
use super::connection::{Connection, Driver};
use super::dial::{Endpoint, Negotiated, described, dial, endpoints};
use super::server::{Access, Server};
pub(super) use super::session::Purpose;
use super::session::Session;
use super::sqlstate::{self, Meaning};
use super::{Error, Reason};
use crate::config::postgres_url::PostgresUrl;
use crate::stores::connect_error::{ConnectError, ErrorClass};
use crate::stores::tls;

/// Those given in the URL take precedence.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of two hours is longer than the tables of firewalls remember a connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why no connection was opened, with the SQLSTATE if the server responded.
#[derive(Debug)]
pub(super) struct Failure {
    pub shown: ConnectError,
    code: Option<SqlState>,
}

impl From<ConnectError> for Failure {
    fn from(shown: ConnectError) -> Self {
        Self { shown, code: None }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.code.map(|code| sqlstate::meaning(code.code())) {
            Some(Meaning::Unavailable(reason)) => Self::Unavailable { reason, detail: failure.shown.detail },
            _ => Self::Unreachable(failure.shown.detail),
        }
    }
}

/// Opens a connection and runs its driver on the current runtime.
pub(super) async fn open(server: &Server, purpose: Purpose) -> Result<Connection, Failure> {
    let invalid = |why: String| ConnectError { class: ErrorClass::Protocol, message: None, detail: why };
    let PostgresUrl { mut config, root_certificate, options, has_pooler } = PostgresUrl::parse(server.url.reveal()).map_err(invalid)?;
    let connect_timeout = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    let send_timeout = config.get_tcp_user_timeout().copied().unwrap_or(SEND_TIMEOUT);
    let idle = config.get_keepalives_idle().min(KEEPALIVE);
    config.connect_timeout(connect_timeout).tcp_user_timeout(send_timeout).keepalives_idle(idle);
    let tls = if config.get_ssl_mode() == SslMode::Disable {
        None
    } else {
        Some(tls::client(root_certificate.as_deref()).map_err(|why| ConnectError { class: ErrorClass::Tls, ..invalid(why) })?)
    };
    let target = Target { config, tls, server };
    let session = Session::new(purpose, options.as_deref());
    if !has_pooler && server.observed.access() != Access::Pooler {
        match target.start(Some(&session.options())).await {
            Ok((client, driver)) if server.observed.access() == Access::Direct || has_options(&client).await? => {
                server.observed.set_access(Access::Direct);
                let connection = AsyncPgConnection::try_from(client).await.map_err(|error| ConnectError::of(&error))?;
                return Ok(Connection::new(connection, driver, None));
            }
            Ok(_) => {}
            Err(failure) if failure.code.as_ref().is_some_and(refuses_options) => {}
            Err(failure) => return Err(failure),
        }
    }
    let (client, driver) = target.start(session.options_without_settings().as_deref()).await?;
    if server.observed.set_access(Access::Pooler) && !has_pooler {
        log::info!(
            "the Postgres server does not accept settings of a session, as poolers in transaction mode: Larder sends its timeouts with \
             each transaction. Add pgbouncer=true to the URL to save an attempt at each start"
        );
    }
    // Diesel configures the connection with prepared statements, which must reach the same server connection.
    client.batch_execute("BEGIN").await.map_err(|error| failure(&error))?;
    let mut connection = AsyncPgConnection::try_from(client).await.map_err(|error| ConnectError::of(&error))?;
    connection.batch_execute("COMMIT").await.map_err(|error| ConnectError::of(&error))?;
    connection.set_prepared_statement_cache_size(CacheSize::Disabled);
    Ok(Connection::new(connection, driver, Some(session)))
}

/// PgBouncer refuses unknown settings with `protocol_violation`; other poolers use `feature_not_supported`. PgBouncer reports
/// other problems with the same code, but those occur again without the options.
fn refuses_options(code: &SqlState) -> bool {
    [SqlState::PROTOCOL_VIOLATION, SqlState::FEATURE_NOT_SUPPORTED].contains(code)
}

/// Some poolers ignore the options.
async fn has_options(client: &Client) -> Result<bool, Failure> {
    Ok(first_value(client, &Session::marker_query()).await?.is_some_and(|value| !value.is_empty()))
}

async fn first_value(client: &Client, query: &str) -> Result<Option<String>, Failure> {
    let rows = client.simple_query(query).await.map_err(|error| failure(&error))?;
    Ok(rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

struct Target<'a> {
    config: tokio_postgres::Config,
    tls: Option<rustls::ClientConfig>,
    server: &'a Server,
}

impl Target<'_> {
    /// Tries the addresses one after the other; returns the error of the last.
    async fn start(&self, options: Option<&str>) -> Result<(Client, Driver), Failure> {
        let endpoints = endpoints(&self.config).await.map_err(|error| ConnectError::of(&error))?;
        let mut last = None;
        for endpoint in &endpoints {
            match self.start_at(endpoint, options).await {
                Ok(started) => return Ok(started),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::new(ErrorClass::Dns, "The host name was not found.").into()))
    }

    async fn start_at(&self, endpoint: &Endpoint, options: Option<&str>) -> Result<(Client, Driver), Failure> {
        let transport = dial(endpoint, &self.config, self.tls.as_ref()).await.map_err(|error| {
            let failed = ConnectError::of(&error);
            ConnectError { detail: format!("{}: {}", described(endpoint), failed.detail), ..failed }
        })?;
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        if let Some(options) = options {
            config.options(options);
        }
        let observed = self.server.observed.clone();
        let coded = Negotiated(move |transport| CodedStream::new(transport, observed));
        let (client, connection) = config.connect_raw(transport, coded).await.map_err(|error| failure(&error))?;
        let driver = Driver(tokio::spawn(connection).abort_handle());
        let wanted = match self.config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok((client, driver)),
        };
        if first_value(&client, "SHOW transaction_read_only").await?.as_deref() == Some(wanted) {
            return Ok((client, driver));
        }
        Err(match wanted {
            "off" => Failure {
                shown: ConnectError::new(ErrorClass::Degraded, Reason::ReadOnly.sentence()),
                code: Some(SqlState::READ_ONLY_SQL_TRANSACTION),
            },
            _ => ConnectError::new(ErrorClass::Degraded, "The server is not read-only, as target_session_attrs requires.").into(),
        })
    }
}

/// Includes the cause: "error connecting to server" alone is not helpful.
fn failure(error: &tokio_postgres::Error) -> Failure {
    let detail = std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let Some(state) = error.code() else { return ConnectError { detail, ..ConnectError::of(error) }.into() };
    let (class, message) = match (state, sqlstate::meaning(state.code())) {
        (&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION, _) => {
            (ErrorClass::Auth, Some("The server rejected Larder's user name or password."))
        }
        (&SqlState::INSUFFICIENT_PRIVILEGE, _) => (ErrorClass::Auth, Some("Larder's user is not permitted to connect to the database.")),
        (&SqlState::INVALID_CATALOG_NAME, _) => {
            (ErrorClass::Protocol, Some("The database that the URL names does not exist on the server."))
        }
        (_, Meaning::Unavailable(reason)) => (ErrorClass::Degraded, Some(reason.sentence())),
        _ => (ErrorClass::Protocol, None),
    };
    Failure { shown: ConnectError { class, message: message.map(Into::into), detail }, code: Some(state.clone()) }
}
