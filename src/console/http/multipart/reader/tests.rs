//! Forms cut anywhere, lying about their parts, or malformed.

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
        parts.push((header::ContentDisposition::from_raw(&head.disposition).unwrap().get_name().unwrap_or_default().to_owned(), content));
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
