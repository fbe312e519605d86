//! A streaming reader of `multipart/form-data` (RFC 7578, RFC 2046 section 5.1).
//!
//! Only the boundary ends a part: a `Content-Length` among its headers is ignored, as the RFC demands, because a wrong
//! one would store a file shorter or longer than what was sent. actix-multipart and the parsers behind it trust that
//! header, or require a body that is `Send`.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::mime::{self, Mime};
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;
use memchr::memmem::Finder;

/// Longest boundary, RFC 2046.
const MAX_BOUNDARY: usize = 70;
/// Bytes of the headers of one part.
const MAX_HEADERS: usize = 16 << 10;
/// Headers of one part.
const MAX_HEADER_COUNT: usize = 32;
/// Bytes before the first part; browsers send none.
const MAX_PREAMBLE: usize = 8 << 10;
/// How long the end of the body may take after the last boundary.
const EPILOGUE_TIMEOUT: Duration = Duration::from_secs(1);
/// What may follow a boundary on its line.
const MAX_PADDING: usize = 1 << 10;

/// Why a form cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the body is not multipart/form-data with a boundary")]
    NotAForm,
    #[error("the body ended before the last boundary")]
    Incomplete,
    #[error("{0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// The headers of a part that matter here.
#[derive(Debug)]
pub struct PartHead {
    /// The raw header.
    pub disposition: HeaderValue,
    pub content_type: Option<Mime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// After a boundary, on its line.
    Boundary,
    /// In the body of a part.
    Body,
    /// After the last boundary, or after an error.
    End,
}

/// Reads a form as it arrives. Nothing is read before the first call.
pub struct FormReader {
    payload: Payload,
    /// Line end, two hyphens and the boundary; `None`: the request is not a form.
    delimiter: Option<Finder<'static>>,
    buffer: BytesMut,
    state: State,
}

impl FormReader {
    pub fn new(headers: &HeaderMap, payload: Payload) -> Self {
        let delimiter = boundary(headers).map(|boundary| Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned());
        // The first boundary needs no line end before it; with one it is like all others.
        Self { payload, delimiter, buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble }
    }

    /// Skips what is left of the current part and reads the headers of the next. `None`: the form is complete. After an
    /// error, nothing more.
    pub async fn next_part(&mut self) -> Result<Option<PartHead>, ReadError> {
        let head = self.advance().await;
        if !matches!(head, Ok(Some(_))) {
            self.state = State::End;
        }
        head
    }

    async fn advance(&mut self) -> Result<Option<PartHead>, ReadError> {
        if self.state == State::End {
            return Ok(None);
        }
        let mut preamble = MAX_PREAMBLE;
        while self.state != State::Boundary {
            let in_preamble = self.state == State::Preamble;
            let Some(chunk) = self.until_boundary().await? else { break };
            if in_preamble {
                preamble = preamble.checked_sub(chunk.len()).ok_or(ReadError::Malformed("too much precedes the first boundary"))?;
            }
        }
        let is_last = self.boundary_line().await?;
        if is_last {
            self.finish().await;
            return Ok(None);
        }
        self.head().await.map(Some)
    }

