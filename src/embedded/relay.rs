//! Forwards connections from a port on loopback to the unix socket of a server in a network namespace.
//!
//! The port stays bound while the server restarts. Otherwise another program on the machine could bind it and receive
//! requests that are meant for the server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, oneshot, watch};

/// The maximum number of connections. More wait in the queue of the listener.
const MAX_CONNECTIONS: usize = 512;
/// The buffer for each direction of each connection.
const BUFFER: usize = 64 << 10;

/// Listens until it is dropped, which also closes its connections. Until [`Relay::open`] is called, and after
/// [`Relay::close`], connections are closed immediately.
pub(super) struct Relay {
    is_open: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `port` of loopback, in a separate thread.
    pub fn start(port: u16, socket: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let (is_open, when_open) = watch::channel(false);
        let socket = socket.to_owned();
        let thread = std::thread::Builder::new().name("s3-relay".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    error = accept(listener, socket, when_open) => log::error!("the relay of the embedded S3 server stopped: {error}"),
                }
            });
        })?;
        Ok(Self { is_open, stop: Some(stop), thread: Some(thread) })
    }

    /// Forwards connections: the server is ready.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Closes all connections: the server has ended.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Dropping the sender ends the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns only if the listener is broken.
async fn accept(listener: TcpListener, socket: PathBuf, is_open: watch::Receiver<bool>) -> std::io::Error {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return std::io::ErrorKind::Other.into() };
        match listener.accept().await {
            Ok((client, _)) => {
                let (relayed, mut is_open) = (relay(client, socket.clone()), is_open.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = is_open.wait_for(|open| !open) => {}
                        () = relayed => {}
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // There are no file descriptors left, or the client has already disconnected. The next connection may
                // be accepted.
                log::debug!("the relay of the embedded S3 server did not accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// When one side closes the connection, the other side is closed too.
async fn relay(mut client: TcpStream, socket: PathBuf) {
    let Ok(mut server) = UnixStream::connect(&socket).await else { return };
    let _ = client.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
}
