//! What changes on the page of health is the same for all who look, so it is put together once for all of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;

use super::{Card, Live, Own};
use crate::console::error::Result;
use crate::console::filters;
use crate::console::part::Part;
use crate::domain::Context;
use crate::meter::Meter;

/// The page's own figures may be so old, and a check that stands still may be told so late. What a check finds is shown
/// at once.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "parts/health_live.html")]
pub struct LivePart {
    pub live: Live,
}

struct Last {
    at: Instant,
    /// Of the board.
    changes: u64,
    part: Part,
}

/// The last ones, for those who are signed in and for all others.
#[derive(Default)]
pub struct Rendered([Mutex<Option<Last>>; 2]);

impl Rendered {
    pub fn get(&self, ctx: &Context, meter: &Meter, signed_in: bool) -> Result<Part> {
        // Held while it is rendered: who comes meanwhile would only do the same work.
        let mut last = self.0[usize::from(signed_in)].lock().unwrap_or_else(PoisonError::into_inner);
        let changes = *ctx.health.changes().borrow();
        if let Some(last) = last.as_ref().filter(|last| last.changes == changes && last.at.elapsed() < FRESH) {
            return Ok(last.part.clone());
        }
        let part = Part::of(&LivePart { live: Live::of(&ctx.health, Own::of(ctx, meter, signed_in), signed_in) })?;
        *last = Some(Last { at: Instant::now(), changes, part: part.clone() });
        Ok(part)
    }
}
