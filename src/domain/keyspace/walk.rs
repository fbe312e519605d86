//! A walk over all keys in the background, in small steps that leave the server time for others: counts what a pattern
//! matches, deletes it, or finds the biggest. One at a time, over all replicas; seen from all of them, and stopped.

mod biggest;
mod steps;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::change::resource;
use super::search::as_typed;
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::{Context, Error, Result, audit};

pub use biggest::Big;

/// Held by the walk that runs, as its id; whoever dies holds it no longer than this.
const LOCK: &str = "larder:lock:walk";
const HELD: Duration = Duration::from_secs(20);
const KEPT: Duration = Duration::from_secs(86_400);
/// A walk that has not shown itself for so long is over.
const SILENT: TimeDelta = TimeDelta::seconds(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// What a deletion would take.
    Count,
    Delete,
    Biggest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Running,
    Done,
    Stopped,
    /// With a sentence.
    Failed(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Walk {
    pub id: Uuid,
    pub kind: Kind,
    /// Empty for every key.
    pub pattern: Vec<u8>,
    pub state: State,
    /// Keys in the database when it began.
    pub total: u64,
    pub looked_at: u64,
    /// Counted, or deleted. The server may name a key twice while it grows or shrinks.
    pub matched: u64,
    pub began_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub by: String,
    /// Of each type, the biggest first.
    pub biggest: Vec<Big>,
}

impl Walk {
    pub fn pattern_text(&self) -> String {
        as_typed(&self.pattern)
    }

    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }
}

fn key(id: Uuid) -> String {
    format!("larder:walk:{id}")
}

fn stop_key(id: Uuid) -> String {
    format!("larder:walk-stop:{id}")
}

/// Conflict while another walks; Refused without a pattern for a deletion.
pub async fn begin(ctx: &Context, actor: &Actor, kind: Kind, pattern: Vec<u8>) -> Result<Uuid> {
    if kind != Kind::Biggest && pattern.is_empty() {
        return Err(Error::refused("match", "Write a pattern. A single * stands for every key."));
    }
    let total = ctx.redis.browse().count_keys().await?;
    let id = Uuid::now_v7();
    if !ctx.redis.required().set_if_absent(LOCK, &id.to_string(), HELD).await? {
        return Err(Error::Conflict("Another walk over the keys is under way. Wait for its end, or stop it.".into()));
    }
    let now = clock::now();
    let walk = Walk {
        id,
        kind,
        pattern,
        state: State::Running,
        total,
        looked_at: 0,
        matched: 0,
        began_at: now,
        seen_at: now,
        by: actor.label.clone(),
        biggest: Vec::new(),
    };
    if kind == Kind::Delete
        && let Err(error) = record(ctx, actor, &walk, "begun").await
    {
        let _ = ctx.redis.required().release(LOCK, &id.to_string()).await;
        return Err(error);
    }
    ctx.redis.required().set_json(&key(id), &walk, Some(KEPT)).await?;
    let (all, actor) = (ctx.clone(), actor.clone());
    ctx.in_background(async move { steps::run(&all, &actor, walk).await });
    Ok(id)
}

/// NotFound a day after its end.
pub async fn show(ctx: &Context, id: Uuid) -> Result<Walk> {
    let found: Option<Walk> = ctx.redis.required().get_json(&key(id)).await?;
    let mut walk = found.ok_or_else(|| Error::NotFound("What is known of this walk is gone: it is kept for a day.".into()))?;
    if walk.is_running() && clock::now() - walk.seen_at > SILENT {
        walk.state = State::Failed("The Larder that did it has ended. What it had done stands above; begin again for the rest.".into());
    }
    Ok(walk)
}

/// The walk that runs, if one does.
pub async fn running(ctx: &Context) -> Result<Option<Uuid>> {
    Ok(ctx.redis.required().get(LOCK).await?.and_then(|id| id.parse().ok()))
}

/// A count is good for one deletion.
pub async fn use_up(ctx: &Context, id: Uuid) -> Result<()> {
    ctx.redis.required().delete(&key(id)).await?;
    Ok(())
}

/// At its next step.
pub async fn stop(ctx: &Context, id: Uuid) -> Result<()> {
    Ok(ctx.redis.required().set(&stop_key(id), "1", Some(KEPT)).await?)
}

/// A deletion has two lines in the audit, so that one that was cut off has the first.
async fn record(ctx: &Context, actor: &Actor, walk: &Walk, state: &str) -> Result<()> {
    let detail = json!({ "state": state, "deleted": walk.matched });
    audit::record_with_retry(ctx, actor, "key.delete_matching", &resource(walk.pattern_text()), detail).await
}