    /// Reads the little that follows the last boundary, so that the connection can be used again.
    async fn finish(&mut self) {
        let reading = async {
            let mut left = MAX_PREAMBLE;
            while let Some(Ok(chunk)) = self.payload.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(EPILOGUE_TIMEOUT, reading).await;
    }

    /// The next bytes of the current part, never empty. `None`: it is complete. After an error, nothing more.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.state != State::Body {
            return Ok(None);
        }
        let chunk = self.until_boundary().await;
        if chunk.is_err() {
            self.state = State::End;
        }
        chunk
    }

    /// More bytes up to the next boundary; `None` when it is reached, and then it is consumed.
    async fn until_boundary(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            let Some(delimiter) = &self.delimiter else { return Err(ReadError::NotAForm) };
            let length = delimiter.needle().len();
            match delimiter.find(&self.buffer) {
                // What follows decides whether it is a boundary.
                Some(at) => match line_end(&self.buffer[at + length..]) {
                    LineEnd::Boundary if at == 0 => {
                        drop(self.buffer.split_to(length));
                        self.state = State::Boundary;
                        return Ok(None);
                    }
                    LineEnd::Boundary => return Ok(Some(self.buffer.split_to(at).freeze())),
                    LineEnd::Other => return Ok(Some(self.buffer.split_to(at + length).freeze())),
                    LineEnd::Unknown if at > 0 => return Ok(Some(self.buffer.split_to(at).freeze())),
                    LineEnd::Unknown => {}
                },
                None => {
                    let kept = partial_match(&self.buffer, delimiter.needle());
                    if self.buffer.len() > kept {
                        return Ok(Some(self.buffer.split_to(self.buffer.len() - kept).freeze()));
                    }
                }
            }
            self.fill().await?;
        }
    }

    /// Reads the rest of a boundary's line; whether it was the last boundary.
    async fn boundary_line(&mut self) -> Result<bool, ReadError> {
        while self.buffer.len() < 2 {
            self.fill().await?;
        }
        if self.buffer.starts_with(b"--") {
            return Ok(true);
        }
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                // Keep the line end, which the headers (or none) follow.
                drop(self.buffer.split_to(at));
                return Ok(false);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Result<PartHead, ReadError> {
        const END: &[u8] = b"\r\n\r\n";
        let end = loop {
            match memchr::memmem::find(&self.buffer, END) {
                Some(at) if at <= MAX_HEADERS => break at + END.len(),
                None if self.buffer.len() <= MAX_HEADERS => self.fill().await?,
                _ => return Err(ReadError::Malformed("the headers of a part are too long")),
            }
        };
        let block = self.buffer.split_to(end);
        self.state = State::Body;
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADER_COUNT];
        let parsed = httparse::parse_headers(&block[2..], &mut fields);
        let Ok(httparse::Status::Complete((_, fields))) = parsed else {
            return Err(ReadError::Malformed("the headers of a part cannot be read"));
        };
        let find = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
        let disposition = find(CONTENT_DISPOSITION.as_str()).and_then(|value| HeaderValue::from_bytes(value).ok());
        let disposition = disposition.ok_or(ReadError::Malformed("a part has no Content-Disposition"))?;
        if !disposition.as_bytes().to_ascii_lowercase().starts_with(b"form-data") {
            return Err(ReadError::Malformed("a part is not form-data"));
        }
        let content_type = find(CONTENT_TYPE.as_str()).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        Ok(PartHead { disposition, content_type })
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        match self.payload.next().await {
            Some(chunk) if self.buffer.is_empty() => {
                // Avoids a copy if the bytes are not shared.
                self.buffer = chunk?.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            }
            Some(chunk) => self.buffer.extend_from_slice(&chunk?),
            None => return Err(ReadError::Incomplete),
        }
        Ok(())
    }
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let mime: Mime = headers.get(CONTENT_TYPE)?.to_str().ok()?.parse().ok()?;
    if mime.type_() != mime::MULTIPART || mime.subtype() != mime::FORM_DATA {
        return None;
    }
    let boundary = mime.get_param(mime::BOUNDARY)?.as_str();
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then(|| boundary.to_owned())
}

/// What follows the characters of a delimiter.
enum LineEnd {
    /// The line of a boundary.
    Boundary,
    /// More characters: it is part of the body.
    Other,
    /// More bytes are needed.
    Unknown,
}

fn line_end(rest: &[u8]) -> LineEnd {
    if rest.starts_with(b"--") {
        return LineEnd::Boundary;
    }
    let padding = rest.iter().take(MAX_PADDING).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &rest[padding..] {
        [b'\r', b'\n', ..] => LineEnd::Boundary,
        [] | [b'\r'] => LineEnd::Unknown,
        [b'-'] if padding == 0 => LineEnd::Unknown,
        _ => LineEnd::Other,
    }
}

/// How many bytes at the end could be the start of a delimiter.
fn partial_match(bytes: &[u8], delimiter: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(delimiter.len() - 1);
    let mut candidates = memchr::memchr_iter(b'\r', &bytes[from..]).map(|at| from + at);
    candidates.find(|at| delimiter.starts_with(&bytes[*at..])).map_or(0, |at| bytes.len() - at)
}

#[cfg(test)]
mod tests;
