//! A store that differs from the real one in some responses, and a client for requests that Larder itself never sends.

use std::io::{Read, Write};
use std::net::TcpStream;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use larder::config::S3Config;

use super::{HttpStub, ReceivedRequest, Reply};

/// Forwards requests to the real store on demand.
pub type Forward<'a> = &'a dyn Fn() -> Vec<u8>;

/// A server in front of `endpoint`: `answer` returns a response of its own, or the real one, changed or not.
pub fn s3_front(endpoint: &str, answer: impl Fn(&ReceivedRequest, Forward<'_>) -> Reply + Send + Sync + 'static) -> HttpStub {
    let server = endpoint.trim_start_matches("http://").to_owned();
    HttpStub::new(move |request| answer(request, &|| forward(&server, request).unwrap()))
}

fn forward(server: &str, request: &ReceivedRequest) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", request.method, request.path);
    for (name, value) in request.headers.iter().filter(|(name, _)| name != "connection" && name != "expect") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(&[head.as_bytes(), b"\r\n", &request.body].concat())?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(response)
}

/// An error response of a store, which has no body if the request is a HEAD.
pub fn s3_error(request: &ReceivedRequest, status: u16, headers: &str, code: &str, message: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Reply::page(status, &format!("content-type: application/xml\r\n{headers}"), if request.method == "HEAD" { "" } else { &body })
}

/// A client with the credentials of this configuration.
pub fn s3_client(config: &S3Config) -> aws_sdk_s3::Client {
    let credentials = Credentials::new(&config.access_key_id, config.secret_access_key.reveal(), None, None, "test");
    let builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .endpoint_url(config.endpoint.as_deref().unwrap())
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
