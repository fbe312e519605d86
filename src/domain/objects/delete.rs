//! Deletion: every object with the ETag that the user saw.

use std::time::Duration;

use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel_async::RunQueryDsl;
use futures_util::StreamExt;
use serde_json::json;
use uuid::Uuid;

use super::deletions;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action, Outcome};
use crate::domain::files::{FileState, lock_keys};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::{Context, Error, Result, s3_sentences, signing};
use crate::schema::files;
use crate::stores::s3;

/// One object to delete, with the ETag that the user saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectToDelete {
    pub key: ObjectKey,
    pub etag: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DeleteOutcome {
    Deleted,
    /// The object has changed since the page was loaded; it was not deleted.
    Changed,
    /// The object had already been deleted.
    #[serde(rename = "Gone")]
    AlreadyDeleted,
    Failed(String),
}

/// Concurrent deletions: enough to hide round trips, few enough to leave capacity for other requests.
const CONCURRENCY: usize = 8;
const RESULT_TTL: Duration = Duration::from_secs(86_400);

/// Deletes the objects and returns each with its outcome, in the given order. Fails as a whole only if no deletion
/// was attempted. Runs to completion even if the user disconnects.
pub async fn delete(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    targets: &[ObjectToDelete],
) -> Result<Vec<(ObjectToDelete, DeleteOutcome)>> {
    // Deletions that cannot be audited are not started.
    ctx.db.check_available().await?;
    let (task_ctx, actor, bucket, targets) = (ctx.clone(), actor.clone(), bucket.clone(), targets.to_vec());
    let ended = ctx
        .run_to_completion(async move {
            let one = |object: ObjectToDelete| {
                let (ctx, actor, bucket) = (&task_ctx, &actor, &bucket);
                async move {
                    let outcome = delete_one(ctx, actor, bucket, &object).await;
                    (object, outcome)
                }
            };
            Ok(futures_util::stream::iter(targets.into_iter().map(one)).buffered(CONCURRENCY).collect::<Vec<_>>().await)
        })
        .await?;
    let is_unknown = |attempt: &Attempt| matches!(attempt, Attempt::Unknown(_));
    if let Some((_, Attempt::Unknown(error))) = ended.iter().find(|(_, attempt)| is_unknown(attempt))
        && ended.iter().all(|(_, attempt)| is_unknown(attempt))
    {
        return Err(error.clone().into());
    }
    Ok(ended.into_iter().map(|(object, attempt)| (object, attempt.into_outcome())).collect())
}

/// The result of one attempt.
enum Attempt {
    Settled(DeleteOutcome),
    /// The store did not respond; it is unknown whether the object was deleted.
    Unknown(s3::Error),
}

impl Attempt {
    fn into_outcome(self) -> DeleteOutcome {
        match self {
            Self::Settled(outcome) => outcome,
            Self::Unknown(_) => {
                DeleteOutcome::Failed("The store did not respond in time, so it is unknown whether the object was deleted.".into())
            }
        }
    }
}

async fn delete_one(ctx: &Context, actor: &Actor, bucket: &BucketName, target: &ObjectToDelete) -> Attempt {
    let key = target.key.as_str();
    if let Some(why) = ctx.s3.key_rules().mangled(key) {
        return Attempt::Settled(DeleteOutcome::Failed(why.to_owned()));
    }
    let deleting = match deletions::begin(ctx, bucket, target).await {
        Ok(deleting) => deleting,
        // A deletion that could not be recorded is not started.
        Err(error) => {
            log::warn!("{bucket} {key:?} was not deleted: {error}");
            return Attempt::Settled(DeleteOutcome::Failed("The database is unreachable, so the object was not deleted.".into()));
        }
    };
    let outcome = match ctx.s3.delete_if(bucket.as_str(), key, &target.etag).await {
        Ok(()) => DeleteOutcome::Deleted,
        Err(s3::Error::PreconditionFailed) => DeleteOutcome::Changed,
        Err(s3::Error::NoSuchKey) => DeleteOutcome::AlreadyDeleted,
        Err(error @ (s3::Error::Unreachable(_) | s3::Error::SlowDown | s3::Error::Other(_))) => {
            let outcome = DeleteOutcome::Failed(s3_sentences::of_deletion(&error).into());
            record(ctx, actor, bucket, target, &outcome, &Row::Unknown).await;
            return Attempt::Unknown(error);
        }
        Err(error) => {
            if error != s3::Error::AccessDenied {
                log::warn!("{bucket} {key:?} was not deleted: {error}");
            }
            DeleteOutcome::Failed(s3_sentences::of_deletion(&error).into())
        }
    };
    record(ctx, actor, bucket, target, &outcome, &deleting.map_or(Row::Absent, Row::Deleting)).await;
    Attempt::Settled(outcome)
}

