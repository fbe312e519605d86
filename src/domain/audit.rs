//! The audit log: who did what to which resource, when and from where. Written in the transaction of the change.

mod action;
mod export;
mod read;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryResult;
use diesel::prelude::{Insertable, Queryable, Selectable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::actor::Actor;
use super::names::storable;
use super::{Context, Result};
use crate::schema::audit::events;

pub use action::Action;
pub use export::csv;
pub(super) use read::like_literal;
use read::matching;
pub use read::{list, newest, of_resource};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Refused,
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One row of `audit.events`, as shown on pages and in CSV.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = events)]
pub struct Event {
    pub sequence: i64,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_label: String,
    /// The text of an [`Action`]; other versions of Larder have other actions.
    pub action: String,
    /// `s3://bucket/key`, `user:EMAIL`, `session`.
    pub resource: String,
    pub outcome: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub detail: Value,
}

/// Filters of `/audit`, combined with AND.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the actor's label.
    pub actor: Option<String>,
    /// Exact action, or a noun (`object`).
    pub action: Option<String>,
    /// Prefix of the resource.
    pub resource: Option<String>,
    pub from: Option<NaiveDate>,
    /// Inclusive.
    pub to: Option<NaiveDate>,
    /// Continue before this sequence number.
    pub cursor: Option<i64>,
}

pub struct Page {
    pub events: Vec<Event>,
    pub next: Option<i64>,
}

/// The resource name of an object.
pub fn object(bucket: &str, key: &str) -> String {
    format!("s3://{bucket}/{key}")
}

#[derive(Insertable)]
#[diesel(table_name = events)]
struct NewEvent<'a> {
    id: Uuid,
    tenant_id: Uuid,
    actor_kind: &'a str,
    actor_id: Option<Uuid>,
    actor_label: &'a str,
    action: &'a str,
    resource: String,
    outcome: &'a str,
    address: Option<String>,
    request_id: Option<&'a str>,
    detail: Value,
}

/// Must be called within the transaction of the change.
pub(super) async fn record(
    conn: &mut AsyncPgConnection,
    actor: &Actor,
    action: Action,
    resource: &str,
    outcome: Outcome,
    detail: Value,
) -> QueryResult<()> {
    record_each(conn, actor, action, outcome, [(resource.to_owned(), detail)]).await
}

/// When this process last wrote an event of each user, kept until no cached page can predate the event.
static LAST_WRITTEN: LazyLock<Mutex<HashMap<Uuid, Instant>>> = LazyLock::new(Mutex::default);
const RECENT: Duration = Duration::from_secs(2);

/// When this process last wrote an event of this user, if within [`RECENT`]. The event may still be uncommitted.
pub fn last_written(actor: &Actor) -> Option<Instant> {
    let written = LAST_WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    written.get(&actor.id?).copied().filter(|at| at.elapsed() < RECENT)
}

fn mark_written(actor: &Actor) {
    let Some(id) = actor.id else { return };
    let mut written = LAST_WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    if written.len() >= 100 {
        written.retain(|_, at| at.elapsed() < RECENT);
    }
    written.insert(id, Instant::now());
}

/// Like [`record`], for one action on several resources.
pub(super) async fn record_each(
    conn: &mut AsyncPgConnection,
    actor: &Actor,
    action: Action,
    outcome: Outcome,
    resources: impl IntoIterator<Item = (String, Value)>,
) -> QueryResult<()> {
    mark_written(actor);
    let events = resources.into_iter().map(|(resource, detail)| NewEvent {
        id: Uuid::now_v7(),
        tenant_id: actor.tenant,
        actor_kind: actor.kind.as_str(),
        actor_id: actor.id,
        actor_label: &actor.label,
        action: action.as_str(),
        // A key with a NUL is rejected elsewhere, and the rejection is audited here.
        resource: storable(&resource),
        outcome: outcome.as_str(),
        address: actor.address.map(|address| address.to_string()),
        request_id: Some(actor.request_id.as_str()).filter(|id| !id.is_empty()),
        detail: without_nul(detail),
    });
    let events: Vec<NewEvent<'_>> = events.collect();
    diesel::insert_into(events::table).values(events).execute(conn).await?;
    Ok(())
}

/// Replaces NUL in texts, which `jsonb` cannot store.
fn without_nul(detail: Value) -> Value {
    match detail {
        Value::String(text) => Value::String(storable(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, without_nul(value))).collect()),
        other => other,
    }
}

/// Like [`record_standalone`], for a change that the store has already made. If Postgres is unreachable, it is
/// retried for ten minutes, so that the event is recorded late rather than never. Call within
/// [`Context::run_to_completion`].
pub(super) async fn record_with_retry(ctx: &Context, actor: &Actor, action: Action, resource: &str, detail: Value) -> Result<()> {
    let first = record_standalone(ctx, actor, action, resource, Outcome::Ok, detail.clone()).await;
    if first.is_err() {
        let (task_ctx, who, resource) = (ctx.clone(), actor.clone(), resource.to_owned());
        ctx.retry_in_background(format!("{action} {resource:?} by {}", actor.label), move || {
            let (task_ctx, who, resource, detail) = (task_ctx.clone(), who.clone(), resource.clone(), detail.clone());
            async move { record_standalone(&task_ctx, &who, action, &resource, Outcome::Ok, detail).await }
        });
    }
    first
}

/// Like [`record`], for an event without a database change.
pub(super) async fn record_standalone(
    ctx: &Context,
    actor: &Actor,
    action: Action,
    resource: &str,
    outcome: Outcome,
    detail: Value,
) -> Result<()> {
    ctx.db
        .run(async |conn| {
            record(conn, actor, action, resource, outcome, detail).await?;
            Ok(())
        })
        .await
}
