//! Deletion: every object with the ETag that the person saw.

use std::time::Duration;

use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel_async::{AsyncConnection, RunQueryDsl};
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::unfinished;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Outcome};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::{Context, Error, Result};
use crate::schema::files;
use crate::stores::s3;

/// One object to delete, with the ETag that the person saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectToDelete {
    pub key: ObjectKey,
    pub etag: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DeleteOutcome {
    Deleted,
    /// It has changed since the person looked; nothing was done.
    Changed,
    /// It was gone already.
    Gone,
    Failed(String),
}

/// How many at once: enough to hide the round trips, few enough to leave the store for others.
const AT_ONCE: usize = 8;
const KEPT: Duration = Duration::from_secs(86_400);

/// Each object and what became of it, in the order given. Fails as a whole only where nothing was tried.
/// Runs to its end even where the person goes away.
pub async fn delete(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    targets: &[ObjectToDelete],
) -> Result<Vec<(ObjectToDelete, DeleteOutcome)>> {
    // Nothing is deleted that could not be audited.
    ctx.db.check_available().await?;
    let (all, actor, bucket, targets) = (ctx.clone(), actor.clone(), bucket.clone(), targets.to_vec());
    let ended = ctx
        .run_to_completion(async move {
            let one = |object: ObjectToDelete| {
                let (ctx, actor, bucket) = (&all, &actor, &bucket);
                async move {
                    let outcome = delete_one(ctx, actor, bucket, &object).await;
                    (object, outcome)
                }
            };
            Ok(futures_util::stream::iter(targets.into_iter().map(one)).buffered(AT_ONCE).collect::<Vec<_>>().await)
        })
        .await?;
    let unheard = |tried: &Tried| matches!(tried, Tried::Unheard(_));
    if let Some((_, Tried::Unheard(error))) = ended.iter().find(|(_, tried)| unheard(tried))
        && ended.iter().all(|(_, tried)| unheard(tried))
    {
        return Err(error.clone().into());
    }
    Ok(ended.into_iter().map(|(object, tried)| (object, tried.into_fate())).collect())
}

/// What one try came to.
enum Tried {
    Settled(DeleteOutcome),
    /// The store did not answer; whether the object is gone is not known.
    Unheard(s3::Error),
}

impl Tried {
    fn into_fate(self) -> DeleteOutcome {
        match self {
            Self::Settled(outcome) => outcome,
            Self::Unheard(_) => DeleteOutcome::Failed("The store did not answer in time, so whether it is gone is not known.".into()),
        }
    }
}

async fn delete_one(ctx: &Context, actor: &Actor, bucket: &BucketName, targets: &ObjectToDelete) -> Tried {
    let key = targets.key.as_str();
    if let Some(why) = ctx.s3.key_rules().mangled(key) {
        return Tried::Settled(DeleteOutcome::Failed(why.to_owned()));
    }
    let begun = match unfinished::begin(ctx, bucket, targets).await {
        Ok(begun) => begun,
        // What could not be recorded is not done.
        Err(error) => {
            log::warn!("{bucket} {key:?} was not deleted: {error}");
            return Tried::Settled(DeleteOutcome::Failed("The database did not answer, so it was not deleted.".into()));
        }
    };
    let outcome = match ctx.s3.delete_if(bucket.as_str(), key, &targets.etag).await {
        Ok(()) => DeleteOutcome::Deleted,
        Err(s3::Error::PreconditionFailed) => DeleteOutcome::Changed,
        Err(s3::Error::NoSuchKey) => DeleteOutcome::Gone,
        Err(error @ (s3::Error::Unreachable(_) | s3::Error::SlowDown | s3::Error::Other(_))) => {
            let outcome = DeleteOutcome::Failed("The store did not answer.".into());
            record(ctx, actor, bucket, targets, &outcome, &Row::Unheard).await;
            return Tried::Unheard(error);
        }
        Err(s3::Error::AccessDenied) => DeleteOutcome::Failed("The store refused: Larder's key may not delete here.".into()),
        Err(error) => {
            log::warn!("{bucket} {key:?} was not deleted: {error}");
            DeleteOutcome::Failed("The store answered with an error.".into())
        }
    };
    record(ctx, actor, bucket, targets, &outcome, &begun.map_or(Row::Unmarked, Row::Begun)).await;
    Tried::Settled(outcome)
}

