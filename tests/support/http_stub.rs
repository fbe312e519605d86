//! An HTTP server that returns what the test defines and records requests. One request per connection.
//!
//! It has its own thread, so that it may outlive the runtime of the test that created it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

pub struct HttpStub {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    sent: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: String,
    /// Including the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum Reply {
    Json(u16, Value),
    /// The complete response, including the head.
    Raw(Vec<u8>),
    /// Sends this, then nothing more for as long as the client waits.
    Freeze(&'static str),
    /// Sends this, then zeros for as long as the client reads them.
    Endless(&'static str),
}

impl ReceivedRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut received = Self { method, path, headers, body: Vec::new() };
        let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
        received.body = vec![0; length];
        stream.read_exact(&mut received.body).ok()?;
        Some(received)
    }
}

impl Reply {
    /// A head and a body, as sent by a web server.
    pub fn page(status: u16, headers: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} As-ResumeRequest\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
        Self::Raw((head + body).into_bytes())
    }

    fn send(self, stream: &mut TcpStream, sent: &AtomicU64) -> std::io::Result<()> {
        match self {
            Self::Json(status, body) => Self::page(status, "content-type: application/json\r\n", &body.to_string()).send(stream, sent),
            Self::Raw(bytes) => stream.write_all(&bytes),
            Self::Freeze(begin) => {
                stream.write_all(begin.as_bytes())?;
                // Returns when the client has disconnected.
                stream.read(&mut [0]).map(drop)
            }
            Self::Endless(begin) => {
                stream.write_all(begin.as_bytes())?;
                let zeros = vec![b'0'; 64 << 10];
                loop {
                    sent.fetch_add(stream.write(&zeros)? as u64, Ordering::Relaxed);
                }
            }
        }
    }
}

impl HttpStub {
    pub fn new(answer: impl Fn(&ReceivedRequest) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (received, sent, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)), Arc::new(answer));
        let (remember, count) = (received.clone(), sent.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (remember, count, answer) = (remember.clone(), count.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().ok()?);
                    let received = ReceivedRequest::read(&mut reader)?;
                    remember.lock().unwrap().push(received.clone());
                    // The client may disconnect before the end.
                    answer(&received).send(&mut { stream }, &count).ok()
                });
            }
        });
        Self { base, received, sent }
    }

    /// A stub that always returns the same response.
    pub fn always(reply: Reply) -> Self {
        Self::new(move |_| reply.clone())
    }

    pub fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }

    /// Number of bytes sent of an endless response.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
