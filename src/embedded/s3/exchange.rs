//! One HTTP request to a server that is starting.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// One HTTP request and its whole response, or `None`. `head`: request line and headers, each with its line end.
pub(super) fn exchange(mut stream: impl Read + Write, head: &str, body: &str) -> Option<String> {
    stream.write_all(format!("{head}Host: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

const LIMIT: Duration = Duration::from_secs(1);

pub(super) fn over_tcp(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    Some(stream)
}

pub(super) fn over_unix(socket: &Path) -> Option<UnixStream> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    Some(stream)
}
