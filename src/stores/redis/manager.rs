//! Opens the connections of the pools through `deadpool_redis`, and checks those that were idle.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_redis::Metrics;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError, TlsCertificates};
use tokio::runtime::Handle;

use super::Error;
use super::greeting::{self, ConnectionOptions};
use super::replaced::ReplacedConnections;
use crate::config::Secret;

/// Connections that were idle for longer receive a PING before they are used.
const IDLE_CHECK_AFTER: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// [`deadpool_redis::Manager`] with a different check of reused connections. Its own check sends UNWATCH and PING at each
/// checkout, a round trip for each command, and fails for the user of the cache pages, who may not run UNWATCH
/// (`deploy/redis/browse.acl`). Larder does not use WATCH.
pub(super) struct Manager {
    inner: Arc<deadpool_redis::Manager>,
    options: ConnectionOptions,
    runtime: Handle,
    replaced: ReplacedConnections,
}

impl Manager {
    pub fn new(
        url: &Secret,
        config: AsyncConnectionConfig,
        options: ConnectionOptions,
        runtime: &Handle,
        replaced: ReplacedConnections,
    ) -> Result<Self, Error> {
        let inner = deadpool_redis::Manager::new_with_config(connection_info(url)?, config)?;
        Ok(Self { inner: Arc::new(inner), options, runtime: runtime.clone(), replaced })
    }
}

impl managed::Manager for Manager {
    type Type = MultiplexedConnection;
    type Error = Error;

    /// Runs on the main runtime, so that a connection outlives the thread that requested it. Fails for a server that Larder
    /// does not support.
    async fn create(&self) -> Result<MultiplexedConnection, Error> {
        let (inner, options) = (self.inner.clone(), self.options);
        let connecting = self.runtime.spawn(async move {
            let mut connection = managed::Manager::create(&*inner).await?;
            greeting::exchange(&mut connection, options).await?;
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|error| Err(RedisError::from(std::io::Error::other(error)).into()))
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, metrics: &Metrics) -> RecycleResult<Error> {
        if self.replaced.includes(metrics.created) {
            return Err(RecycleError::message("the server was a replica"));
        }
        if metrics.last_used() > IDLE_CHECK_AFTER {
            redis::cmd("PING").query_async::<()>(connection).await.map_err(Error::from)?;
        }
        Ok(())
    }
}

/// `?ssl_ca_certs=FILE`, as in redis-py, names the certificate authority of a private server's certificate.
pub(super) fn connection_info(url: &Secret) -> Result<ConnectionInfo, Error> {
    let (url, authority) = split_authority(url.reveal());
    let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 6);
    let mut info = url.as_str().into_connection_info()?;
    let settings = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keep_alive);
    // The responses of RESP3 have other shapes, and nothing here needs them: `?protocol=resp3` is accepted without effect.
    let redis_settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
    info = info.set_tcp_settings(settings).set_redis_settings(redis_settings);
    let Some(path) = authority else { return Ok(info) };
    let root_cert = std::fs::read(&path).map_err(|error| Error::Other(format!("ssl_ca_certs={path} cannot be read: {error}")))?;
    // Only a client reads certificates; they are part of its connection info.
    let client = Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(root_cert) })?;
    Ok(client.get_connection_info().clone())
}

/// `default` if the URL names no user.
pub(super) fn user(url: &Secret) -> Result<String, Error> {
    let info = split_authority(url.reveal()).0.as_str().into_connection_info()?;
    Ok(info.redis_settings().username().unwrap_or("default").to_owned())
}

fn split_authority(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (mut rest, mut authority) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.strip_prefix("ssl_ca_certs=") {
            Some(path) => authority = Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()),
            None => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (url, authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_authority_is_removed_from_the_url() {
        let split = |url| split_authority(url);
        assert_eq!(split("rediss://h/0"), ("rediss://h/0".into(), None));
        assert_eq!(split("rediss://h/0?ssl_ca_certs=/etc/my%20ca.pem"), ("rediss://h/0".into(), Some("/etc/my ca.pem".into())));
        assert_eq!(split("unix:///s?db=1&ssl_ca_certs=a&pass=x"), ("unix:///s?db=1&pass=x".into(), Some("a".into())));
    }
}
