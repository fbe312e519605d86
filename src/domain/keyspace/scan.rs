//! A background scan of all keys, in small steps that leave the server capacity for others: counts or deletes the
//! matches of a pattern, or finds the largest keys. One scan at a time across all replicas; any replica can show or
//! stop it.

mod biggest;
mod steps;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::change::resource;
use super::name::Name;
use super::pattern::{as_typed, literal_keys};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::{Context, Error, Result, signing};

pub use biggest::LargeKey;

/// Held by the running scan, with its ID as token; expires if the process crashes.
const LOCK: &str = "larder:lock:scan";
const LOCK_TTL: Duration = Duration::from_secs(20);
const RESULT_TTL: Duration = Duration::from_secs(86_400);
/// Matches that the confirmation of a deletion names.
const MAX_EXAMPLES: usize = 20;
/// A scan without an update for this long has ended.
const EXPIRED_AFTER: TimeDelta = TimeDelta::seconds(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanKind {
    /// The keys that a deletion would delete.
    Count,
    Delete,
    Biggest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanState {
    Running,
    Done,
    Stopped,
    /// With the reason, as a sentence.
    Failed(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    pub id: Uuid,
    pub kind: ScanKind,
    /// Empty for all keys.
    pub pattern: Vec<u8>,
    pub state: ScanState,
    /// Keys in the database when the scan started.
    pub total: u64,
    #[serde(rename = "looked_at")]
    pub examined: u64,
    /// Keys counted or deleted. SCAN may return a key twice while the keyspace is resized.
    pub matched: u64,
    pub began_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub by: String,
    /// For each type, largest first.
    pub biggest: Vec<LargeKey>,
    /// Of a count: existing keys whose names are the pattern itself.
    #[serde(default)]
    pub literal: Vec<LiteralKey>,
    /// Of a count: the first matches.
    #[serde(default)]
    pub examples: Vec<Vec<u8>>,
}

/// A key whose name is the pattern, with its wildcards as ordinary characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiteralKey {
    pub name: Vec<u8>,
    /// Whether the pattern matches it, as far as keys have been scanned.
    pub is_matched: bool,
}

impl Scan {
    pub fn pattern_text(&self) -> String {
        as_typed(&self.pattern)
    }

    pub fn is_running(&self) -> bool {
        self.state == ScanState::Running
    }

    fn add_matches(&mut self, names: Vec<Vec<u8>>) {
        self.matched += names.len() as u64;
        for name in names {
            if let Some(literal) = self.literal.iter_mut().find(|literal| literal.name == name) {
                literal.is_matched = true;
            }
            if self.examples.len() < MAX_EXAMPLES && !self.examples.contains(&name) && Name::parse(name.clone()).is_ok() {
                self.examples.push(name);
            }
        }
    }
}

fn key(id: Uuid) -> String {
    format!("larder:scan:{id}")
}

fn stop_key(id: Uuid) -> String {
    format!("larder:scan-stop:{id}")
}

/// Conflict if another scan is running; Refused for counting or deleting without a pattern.
pub async fn start(ctx: &Context, actor: &Actor, kind: ScanKind, pattern: Vec<u8>) -> Result<Uuid> {
    if kind != ScanKind::Biggest && pattern.is_empty() {
        return Err(Error::refused("match", "Enter a pattern. A single * matches all keys."));
    }
    let browse = ctx.redis.browse();
    let total = browse.count_keys().await?;
    let literal = if kind == ScanKind::Count { literal_keys(ctx, &browse, &pattern).await? } else { Vec::new() };
    let id = Uuid::now_v7();
    if !ctx.redis.required().set_if_absent(LOCK, &id.to_string(), LOCK_TTL).await? {
        return Err(Error::Conflict("Another key scan is running. Wait until it ends, or stop it.".into()));
    }
    let now = clock::now();
    let scan = Scan {
        id,
        kind,
        pattern,
        state: ScanState::Running,
        total,
        examined: 0,
        matched: 0,
        began_at: now,
        seen_at: now,
        by: actor.label.clone(),
        biggest: Vec::new(),
        literal: literal.into_iter().map(|name| LiteralKey { name: name.as_bytes().to_vec(), is_matched: false }).collect(),
        examples: Vec::new(),
    };
    if kind == ScanKind::Delete
        && let Err(error) = record(ctx, actor, &scan, "started").await
    {
        let _ = ctx.redis.required().release(LOCK, &id.to_string()).await;
        return Err(error);
    }
    signing::set_json(ctx, &ctx.redis.required(), &key(id), &scan, RESULT_TTL).await?;
    let (task_ctx, actor) = (ctx.clone(), actor.clone());
    ctx.in_background(async move { steps::run(&task_ctx, &actor, scan).await });
    Ok(id)
}

/// NotFound a day after the scan ended.
pub async fn show(ctx: &Context, id: Uuid) -> Result<Scan> {
    let found: Option<Scan> = signing::get_json(ctx, &ctx.redis.required(), &key(id)).await?;
    let mut scan = found.ok_or_else(|| Error::NotFound("Key scan not found. Scans are kept for one day.".into()))?;
    if scan.is_running() && clock::now() - scan.seen_at > EXPIRED_AFTER {
        scan.state = ScanState::Failed(
            "The Larder process that ran this scan has ended. The results so far are shown above; start it again for the rest.".into(),
        );
    }
    Ok(scan)
}

/// The ID of the running scan, if any.
pub async fn running(ctx: &Context) -> Result<Option<Uuid>> {
    Ok(ctx.redis.required().get(LOCK).await?.and_then(|id| id.parse().ok()))
}

/// A count permits one deletion.
pub async fn discard(ctx: &Context, id: Uuid) -> Result<()> {
    ctx.redis.required().delete(&key(id)).await?;
    Ok(())
}

/// Takes effect at the next step.
pub async fn stop(ctx: &Context, id: Uuid) -> Result<()> {
    Ok(ctx.redis.required().set(&stop_key(id), "1", Some(RESULT_TTL)).await?)
}

/// A deletion has two audit events, so that an interrupted one has at least the first.
async fn record(ctx: &Context, actor: &Actor, scan: &Scan, state: &str) -> Result<()> {
    let detail = json!({ "state": state, "deleted": scan.matched });
    audit::record_with_retry(ctx, actor, Action::KeyDeleteMatching, &resource(scan.pattern_text()), detail).await
}
