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
/// Less than [`MIN_BYTES`] bytes within so much waiting ends it too.
const WINDOW: Duration = Duration::from_secs(60);
const MIN_BYTES: usize = 60_000;

/// The request with its body watched.
pub fn with_timeouts(mut req: ServiceRequest) -> ServiceRequest {
    // A GET has no body; watching it would only cost.
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
    /// Since when the sender keeps us waiting. Time in which nobody asked for more is not the sender's.
    waiting_since: Option<Instant>,
    /// Waited for the sender within this window, and what came.
    waited: Duration,
    in_window: usize,
    ended: bool,
}

fn too_slow(why: &str) -> PayloadError {
    PayloadError::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why.to_owned()))
}

impl TimedBody {
    /// Whether the sender has crawled for a whole window.
    fn is_too_slow(&mut self, came: usize) -> bool {
        self.waited += self.waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
        self.in_window += came;
        if self.waited < WINDOW {
            return false;
        }
        let crawls = self.in_window < MIN_BYTES;
        (self.waited, self.in_window) = (Duration::ZERO, 0);
        crawls
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
                "less than 1 kB a second for a minute"
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
                "nothing for 30 seconds"
            }
        };
        this.ended = true;
        Poll::Ready(Some(Err(too_slow(failed))))
    }
}
