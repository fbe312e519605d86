//! Who did what to which resource, when, from where. Written in the transaction of the change itself.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::actor::Actor;
use super::{Context, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Refused,
    Failed,
}

/// One row of `audit.events`, as pages and CSV show it.
#[derive(Clone, Debug)]
pub struct Event {
    pub sequence: i64,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_label: String,
    /// `noun.verb`, as `object.upload`.
    pub action: String,
    /// `s3://bucket/key`, `user:EMAIL`, `session`.
    pub resource: String,
    pub outcome: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub detail: serde_json::Value,
}

/// Filters of `/audit`; all that are set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the actor's label.
    pub actor: Option<String>,
    /// Exact action, or a noun (`object`).
    pub action: Option<String>,
    /// Beginning of the resource.
    pub resource: Option<String>,
    pub from: Option<NaiveDate>,
    /// Inclusive.
    pub to: Option<NaiveDate>,
    /// The sequence number before which to go on.
    pub cursor: Option<i64>,
}

pub struct Page {
    pub events: Vec<Event>,
    pub next: Option<i64>,
}

/// The actions that exist, for the filter.
pub const ACTIONS: [&str; 18] = [
    "bucket.create",
    "bucket.delete",
    "folder.create",
    "object.delete",
    "object.download",
    "object.share",
    "object.upload",
    "session.begin",
    "session.end",
    "session.refuse",
    "setup.complete",
    "upload.fail",
    "user.create",
    "user.disable",
    "user.enable",
    "user.password",
    "user.role",
    "audit.export",
];

/// Newest first, `limit` a page.
pub async fn list(ctx: &Context, actor: &Actor, filter: &Filter, limit: i64) -> Result<Page> {
    todo!()
}

/// Newest first, of one resource exactly.
pub async fn of_resource(ctx: &Context, actor: &Actor, resource: &str, limit: i64) -> Result<Vec<Event>> {
    todo!()
}

/// All matching events as CSV (RFC 4180), newest first; cells that a spreadsheet could take for a formula
/// begin with an apostrophe. At most 100,000 rows. The export itself is audited.
pub async fn csv(ctx: &Context, actor: &Actor, filter: &Filter) -> Result<String> {
    todo!()
}
