//! Limits of work that costs much more than its request.

use std::time::Duration;

use super::local_counts::USER;
use super::{Policy, take};
use crate::domain::actor::Actor;
use crate::domain::slots::Slot;
use crate::domain::{Context, Error, Result};

/// Searches, counts and samples that run at once in the process, and of one person.
pub const MAX_SCANS: usize = 12;
const MAX_SCANS_EACH: usize = 3;
/// How often one person may start one. Each may cost Redis or the store a quarter of a second.
const SCANS: Policy = Policy { name: "scans", limit: 60, window: Duration::from_secs(60) };

/// Admits work that costs much more than its request. Hold the slot until it is done. Busy if too many scans run,
/// `TooMany` if the person has started too many within a minute.
pub async fn admit_scan(ctx: &Context, actor: &Actor) -> Result<Slot> {
    let slot = ctx.scans.take_for(actor, MAX_SCANS_EACH)?;
    let person = actor.id.map_or_else(|| "system".to_owned(), |id| id.to_string());
    let standing = take(ctx, &SCANS, &format!("{USER}{person}")).await;
    if !standing.allowed {
        let why = format!("You have started more than {} searches or counts within a minute.", SCANS.limit);
        return Err(Error::TooMany { why, retry_after: standing.next });
    }
    Ok(slot)
}
