//! Gzip compression of pages.
//!
//! A page contains private data next to text that an attacker may control. An attacker who can trigger requests with
//! guesses in the URL and observe the response length could recover that data (BREACH). Therefore only pages are
//! compressed that, according to the browser, were requested by Larder itself or directly by the user.

use std::io::Write;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::header::{ACCEPT_ENCODING, AcceptEncoding, CONTENT_ENCODING, CONTENT_TYPE, Encoding, Header, HeaderValue, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter pages fit into two packets anyway.
const MIN_LENGTH: usize = 2048;
/// Takes 1.5 times as long as the fastest level, with output a third smaller.
const LEVEL: Compression = Compression::new(5);

/// Compresses the response where that is safe and accepted.
pub(super) fn compress(req: &HttpRequest, answer: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
    if !is_page(&answer) || !is_same_origin(req) || !accepts_gzip(req) {
        return answer;
    }
    let (mut answer, body) = answer.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) => body,
        Err(stream) => return answer.set_body(stream),
    };
    match gzip(&body) {
        Some(compressed) => {
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding, sec-fetch-site"));
            answer.set_body(BoxBody::new(compressed))
        }
        None => answer.set_body(BoxBody::new(body)),
    }
}

fn is_page(answer: &HttpResponse<BoxBody>) -> bool {
    let headers = answer.headers();
    let is_html = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    answer.status() == StatusCode::OK && is_html && !headers.contains_key(CONTENT_ENCODING)
}

fn is_same_origin(req: &HttpRequest) -> bool {
    let site = req.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    req.method() == Method::GET && matches!(site, Some(b"same-origin" | b"none"))
}

fn accepts_gzip(req: &HttpRequest) -> bool {
    let known = [Encoding::gzip(), Encoding::identity()];
    let chosen = AcceptEncoding::parse(req).ok().filter(|_| req.headers().contains_key(ACCEPT_ENCODING));
    chosen.and_then(|accepted| accepted.negotiate(known.iter())).is_some_and(|chosen| chosen == Encoding::gzip())
}

fn gzip(body: &[u8]) -> Option<Bytes> {
    if body.len() < MIN_LENGTH {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), LEVEL);
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn encoding(req: TestRequest, answer: HttpResponse) -> Option<String> {
        let answer = compress(&req.to_http_request(), answer);
        answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
    }

    fn page(length: usize) -> HttpResponse {
        HttpResponse::Ok().content_type("text/html; charset=utf-8").body("x".repeat(length))
    }

    fn request(site: &'static str, encodings: &'static str) -> TestRequest {
        TestRequest::get().insert_header(("sec-fetch-site", site)).insert_header((ACCEPT_ENCODING, encodings))
    }

    #[test]
    fn only_pages_requested_by_the_user_are_compressed() {
        for site in ["same-origin", "none"] {
            assert_eq!(encoding(request(site, "gzip, deflate, br, zstd"), page(9000)).as_deref(), Some("gzip"), "{site}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(encoding(request(site, "gzip"), page(9000)), None, "{site}");
        }
        assert_eq!(encoding(TestRequest::get().insert_header((ACCEPT_ENCODING, "gzip")), page(9000)), None, "without Sec-Fetch-Site");
        for encodings in ["", "identity", "br", "gzip;q=0"] {
            assert_eq!(encoding(request("none", encodings), page(9000)), None, "{encodings}");
        }
    }

    #[test]
    fn only_pages_are_compressed() {
        assert_eq!(encoding(request("none", "gzip"), page(100)), None, "compressed");
        let others = [
            HttpResponse::Ok().content_type("text/plain").body("x".repeat(9000)),
            HttpResponse::NotFound().content_type("text/html").body("x".repeat(9000)),
        ];
        for other in others {
            assert_eq!(encoding(request("none", "gzip"), other), None);
        }
        assert_eq!(encoding(request("none", "gzip").method(Method::POST), page(9000)), None, "the response to a form");
    }
}
