//! Timeouts for request bodies, because actix has none.

mod buffered;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

pub use buffered::{BULK, SMALL, Unread};

/// The longest time without any data before the request is aborted.
const IDLE: Duration = Duration::from_secs(30);
/// The request is also aborted if less than [`MIN_BYTES`] arrive within this time of waiting.
const WINDOW: Duration = Duration::from_secs(60);
const MIN_BYTES: usize = 60_000;

/// Adds the timeouts to the body of a request.
pub fn with_timeouts(mut req: ServiceRequest) -> ServiceRequest {
    // Safe methods have no body.
    if req.method().is_safe() {
        return req;
    }
    let inner = req.take_payload();
    let idle = Box::pin(tokio::time::sleep(IDLE));
    let watched = TimedBody { inner, idle, waiting_since: None, waited: Duration::ZERO, in_window: 0, ended: false };
    req.set_payload(Payload::Stream { payload: Box::pin(watched) });
    req
}

struct TimedBody {
    inner: Payload,
    idle: Pin<Box<Sleep>>,
    /// Since when this stream has been waiting for the client. Time in which the handler does not read is not counted.
    waiting_since: Option<Instant>,
    /// Time spent waiting for the client within this window, and bytes received.
    waited: Duration,
    in_window: usize,
    ended: bool,
}

fn too_slow(why: &str) -> PayloadError {
    PayloadError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why.to_owned()))
}

impl TimedBody {
    /// Whether the client was too slow for a whole window.
    fn is_too_slow(&mut self, received: usize) -> bool {
        self.waited += self.waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
        self.in_window += received;
        if self.waited < WINDOW {
            return false;
        }
        let too_slow = self.in_window < MIN_BYTES;
        (self.waited, self.in_window) = (Duration::ZERO, 0);
        too_slow
    }
}

impl Stream for TimedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let failed = match Pin::new(&mut this.inner).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                if !this.is_too_slow(chunk.len()) {
                    return Poll::Ready(Some(Ok(chunk)));
                }
                "less than 1 kB per second for one minute"
            }
            Poll::Ready(other) => {
                this.ended = true;
                return Poll::Ready(other);
            }
            Poll::Pending => {
                if this.waiting_since.is_none() {
                    let now = Instant::now();
                    this.waiting_since = Some(now);
                    this.idle.as_mut().reset(now + IDLE);
                }
                if this.idle.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                "no data for 30 seconds"
            }
        };
        this.ended = true;
        Poll::Ready(Some(Err(too_slow(failed))))
    }
}
