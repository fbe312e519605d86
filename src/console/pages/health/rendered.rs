//! What changes on a page of health is the same for all who look, so it is put together once for all of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;

use super::{Card, Live};
use crate::console::error::Result;
use crate::console::filters;
use crate::console::part::Part;
use crate::domain::Context;
use crate::domain::health::Service;
use crate::domain::vitals::Range;

/// The page's own figures may be so old, and a check that stands still may be told so late. What a check finds is shown
/// at once.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "parts/health_live.html")]
pub struct LivePart {
    pub live: Live,
}

/// Which page, and for whom: few, so all are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    All { signed_in: bool },
    One { service: Service, range: Range, may_call_models: bool },
}

struct Last {
    at: Instant,
    /// Of the board.
    changes: u64,
    part: Part,
}

/// The last ones.
#[derive(Default)]
pub struct Rendered(Mutex<HashMap<Of, Last>>);

impl Rendered {
    pub fn get(&self, ctx: &Context, of: Of, make: impl FnOnce() -> Result<Part>) -> Result<Part> {
        // Held while it is rendered: who comes meanwhile would only do the same work.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = *ctx.health.changes().borrow();
        if let Some(last) = all.get(&of).filter(|last| last.changes == changes && last.at.elapsed() < FRESH) {
            return Ok(last.part.clone());
        }
        let part = make()?;
        all.insert(of, Last { at: Instant::now(), changes, part: part.clone() });
        Ok(part)
    }
}
