//! Requests byte by byte, on a connection that the test can break anywhere.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::sender::Sender;

const BOUNDARY: &str = "----larder-faults";

/// A request with a body, and the position of each file's content in the body.
pub struct Upload {
    address: String,
    head: Vec<u8>,
    body: Vec<u8>,
    /// First byte, and the byte after the last.
    pub files: Vec<(usize, usize)>,
}

/// An upload in progress.
pub struct Sending {
    socket: TcpStream,
    body: Bytes,
    sent: usize,
}

impl Upload {
    pub fn form(sender: &Sender, files: &[(String, Bytes)], overwrite: bool) -> Self {
        let (mut body, mut places) = (Vec::new(), Vec::new());
        for (name, content) in files {
            let disposition = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
            body.extend_from_slice(format!("--{BOUNDARY}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n").as_bytes());
            places.push((body.len(), body.len() + content.len()));
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let path = format!("/buckets/{}/uploads?overwrite={}", sender.bucket, u8::from(overwrite));
        Self::new(sender, &path, &format!("multipart/form-data; boundary={BOUNDARY}"), body, places)
    }

    pub fn part(sender: &Sender, id: &str, number: u64, content: &[u8]) -> Self {
        let path = format!("/buckets/{}/uploads/{id}/parts?number={number}", sender.bucket);
        Self::new(sender, &path, "application/octet-stream", content.to_vec(), vec![(0, content.len())])
    }

    fn new(sender: &Sender, path: &str, media: &str, body: Vec<u8>, files: Vec<(usize, usize)>) -> Self {
        let address = sender.base.trim_start_matches("http://").to_owned();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {}\r\nCookie: {}\r\nAccept: application/json\r\n\
             Content-Type: {media}\r\nContent-Length: {}\r\n\r\n",
            sender.base,
            sender.cookie,
            body.len()
        );
        Self { address, head: head.into_bytes(), body, files }
    }

    pub async fn begin(self) -> Sending {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        socket.write_all(&self.head).await.unwrap();
        Sending { socket, body: self.body.into(), sent: 0 }
    }

    /// The part after the last file, which a cut may not reach.
    pub fn last_byte(&self) -> usize {
        self.files.last().unwrap().1
    }
}

impl Sending {
    /// Sends the body up to this byte. Larder may have stopped reading, which the response shows.
    pub async fn send_up_to(&mut self, end: usize) {
        let end = end.min(self.body.len());
        let _ = self.socket.write_all(&self.body[self.sent..end]).await;
        self.sent = end;
    }

    pub async fn send_rest(&mut self) {
        self.send_up_to(self.body.len()).await;
    }

    /// RST: unread data is discarded.
    pub fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// FIN, then reads the response.
    pub async fn finish(mut self) -> String {
        let _ = self.socket.shutdown().await;
        self.answer().await
    }

    /// Reads until the connection ends, or the head and a little more have arrived.
    pub async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        let reading = async {
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                if self.socket.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(60), reading).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}
