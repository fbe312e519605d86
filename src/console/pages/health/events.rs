//! `/health/events`: live updates of the health pages as server-sent events.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::RenderCache;
use crate::console::http::error::{Error, Result};
use crate::console::http::session::{SignedIn, Viewer};
use crate::console::view::fragment::Fragment;
use crate::domain::Context;
use crate::domain::slots::{Holder, Slot, Slots};
use crate::meter::Meter;
use crate::ready::Ready;

/// Minimum time between two events.
const MIN_INTERVAL: Duration = Duration::from_secs(2);
/// After this time the browser reconnects, which checks the session again.
const MAX_DURATION: Duration = Duration::from_secs(60);
/// How often a stream checks whether the process is shutting down.
const SHUTDOWN_POLL: Duration = Duration::from_secs(1);
/// After this time without an event, the stream sends a heartbeat, so that the page can detect a broken connection.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Limits of concurrent streams: of the process, of one address, of one person and of one session. Hidden tabs have no
/// stream.
const MAX_STREAMS: usize = 200;
const MAX_STREAMS_PER_ADDRESS: usize = 64;
const MAX_STREAMS_PER_PERSON: usize = 16;
const MAX_STREAMS_PER_SESSION: usize = 8;

/// The open streams of this process.
#[derive(Clone)]
pub struct StreamSlots(Slots);

impl Default for StreamSlots {
    fn default() -> Self {
        Self(Slots::new("live pages", MAX_STREAMS))
    }
}

impl StreamSlots {
    pub(super) fn acquire(&self, viewer: &SignedIn) -> Result<Slot> {
        let mut holders = vec![
            (Holder::Session(viewer.session.id), MAX_STREAMS_PER_SESSION),
            (Holder::Person(Some(viewer.session.user)), MAX_STREAMS_PER_PERSON),
        ];
        holders.extend(viewer.actor.address.map(|address| (Holder::Address(address), MAX_STREAMS_PER_ADDRESS)));
        self.0.take(&holders).map_err(|_| {
            let why = "Too many live views of this page are open. Reload the page to update it.".to_owned();
            Error::TooManyRequests { why, retry_after: MAX_DURATION }
        })
    }
}

/// Encodes an event: each line of the text follows `data:`. A lone carriage return also ends a line.
fn event(text: &str) -> Bytes {
    let lines = text.split(['\r', '\n']).filter(|line| !line.trim().is_empty()).map(|line| format!("data: {line}\n"));
    Bytes::from(lines.collect::<String>() + "\n")
}

/// Live updates of the page of all services.
pub async fn events(
    viewer: Viewer,
    ctx: web::Data<Context>,
    meter: web::Data<Meter>,
    ready: web::Data<Ready>,
    slots: web::Data<StreamSlots>,
    render_cache: web::Data<RenderCache>,
) -> Result<HttpResponse> {
    let slot = slots.acquire(&viewer)?;
    Ok(answer(slot, ctx.clone(), ready, async move || super::all(&ctx, &meter, &render_cache, true)))
}

/// Sends the output of `render` whenever the board has changed.
pub(super) fn answer(
    slot: Slot,
    ctx: web::Data<Context>,
    ready: web::Data<Ready>,
    render: impl AsyncFn() -> Result<Fragment> + 'static,
) -> HttpResponse {
    let (events, received) = mpsc::channel(1);
    // A separate task, so that a client that reads too slowly also loses its slot.
    actix_web::rt::spawn(async move {
        let (_slot, ends, mut changes) = (slot, Instant::now() + MAX_DURATION, ctx.health.changes());
        let send = async |event: Bytes| timeout_at(ends, events.send(event)).await.is_ok_and(|sent| sent.is_ok());
        if !send(Bytes::from_static(b"retry: 2000\n\n")).await {
            return;
        }
        let (mut last, mut sent_at) = (Bytes::new(), Instant::now());
        loop {
            sleep(MIN_INTERVAL).await;
            loop {
                if Instant::now() >= ends || !ready.get() || events.is_closed() {
                    return;
                }
                if sent_at.elapsed() >= HEARTBEAT {
                    if !send(Bytes::from_static(b"event: beat\ndata:\n\n")).await {
                        return;
                    }
                    sent_at = Instant::now();
                }
                match timeout_at(Instant::now() + SHUTDOWN_POLL, changes.changed()).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
            }
            changes.mark_unchanged();
            let next = event(&render().await.map(|fragment| fragment.to_string()).unwrap_or_default());
            if next != last {
                if !send(next.clone()).await {
                    return;
                }
                (last, sent_at) = (next, Instant::now());
            }
        }
    });
    let body = futures_util::stream::unfold(received, |mut received| async {
        received.recv().await.map(|event| (Ok::<_, actix_web::Error>(event), received))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would otherwise buffer the events.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_an_event_follows_its_field_name() {
        assert_eq!(event("<p>\n\n  a\rretry: 1\n</p>\n"), Bytes::from_static(b"data: <p>\ndata:   a\ndata: retry: 1\ndata: </p>\n\n"));
    }
}
