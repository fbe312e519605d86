//! Request bodies that are held in memory whole: a limit for each, and a budget for all of them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{self, Bytes, BytesMut};
use futures_util::StreamExt;

use crate::console::http::error::{Error, Result};
use crate::console::http::multipart::drain_payload;
use crate::console::http::request;
use crate::domain::{Context, limits};

/// Bytes of a form. Before a session is known no more is ever buffered.
pub const SMALL: usize = 16 << 10;
/// Bytes of a form that names many objects: a thousand keys of 1,024 bytes in base64url, with their ETags, fit.
pub const BULK: usize = 4 << 20;

/// Bytes of all buffered bodies that are small, and of all others, each with what one address may hold. Large ones cannot
/// keep small ones, such as sign-ins, from being read.
const SMALL_BUDGET: (usize, usize) = (16 << 20, 2 << 20);
const BULK_BUDGET: (usize, usize) = (32 << 20, 8 << 20);
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// What the buffered bodies of this process hold. A process has one memory, and so one budget of each kind.
static SMALL_BODIES: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(SMALL_BUDGET)));
static BULK_BODIES: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(BULK_BUDGET)));

struct Budget {
    total: usize,
    per_address: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: usize,
    by_address: HashMap<String, usize>,
}

/// Bytes of the budget, until this is dropped.
struct Reserved {
    budget: Arc<Budget>,
    address: String,
    bytes: usize,
}

impl Budget {
    fn new((total, per_address): (usize, usize)) -> Self {
        Self { total, per_address, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    fn add(&mut self, bytes: usize) -> Result<()> {
        let mut held = self.budget.held();
        let own = held.by_address.get(&self.address).copied().unwrap_or(0);
        if held.total + bytes > self.budget.total || own + bytes > self.budget.per_address {
            let why = "Larder is receiving too many forms at the same time. Try again in a few seconds.".to_owned();
            return Err(Error::Busy { why, retry_after: RETRY_AFTER });
        }
        held.total += bytes;
        held.by_address.insert(self.address.clone(), own + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        held.total -= self.bytes;
        if let Some(own) = held.by_address.get_mut(&self.address) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

/// A whole body. It counts for the budget until it is dropped.
pub struct Body {
    pub bytes: Bytes,
    _reserved: Reserved,
}

/// A body that has not been read yet, and who sends it.
pub struct Unread {
    payload: web::Payload,
    /// One holder's addresses.
    address: String,
    /// As the sender claims.
    length: Option<u64>,
}

impl Unread {
    pub fn new(req: &HttpRequest, payload: web::Payload) -> Self {
        let trusted = req.app_data::<web::Data<Context>>().map(|ctx| ctx.config.trusted_proxies.clone()).unwrap_or_default();
        let length = req.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { payload, address: limits::holder(request::client_address(req, &trusted)), length }
    }

    /// The whole body. TooLarge over `limit` bytes, before the rest of it is buffered; Busy while others hold the budget.
    pub async fn read(mut self, limit: usize) -> Result<Body> {
        let outcome = self.buffer(limit).await;
        if outcome.is_err() {
            // So that the sender receives the answer and not a reset connection.
            drain_payload(&mut self.payload).await;
        }
        outcome
    }

    async fn buffer(&mut self, limit: usize) -> Result<Body> {
        let too_large = || Error::TooLarge(format!("This form is larger than {}. Select fewer items.", size_text(limit)));
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let budget = if limit <= SMALL { &SMALL_BODIES } else { &BULK_BODIES };
        let mut reserved = Reserved { budget: Arc::clone(budget), address: self.address.clone(), bytes: 0 };
        let mut body = BytesMut::new();
        while let Some(chunk) = self.payload.next().await {
            let chunk = chunk.map_err(|_| Error::BadRequest("The form was incomplete. Send it again.".to_owned()))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            reserved.add(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(Body { bytes: body.freeze(), _reserved: reserved })
    }
}

fn size_text(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_hold_the_budget_and_all_of_it_is_released() {
        let budget = Arc::new(Budget::new((30, 10)));
        let holder = |name: &str| Reserved { budget: Arc::clone(&budget), address: name.to_owned(), bytes: 0 };
        let mut one = holder("one");
        one.add(10).unwrap();
        assert!(holder("one").add(1).is_err());
        let (mut two, mut three) = (holder("two"), holder("three"));
        two.add(10).unwrap();
        three.add(10).unwrap();
        assert!(holder("four").add(1).is_err(), "the process holds as much as it may");
        drop((one, two, three));
        assert!(budget.held().total == 0 && budget.held().by_address.is_empty());
    }
}
