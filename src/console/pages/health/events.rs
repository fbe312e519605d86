//! `/health/events`: what changes on a page of health, as server-sent events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::Rendered;
use crate::console::error::{Error, Result};
use crate::console::part::Part;
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
/// After so long without an event the page is told that there is none: a way that is cut is as silent.
const BEAT: Duration = Duration::from_secs(10);
/// Streams at once, and of one session: tabs that nobody looks at have none.
const STREAMS: usize = 200;
const EACH: usize = 8;

/// The streams of this process, by session.
#[derive(Clone, Default)]
pub struct Feed(Arc<Mutex<HashMap<Uuid, usize>>>);

/// A stream's place, until it is dropped.
pub(super) struct Place {
    feed: Feed,
    session: Uuid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.feed.streams();
        if let Some(count) = streams.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.session);
            }
        }
    }
}

impl Feed {
    fn streams(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, session: Uuid) -> Result<Place> {
        let mut streams = self.streams();
        let (all, own) = (streams.values().sum::<usize>(), streams.entry(session).or_default());
        if all >= STREAMS || *own >= EACH {
            let why = "This page is watched live in too many places. It can be reloaded.".to_owned();
            return Err(Error::TooMany { why, retry_after: LIFE });
        }
        *own += 1;
        Ok(Place { feed: self.clone(), session })
    }
}

/// As the protocol writes it: each line of the text behind `data:`. A lone carriage return ends a line there, too.
fn event(text: &str) -> Bytes {
    let lines = text.split(['\r', '\n']).filter(|line| !line.trim().is_empty()).map(|line| format!("data: {line}\n"));
    Bytes::from(lines.collect::<String>() + "\n")
}

/// Of the page of all services.
pub async fn events(
    viewer: Viewer,
    ctx: web::Data<Context>,
    meter: web::Data<Meter>,
    ready: web::Data<Ready>,
    feed: web::Data<Feed>,
    rendered: web::Data<Rendered>,
) -> Result<HttpResponse> {
    let place = feed.enter(viewer.session.id)?;
    Ok(answer(place, ctx.clone(), ready, async move || super::all(&ctx, &meter, &rendered, true)))
}

/// What `look` sees whenever the board has changed.
pub(super) fn answer(
    place: Place,
    ctx: web::Data<Context>,
    ready: web::Data<Ready>,
    look: impl AsyncFn() -> Result<Part> + 'static,
) -> HttpResponse {
    let (events, received) = mpsc::channel(1);
    // A task of its own: whoever reads too slowly loses the place all the same.
    actix_web::rt::spawn(async move {
        let (_place, ends, mut changes) = (place, Instant::now() + LIFE, ctx.health.changes());
        let send = async |event: Bytes| timeout_at(ends, events.send(event)).await.is_ok_and(|sent| sent.is_ok());
        if !send(Bytes::from_static(b"retry: 2000\n\n")).await {
            return;
        }
        let (mut last, mut sent_at) = (Bytes::new(), Instant::now());
        loop {
            sleep(APART).await;
            loop {
                if Instant::now() >= ends || !ready.get() || events.is_closed() {
                    return;
                }
                if sent_at.elapsed() >= BEAT {
                    if !send(Bytes::from_static(b"event: beat\ndata:\n\n")).await {
                        return;
                    }
                    sent_at = Instant::now();
                }
                match timeout_at(Instant::now() + BREATH, changes.changed()).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return,
                    Err(_) => {}
                }
            }
            changes.mark_unchanged();
            let next = event(&look().await.map(|part| part.to_string()).unwrap_or_default());
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
        // nginx would keep events back until it has a buffer full.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_every_line_behind_its_name() {
        assert_eq!(event("<p>\n\n  a\rretry: 1\n</p>\n"), Bytes::from_static(b"data: <p>\ndata:   a\ndata: retry: 1\ndata: </p>\n\n"));
    }

    #[test]
    fn one_person_cannot_take_every_place() {
        let feed = Feed::default();
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        let places: Vec<_> = (0..EACH).map(|_| feed.enter(one).unwrap()).collect();
        assert!(feed.enter(one).is_err() && feed.enter(other).is_ok());
        drop(places);
        assert!(feed.enter(one).is_ok());
    }
}
