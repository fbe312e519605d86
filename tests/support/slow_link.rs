//! A TCP port in front of a server's port or socket that can be made slow, silent or broken.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkState {
    Open,
    /// Connections are accepted, but no data is transferred.
    Silent,
    /// Every chunk of a response is delayed by this duration.
    Slow(Duration),
    /// New connections end immediately, as do existing ones.
    Cut,
}

pub struct SlowLink {
    pub port: u16,
    state: Arc<watch::Sender<LinkState>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl SlowLink {
    /// To `host:port`, or to the path of a socket.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(LinkState::Open));
        let (states, server) = (state.clone(), server.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut ends, states, server) = (states.subscribe(), states.clone(), server.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = ends.wait_for(|state| *state == LinkState::Cut) => {}
                        _ = pass(client, &server, &states) => {}
                    }
                });
            }
        });
        Self { port, state }
    }

    pub fn set(&self, state: LinkState) {
        self.state.send_replace(state);
    }
}

async fn pass(client: TcpStream, server: &str, states: &watch::Sender<LinkState>) -> std::io::Result<()> {
    let server: Box<dyn Stream> = match server.starts_with('/') {
        true => Box::new(UnixStream::connect(server).await?),
        false => Box::new(TcpStream::connect(server).await?),
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    tokio::select! {
        ended = carry(from_client, to_server, states.subscribe(), false) => ended,
        ended = carry(from_server, to_client, states.subscribe(), true) => ended,
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<LinkState>,
    answers: bool,
) -> std::io::Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        drop(state.wait_for(|state| *state != LinkState::Silent).await);
        let now = *state.borrow();
        if let (LinkState::Slow(delay), true) = (now, answers) {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&piece[..read]).await?;
    }
}
