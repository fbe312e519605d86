//! Puts the SQLSTATE of each error in front of its message as it arrives from the server: `57014: canceling statement…`. The
//! reason is in [`super::sqlstate`].
//!
//! Source of the format: PostgreSQL documentation, "Message Formats", `ErrorResponse`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::server::Observed;
use super::sqlstate::{SEPARATOR, is_code};

/// The type of a message and its length, which includes itself.
const HEADER: usize = 5;
const ERROR_RESPONSE: u8 = b'E';
/// Longer errors pass unchanged.
const MAX_ERROR: usize = 64 * 1024;
const READ_SIZE: usize = 8 * 1024;

/// A connection after the negotiation of TLS, decrypted.
pub(super) struct CodedStream<S> {
    inner: S,
    observed: Arc<Observed>,
    scanner: Scanner,
    /// Scanned, and not read yet.
    ready: BytesMut,
}

impl<S> CodedStream<S> {
    pub fn new(inner: S, observed: Arc<Observed>) -> Self {
        Self { inner, observed, scanner: Scanner::default(), ready: BytesMut::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CodedStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            let mut bytes = [0; READ_SIZE];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.scanner.scan(read.filled(), &mut this.ready, &this.observed);
        }
        let length = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready[..length]);
        this.ready.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CodedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for CodedStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Finds the errors in the bytes of a server, which arrive in pieces of any length.
#[derive(Default)]
struct Scanner {
    /// The part of a header or an error that has arrived.
    held: BytesMut,
    /// The length of an error whose header has arrived.
    error: Option<usize>,
    /// The rest of a message that is not an error.
    unchanged: usize,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8], output: &mut BytesMut, observed: &Observed) {
        while !bytes.is_empty() {
            if self.unchanged > 0 {
                let (now, rest) = bytes.split_at(self.unchanged.min(bytes.len()));
                output.put_slice(now);
                self.unchanged -= now.len();
                bytes = rest;
                continue;
            }
            let wanted = self.error.unwrap_or(HEADER) - self.held.len();
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.held.put_slice(now);
            bytes = rest;
            if now.len() < wanted {
                return;
            }
            if self.error.take().is_some() {
                put_error(&self.held, output, observed);
                self.held.clear();
                continue;
            }
            let length = u32::from_be_bytes([self.held[1], self.held[2], self.held[3], self.held[4]]) as usize;
            // Shorter than its own length field: not this protocol, so everything passes.
            let body = length.checked_sub(HEADER - 1).unwrap_or(usize::MAX);
            if self.held[0] == ERROR_RESPONSE && (1..=MAX_ERROR).contains(&body) {
                self.error = Some(HEADER + body);
            } else {
                output.put_slice(&self.held);
                self.held.clear();
                self.unchanged = body;
            }
        }
    }
}

/// Fields of an error: a type and a text that ends with 0; after the last field, another 0.
fn put_error(error: &[u8], output: &mut BytesMut, observed: &Observed) {
    let fields = || error[HEADER..].split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let Some(code) = fields().find_map(|field| field.strip_prefix(b"C")).filter(|code| is_code(code)) else {
        return output.put_slice(error);
    };
    observed.record(code);
    let start = output.len();
    output.put_slice(&error[..HEADER]);
    for field in fields() {
        output.put_u8(field[0]);
        if field[0] == b'M' {
            output.put_slice(code);
            output.put_slice(SEPARATOR.as_bytes());
        }
        output.put_slice(&field[1..]);
        output.put_u8(0);
    }
    output.put_u8(0);
    let length = u32::try_from(output.len() - start - 1).unwrap_or(u32::MAX);
    output[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn errors_carry_their_code_however_the_bytes_are_divided() {
        let row = message(b'D', &[b'E'; 300]);
        let error = message(b'E', b"SFEHLER\0VERROR\0C57014\0Mstorniere Anfrage\0\0");
        let ready = message(b'Z', b"I");
        let sent = [&row[..], &error, &ready, &row].concat();
        let coded = message(b'E', b"SFEHLER\0VERROR\0C57014\0M57014: storniere Anfrage\0\0");
        let expected = [&row[..], &coded, &ready, &row].concat();
        for size in [1, 2, 3, 7, 64, sent.len()] {
            let (mut scanner, mut output) = (Scanner::default(), BytesMut::new());
            for piece in sent.chunks(size) {
                scanner.scan(piece, &mut output, &Observed::default());
            }
            assert_eq!(&output[..], &expected[..], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_an_error_of_this_protocol_passes_unchanged() {
        // Version 2 of the protocol: a server that cannot start a process.
        let old = b"Ecould not fork new process for connection\n\0".to_vec();
        let without_code = message(b'E', b"SERROR\0Mno code\0\0");
        for sent in [old, without_code, message(b'E', &[b'x'; MAX_ERROR + 1]), vec![b'Z', 0, 0, 0, 1, 9, 9]] {
            let (mut scanner, mut output) = (Scanner::default(), BytesMut::new());
            scanner.scan(&sent, &mut output, &Observed::default());
            assert_eq!(&output[..], &sent[..]);
        }
    }
}
