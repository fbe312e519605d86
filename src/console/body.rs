//! A request body that may not fall silent or crawl: actix sets no limit of its own.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

/// No byte for this long ends the request.
const IDLE: Duration = Duration::from_secs(30);
/// Less than [`FLOOR`] bytes within this window ends it too.
const WINDOW: Duration = Duration::from_secs(60);
const FLOOR: usize = 60_000;

/// The request with its body watched.
pub fn watched(mut req: ServiceRequest) -> ServiceRequest {
    // A GET has no body; watching it would only cost.
    if req.method().is_safe() {
        return req;
    }
    let inner = req.take_payload();
    let now = Instant::now();
    let watched = Watched { inner, idle: Box::pin(tokio::time::sleep(IDLE)), window_began: now, in_window: 0, ended: false };
    req.set_payload(Payload::Stream { payload: Box::pin(watched) });
    req
}

struct Watched {
    inner: Payload,
    idle: Pin<Box<Sleep>>,
    window_began: Instant,
    in_window: usize,
    ended: bool,
}

fn too_slow(why: &str) -> PayloadError {
    PayloadError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why.to_owned()))
}

impl Stream for Watched {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                let now = Instant::now();
                this.idle.as_mut().reset(now + IDLE);
                this.in_window += chunk.len();
                if now - this.window_began >= WINDOW {
                    if this.in_window < FLOOR {
                        this.ended = true;
                        return Poll::Ready(Some(Err(too_slow("less than 1 kB a second for a minute"))));
                    }
                    this.window_began = now;
                    this.in_window = 0;
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(other) => {
                this.ended = true;
                Poll::Ready(other)
            }
            Poll::Pending => match this.idle.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    this.ended = true;
                    Poll::Ready(Some(Err(too_slow("nothing for 30 seconds"))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
