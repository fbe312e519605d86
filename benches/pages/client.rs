//! A minimal HTTP connection: it shares the cores with what it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Timeout of a page.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response, stored in the buffer until the next request.
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// Bytes transferred: head and body.
    pub fn weight(&self) -> (usize, usize) {
        (self.head.len(), self.body.len())
    }
}

/// A GET request, to be sent any number of times.
pub fn request(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("GET {path} HTTP/1.1\r\nhost: larder\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    (text + "\r\n").into_bytes()
}

fn field(head: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(head).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|field| field.eq_ignore_ascii_case(name)))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10) })
    }

    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.context("no response within 10 s")??;
        let end = self.end_of_head().context("the response has no head")?;
        let status = std::str::from_utf8(&self.buffer[9..12])?.parse()?;
        Ok(Answer { status, head: &self.buffer[..end], body: &self.buffer[end..] })
    }

    fn end_of_head(&self) -> Option<usize> {
        self.buffer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<()> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        let end = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            if let Some(end) = self.end_of_head() {
                break end;
            }
        };
        let Some(length) = field(&self.buffer[..end], "content-length") else { bail!("the response has no content length") };
        let whole = end + length.parse::<usize>()?;
        while self.buffer.len() < whole {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
        }
        ensure!(self.buffer.len() == whole, "the body is longer than announced");
        Ok(())
    }
}

/// The measurements of clients that each send the next request after the response: a closed loop, which sends fewer
/// requests when responses are slow.
#[derive(Default)]
pub struct Seen {
    /// Milliseconds per response.
    pub times: Vec<f64>,
    pub errors: usize,
    pub seconds: f64,
}

impl Seen {
    pub fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }
}

/// `is_good` checks the status and the length of the body.
pub async fn closed_loop(address: SocketAddr, request: &[u8], clients: usize, lasts: Duration, is_good: fn(u16, usize) -> bool) -> Seen {
    let began = Instant::now();
    let one = async |request: Vec<u8>| -> (Vec<f64>, usize) {
        let (mut times, mut errors) = (Vec::new(), 0);
        while began.elapsed() < lasts {
            let Ok(mut connection) = Connection::open(address).await else {
                errors += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            while began.elapsed() < lasts {
                let asked = Instant::now();
                match connection.ask(&request).await {
                    Ok(answer) => {
                        errors += usize::from(!is_good(answer.status, answer.body.len()));
                        times.push(asked.elapsed().as_secs_f64() * 1000.0);
                    }
                    Err(_) => {
                        errors += 1;
                        times.push(asked.elapsed().as_secs_f64() * 1000.0);
                        break;
                    }
                }
            }
        }
        (times, errors)
    };
    let all = futures_util::future::join_all((0..clients).map(|_| one(request.to_vec()))).await;
    let mut seen = Seen { seconds: began.elapsed().as_secs_f64(), ..Seen::default() };
    for (times, errors) in all {
        seen.times.extend(times);
        seen.errors += errors;
    }
    seen
}