/// The row to update together with the audit event.
#[derive(Clone)]
enum Row {
    /// Its state is `deleting`.
    Deleting(Uuid),
    /// There was no row when the deletion started.
    Absent,
    /// Unknown whether the object was deleted: the row stays `deleting` until the reaper has checked the object.
    Unknown,
}

/// Records every attempt, even if nothing changed.
async fn record(ctx: &Context, actor: &Actor, bucket: &BucketName, target: &ObjectToDelete, outcome: &DeleteOutcome, row: &Row) {
    if settle(ctx, actor, bucket, target, outcome, row).await.is_err() {
        let what = format!("deletion of {bucket} {:?} by {}", target.key.as_str(), actor.label);
        let held = (ctx.clone(), actor.clone(), bucket.clone(), target.clone(), outcome.clone(), row.clone());
        ctx.retry_in_background(what, move || {
            let (task_ctx, actor, bucket, target, outcome, row) = held.clone();
            async move { settle(&task_ctx, &actor, &bucket, &target, &outcome, &row).await }
        });
    }
}

async fn settle(
    ctx: &Context,
    actor: &Actor,
    bucket: &BucketName,
    target: &ObjectToDelete,
    outcome: &DeleteOutcome,
    row: &Row,
) -> Result<()> {
    let (audit_outcome, detail) = match outcome {
        DeleteOutcome::Deleted => (Outcome::Ok, json!({ "etag": target.etag })),
        DeleteOutcome::Changed => (Outcome::Refused, json!({ "etag": target.etag, "reason": "changed" })),
        DeleteOutcome::AlreadyDeleted => (Outcome::Refused, json!({ "etag": target.etag, "reason": "gone" })),
        DeleteOutcome::Failed(why) => (Outcome::Failed, json!({ "etag": target.etag, "reason": why })),
    };
    let resource = audit::object(bucket.as_str(), target.key.as_str());
    ctx.db
        .transaction(async |conn| {
            lock_keys(conn, bucket.as_str(), vec![target.key.as_str()]).await?;
            match row {
                Row::Deleting(file) if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::AlreadyDeleted) => {
                    deletions::end(conn, *file).await?
                }
                Row::Deleting(file) => deletions::restore(conn, *file).await?,
                // An upload may have published the object just before and recorded it since.
                Row::Absent if matches!(outcome, DeleteOutcome::Deleted | DeleteOutcome::AlreadyDeleted) => {
                    let row = files::table
                        .filter(files::bucket.eq(bucket.as_str()))
                        .filter(files::object_key.eq(target.key.as_str()))
                        .filter(files::state.eq(FileState::Ready))
                        .filter(files::etag.eq(&target.etag));
                    diesel::update(row).set((files::state.eq(FileState::Deleted), files::updated_at.eq(now))).execute(conn).await?
                }
                Row::Absent | Row::Unknown => 0,
            };
            audit::record(conn, actor, Action::ObjectDelete, &resource, audit_outcome, detail).await
        })
        .await
        .map_err(Error::from)
}

fn key(actor: &Actor, id: Uuid) -> String {
    // Only the user who deleted the objects may see the result.
    format!("larder:deletion:{}:{id}", actor.id.unwrap_or_default())
}

/// Stores the result of a bulk deletion for its result page. Returns its ID, or `None` if Redis is unavailable.
pub async fn keep_deletion_result(ctx: &Context, actor: &Actor, result: &[(ObjectToDelete, DeleteOutcome)]) -> Option<Uuid> {
    let id = Uuid::now_v7();
    let rows: Vec<(&str, &DeleteOutcome)> = result.iter().map(|(target, outcome)| (target.key.as_str(), outcome)).collect();
    signing::set_json(ctx, &ctx.redis.required(), &key(actor, id), &rows, RESULT_TTL).await.ok().map(|()| id)
}

/// The result of a bulk deletion, kept for a day; `None` if unknown.
pub async fn deletion_result(ctx: &Context, actor: &Actor, id: Uuid) -> Option<Vec<(String, DeleteOutcome)>> {
    signing::get_json(ctx, &ctx.redis.required(), &key(actor, id)).await.ok().flatten()
}