/// What there is to settle beside the audit.
#[derive(Clone)]
enum Row {
    /// It says `deleting`.
    Begun(Uuid),
    /// There was none when the deletion began.
    Unmarked,
    /// Whether the object is gone is not known: the row says `deleting` until somebody has looked.
    Unheard,
}

/// Whatever was tried is recorded, also what changed nothing.
async fn record(ctx: &Context, actor: &Actor, bucket: &BucketName, targets: &ObjectToDelete, outcome: &DeleteOutcome, row: &Row) {
    if settle(ctx, actor, bucket, targets, outcome, row).await.is_err() {
        let what = format!("deletion of {bucket} {:?} by {}", targets.key.as_str(), actor.label);
        let held = (ctx.clone(), actor.clone(), bucket.clone(), targets.clone(), outcome.clone(), row.clone());
        ctx.retry_in_background(what, move || {
            let (all, actor, bucket, targets, outcome, row) = held.clone();
            async move { settle(&all, &actor, &bucket, &targets, &outcome, &row).await }
        });
    }
}

async fn settle(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    targets: &ObjectToDelete,
    outcome: &DeleteOutcome,
    row: &Row,
) -> Result<()> {
    let (audit_outcome, detail) = match outcome {
        DeleteOutcome::Deleted => (Outcome::Ok, json!({ "etag": targets.etag })),
        DeleteOutcome::Changed => (Outcome::Refused, json!({ "etag": targets.etag, "reason": "changed" })),
        DeleteOutcome::Gone => (Outcome::Refused, json!({ "etag": targets.etag, "reason": "gone" })),
        DeleteOutcome::Failed(why) => (Outcome::Failed, json!({ "etag": targets.etag, "reason": why })),
    };
    let resource = audit::object(bucket.as_str(), targets.key.as_str());
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                match row {
                    Row::Begun(file) if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Gone) => {
                        unfinished::end(conn, *file).await?
                    }
                    Row::Begun(file) => unfinished::take_back(conn, *file).await?,
                    // An upload may have published it just before and recorded it since.
                    Row::Unmarked if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::Gone) => {
                        let row = files::table
                            .filter(files::bucket.eq(bucket.as_str()))
                            .filter(files::object_key.eq(targets.key.as_str()))
                            .filter(files::state.eq("ready"))
                            .filter(files::etag.eq(&targets.etag));
                        diesel::update(row).set((files::state.eq("deleted"), files::updated_at.eq(now))).execute(conn).await?
                    }
                    Row::Unmarked | Row::Unheard => 0,
                };
                audit::record(conn, actor, "object.delete", &resource, audit_outcome, detail).await
            })
            .await
            .map_err(Error::from)
        })
        .await
}

fn key(actor: &Actor, id: Uuid) -> String {
    // Only who deleted may see what.
    format!("larder:deletion:{}:{id}", actor.id.unwrap_or_default())
}

/// Keeps what became of a bulk deletion for the page that shows it; its id, or `None` where Redis would not.
pub async fn keep_deletion_result(ctx: &Context, actor: &Actor, result: &[(ObjectToDelete, DeleteOutcome)]) -> Option<Uuid> {
    let id = Uuid::now_v7();
    let rows: Vec<(&str, &DeleteOutcome)> = result.iter().map(|(targets, outcome)| (targets.key.as_str(), outcome)).collect();
    ctx.redis.required().set_json(&key(actor, id), &rows, Some(KEPT)).await.ok().map(|()| id)
}

/// The result of the bulk deletion under this id, kept for a day; `None` when unknown.
pub async fn deletion_result(ctx: &Context, actor: &Actor, id: Uuid) -> Option<Vec<(String, DeleteOutcome)>> {
    ctx.redis.required().get_json(&key(actor, id)).await.ok().flatten()
}
