//! A streaming reader of `multipart/form-data` (RFC 7578, RFC 2046 section 5.1).
//!
//! Only the boundary ends a part: a `Content-Length` among its headers is ignored, as the RFC demands, because a wrong
//! one would store a file shorter or longer than what was sent. actix-multipart and the parsers behind it trust that
//! header, or require a body that is `Send`.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, ContentDisposition, HeaderMap, HeaderValue};
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

impl PartHead {
    pub fn content_disposition(&self) -> Option<ContentDisposition> {
        ContentDisposition::from_raw(&self.disposition).ok()
    }
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
mod tests {
    use actix_web::http::header;
    use futures_util::stream;

    use super::*;

    type Part = (String, Vec<u8>);

    /// Reads a body that arrives in pieces of `size` bytes.
    async fn read(body: &[u8], size: usize) -> Result<Vec<Part>, ReadError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=\"B-1\""));
        let chunks: Vec<Result<Bytes, PayloadError>> = body.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut form = FormReader::new(&headers, Payload::Stream { payload: Box::pin(stream::iter(chunks)) });
        let mut parts = Vec::new();
        while let Some(head) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(chunk) = form.next_chunk().await? {
                assert!(!chunk.is_empty());
                content.extend_from_slice(&chunk);
            }
            parts.push((head.content_disposition().unwrap().get_name().unwrap_or_default().to_owned(), content));
        }
        assert!(form.next_part().await.unwrap().is_none() && form.next_chunk().await.unwrap().is_none());
        Ok(parts)
    }

    fn part(name: &str, more: &str, content: &[u8]) -> Vec<u8> {
        [format!("--B-1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{more}\r\n").as_bytes(), content, b"\r\n"].concat()
    }

    #[tokio::test]
    async fn parts_are_read_unchanged_for_any_chunk_size() {
        let contents: [&[u8]; 10] = [
            b"",
            b"plain",
            b"\r\n",
            b"\r",
            b"\r\n--B-",
            b"--B-1",
            b"\r\n--B-1x\r\n--B-1 x\r\n-",
            b"\r\n--B-1-\r\n--B-2--",
            b"\r\r\n\r\n--\r\n--B-1\rB",
            b"\0\xff\r\n\r\nContent-Length: 3\r\n\r\n",
        ];
        let mut body = b"preamble\r\n".to_vec();
        contents.iter().enumerate().for_each(|(at, content)| body.extend(part(&at.to_string(), "", content)));
        body.extend(b"--B-1--\r\nepilogue");
        for size in (1..60).chain([100, 1_000, 100_000]) {
            let parts = read(&body, size).await.unwrap();
            assert_eq!(parts.len(), contents.len());
            for (at, (name, content)) in parts.iter().enumerate() {
                assert_eq!((name.as_str(), content.as_slice()), (at.to_string().as_str(), contents[at]), "pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn a_content_length_of_a_part_is_ignored() {
        for claimed in ["0", "100", "117", "118", "99999999999999999999", "-1", "x"] {
            let content = [b'c'; 117];
            let body = [part("a", &format!("Content-Length: {claimed}\r\n"), &content), part("b", "", b"2"), b"--B-1--".to_vec()].concat();
            assert_eq!(read(&body, 50).await.unwrap(), [("a".to_owned(), content.to_vec()), ("b".to_owned(), b"2".to_vec())]);
        }
    }

    #[tokio::test]
    async fn a_truncated_or_malformed_form_is_an_error() {
        let whole = [part("a", "", b"content"), b"--B-1--".to_vec()].concat();
        for end in 0..whole.len() {
            assert!(matches!(read(&whole[..end], 7).await, Err(ReadError::Incomplete)), "{end}");
        }
        assert_eq!(read(b"--B-1--", 3).await.unwrap(), []);
        assert_eq!(read(b"--B-1 \t \r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B-1 \r\n", 3).await.map_err(|_| ()), Err(()));
        let long = part("a", &format!("X: {}\r\n", "x".repeat(MAX_HEADERS)), b"");
        let many = part("a", &"X: y\r\n".repeat(MAX_HEADER_COUNT), b"");
        let preamble = [vec![b'x'; MAX_PREAMBLE + 100], b"\r\n".to_vec(), whole.clone()].concat();
        for malformed in [
            b"--B-1\r\n\r\nx\r\n--B-1--".to_vec(),
            b"--B-1\r\nContent-Type: a/b\r\n\r\nx\r\n--B-1--".to_vec(),
            b"--B-1\r\nContent-Disposition: attachment\r\n\r\nx\r\n--B-1--".to_vec(),
            b"--B-1\r\nno colon\r\n\r\nx\r\n--B-1--".to_vec(),
            long,
            many,
            preamble,
        ] {
            assert!(matches!(read(&malformed, 4_000).await, Err(ReadError::Malformed(_))), "{}", String::from_utf8_lossy(&malformed[..40]));
        }
    }

    #[tokio::test]
    async fn only_multipart_form_data_with_a_boundary_is_a_form() {
        for kind in ["text/plain", "multipart/mixed; boundary=B", "multipart/form-data", "multipart/form-data; boundary=", "x"] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            let mut form = FormReader::new(&headers, Payload::None);
            assert!(matches!(form.next_part().await, Err(ReadError::NotAForm)), "{kind}");
        }
    }
}
