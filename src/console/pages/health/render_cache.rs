//! Cache of the live parts of the health pages, which are the same for all viewers and rendered once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use askama::Template;

use super::{Card, Live};
use crate::console::http::error::Result;
use crate::console::view::filters;
use crate::console::view::fragment::Fragment;
use crate::domain::Context;
use crate::domain::health::Service;
use crate::domain::redis_metrics::Range;

/// Maximum age of the process statistics and of the detection of stale checks. Results of checks are shown immediately.
const MAX_AGE: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "pages/health_live.html")]
pub struct LiveFragment {
    pub live: Live,
}

/// The page and its variant. There are few, so all are cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViewKey {
    All { signed_in: bool },
    One { service: Service, range: Range, may_call_models: bool },
}

struct Entry {
    at: Instant,
    /// The change counter of the board.
    changes: u64,
    fragment: Fragment,
}

/// The latest rendering of each view.
#[derive(Default)]
pub struct RenderCache(Mutex<HashMap<ViewKey, Entry>>);

impl RenderCache {
    pub fn get(&self, ctx: &Context, key: ViewKey, make: impl FnOnce() -> Result<Fragment>) -> Result<Fragment> {
        // Held while rendering: concurrent requests would only do the same work.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = *ctx.health.changes().borrow();
        if let Some(last) = all.get(&key).filter(|last| last.changes == changes && last.at.elapsed() < MAX_AGE) {
            return Ok(last.fragment.clone());
        }
        let fragment = make()?;
        all.insert(key, Entry { at: Instant::now(), changes, fragment: fragment.clone() });
        Ok(fragment)
    }
}
