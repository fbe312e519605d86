//! Keeps a slot until the response is sent: readers that take no bytes keep a large body in memory.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

/// Longer bodies are held. Shorter ones fit into the write buffer of the connection.
const LARGE: u64 = 64 << 10;

/// An extension of a response: what is dropped once the body is sent, or with the handler if the body is short.
pub struct UntilSent(pub Box<dyn Any>);

struct HeldBody {
    body: BoxBody,
    _held: UntilSent,
}

impl MessageBody for HeldBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

pub fn hold(response: HttpResponse<BoxBody>, held: UntilSent) -> HttpResponse<BoxBody> {
    response.map_body(|_, body| match body.size() {
        BodySize::Sized(length) if length > LARGE => BoxBody::new(HeldBody { body, _held: held }),
        _ => body,
    })
}
