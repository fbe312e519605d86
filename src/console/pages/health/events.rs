//! `/health/events`: what changes on the page, as server-sent events.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Card, Live, Own};
use crate::console::error::{Error, Result};
use crate::console::filters;
use crate::console::session::Viewer;
use crate::domain::Context;
use crate::meter::Meter;
use crate::ready::Ready;

/// The least time between two events.
const APART: Duration = Duration::from_secs(2);
/// After so long the browser asks again, and must still be signed in.
const LIFE: Duration = Duration::from_secs(60);
/// How soon it notices that this process is about to end.
const BREATH: Duration = Duration::from_secs(1);
/// Streams at once; whoever comes later sees the page, and reloads it.
static STREAMS: Semaphore = Semaphore::const_new(200);

#[derive(Template)]
#[template(path = "parts/health_live.html")]
struct LivePart {
    live: Live,
}

/// One event, as the protocol writes it: each line of the text behind `data:`.
fn event(text: &str) -> Bytes {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("data: {line}\n"));
    Bytes::from(lines.collect::<String>() + "\n")
}

pub async fn events(_viewer: Viewer, ctx: web::Data<Context>, meter: web::Data<Meter>, ready: web::Data<Ready>) -> Result<HttpResponse> {
    let Ok(place) = STREAMS.try_acquire() else {
        let why = "Too many people watch this page live. It can be reloaded.".to_owned();
        return Err(Error::TooMany { why, retry_after: LIFE });
    };
    let (ends, changes) = (Instant::now() + LIFE, ctx.health.changes());
    let state = (ctx, meter, ready, changes, place, true);
    let stream = stream::unfold(state, move |(ctx, meter, ready, mut changes, place, is_first)| async move {
        if is_first {
            let hello = Bytes::from_static(b"retry: 2000\n\n");
            return Some((Ok::<_, actix_web::Error>(hello), (ctx, meter, ready, changes, place, false)));
        }
        sleep(APART).await;
        loop {
            if Instant::now() >= ends || !ready.get() {
                return None;
            }
            match timeout_at(Instant::now() + BREATH, changes.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
        changes.mark_unchanged();
        let live = Live::of(&ctx.health, Own::of(&ctx, &meter, true), true);
        let text = LivePart { live }.render().unwrap_or_default();
        Some((Ok(event(&text)), (ctx, meter, ready, changes, place, false)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would keep events back until it has a buffer full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_every_line_behind_its_name() {
        assert_eq!(event("<p>\n\n  a\n</p>\n"), Bytes::from_static(b"data: <p>\ndata:   a\ndata: </p>\n\n"));
    }
}
