//! Opens a stream to a server: a TCP connection with keepalive or a Unix socket, then TLS as `sslmode` requests.
//!
//! `tokio_postgres` does this too, but its streams cannot be wrapped in [`super::coded_stream`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

const DEFAULT_PORT: u16 = 5432;
/// Source: PostgreSQL documentation, "Message Formats", `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// One address of the server.
pub(super) enum Endpoint {
    /// The name is that in the certificate.
    Tcp {
        name: String,
        address: SocketAddr,
    },
    Unix(PathBuf),
}

/// The addresses of all hosts, in the order in which they are tried. Fails only if no host has an address.
pub(super) async fn endpoints(config: &Config) -> io::Result<Vec<Endpoint>> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let (mut found, mut failure) = (Vec::new(), io::Error::new(io::ErrorKind::InvalidInput, "the URL has no host"));
    for index in 0..hosts.len().max(addresses.len()) {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
        match (hosts.get(index), addresses.get(index)) {
            (Some(Host::Unix(directory)), _) => found.push(Endpoint::Unix(directory.join(format!(".s.PGSQL.{port}")))),
            (Some(Host::Tcp(name)), Some(address)) => {
                found.push(Endpoint::Tcp { name: name.clone(), address: (*address, port).into() });
            }
            (None, Some(address)) => found.push(Endpoint::Tcp { name: address.to_string(), address: (*address, port).into() }),
            (Some(Host::Tcp(name)), None) => match tokio::net::lookup_host((name.as_str(), port)).await {
                Ok(resolved) => found.extend(resolved.map(|address| Endpoint::Tcp { name: name.clone(), address })),
                Err(error) => failure = error,
            },
            (None, None) => {}
        }
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        found.sort_by_cached_key(|_| uuid::Uuid::now_v7().as_u128() as u64);
    }
    if found.is_empty() { Err(failure) } else { Ok(found) }
}

pub(super) async fn dial(endpoint: &Endpoint, config: &Config, tls: Option<&ClientConfig>) -> io::Result<Transport> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Transport::Unix(within(config, UnixStream::connect(path)).await?)),
        Endpoint::Tcp { name, address } => {
            let stream = within(config, TcpStream::connect(address)).await?;
            set_options(&stream, config)?;
            match tls {
                Some(tls) => within(config, negotiate(stream, name, config, tls)).await,
                None => Ok(Transport::Tcp(stream)),
            }
        }
    }
}

async fn within<T>(config: &Config, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match config.get_connect_timeout() {
        Some(limit) => tokio::time::timeout(*limit, step).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
        None => step.await,
    }
}

fn set_options(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if config.get_keepalives() {
        let mut keepalive = socket2::TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval().filter(|interval| *interval > Duration::ZERO) {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

async fn negotiate(mut stream: TcpStream, name: &str, config: &Config, tls: &ClientConfig) -> io::Result<Transport> {
    let mut tls = tls.clone();
    if config.get_ssl_negotiation() == SslNegotiation::Direct {
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
    } else {
        stream.write_all(&SSL_REQUEST).await?;
        // Nothing beyond this byte is read, so that nothing that arrived unencrypted is taken for encrypted data.
        if stream.read_u8().await? != b'S' {
            if config.get_ssl_mode() == SslMode::Prefer {
                return Ok(Transport::Tcp(stream));
            }
            return Err(io::Error::other("the server does not support TLS"));
        }
    }
    let Ok(connector) = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut MakeRustlsConnect::new(tls), name);
    Ok(Transport::Tls(Box::new(connector.connect(stream).await?)))
}

/// A stream to the server, decrypted.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<<MakeRustlsConnect as MakeTlsConnect<TcpStream>>::Stream>),
}

macro_rules! delegate {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Transport::Tcp($stream) => $call,
            Transport::Unix($stream) => $call,
            Transport::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}

impl TlsStream for Transport {
    fn channel_binding(&self) -> ChannelBinding {
        match self {
            Self::Tls(stream) => stream.channel_binding(),
            Self::Tcp(_) | Self::Unix(_) => ChannelBinding::none(),
        }
    }
}

/// Passes a [`Transport`] through `tokio_postgres`, whose own negotiation is switched off with it: `sslmode=require` and
/// `sslnegotiation=direct` make it call the connector first.
pub(super) struct Negotiated<F>(pub F);

impl<F: FnOnce(Transport) -> S, S: TlsStream + Unpin> TlsConnect<Transport> for Negotiated<F> {
    type Stream = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn connect(self, stream: Transport) -> Self::Future {
        std::future::ready(Ok((self.0)(stream)))
    }
}

/// A missing socket is reported with its path, which the operator of a local server recognizes.
pub(super) fn described(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { address, .. } => address.to_string(),
        Endpoint::Unix(socket) => socket.display().to_string(),
    }
}
