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
pub struct Doomed {
    pub key: ObjectKey,
    pub etag: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fate {
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
pub async fn delete(ctx: &Context, actor: &Actor, bucket: &BucketName, doomed: &[Doomed]) -> Result<Vec<(Doomed, Fate)>> {
    // Nothing is deleted that could not be audited.
    ctx.db.answers().await?;
    let (all, actor, bucket, doomed) = (ctx.clone(), actor.clone(), bucket.clone(), doomed.to_vec());
    let ended = ctx
        .see_through(async move {
            let one = |object: Doomed| {
                let (ctx, actor, bucket) = (&all, &actor, &bucket);
                async move {
                    let fate = delete_one(ctx, actor, bucket, &object).await;
                    (object, fate)
                }
            };
            Ok(futures_util::stream::iter(doomed.into_iter().map(one)).buffered(AT_ONCE).collect::<Vec<_>>().await)
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
    Settled(Fate),
    /// The store did not answer; whether the object is gone is not known.
    Unheard(s3::Error),
}

impl Tried {
    fn into_fate(self) -> Fate {
        match self {
            Self::Settled(fate) => fate,
            Self::Unheard(_) => Fate::Failed("The store did not answer in time, so whether it is gone is not known.".into()),
        }
    }
}

async fn delete_one(ctx: &Context, actor: &Actor, bucket: &BucketName, doomed: &Doomed) -> Tried {
    let key = doomed.key.as_str();
    if let Some(why) = ctx.s3.key_rules().mangled(key) {
        return Tried::Settled(Fate::Failed(why.to_owned()));
    }
    let begun = match unfinished::begin(ctx, bucket, doomed).await {
        Ok(begun) => begun,
        // What could not be recorded is not done.
        Err(error) => {
            log::warn!("{bucket} {key:?} was not deleted: {error}");
            return Tried::Settled(Fate::Failed("The database did not answer, so it was not deleted.".into()));
        }
    };
    let fate = match ctx.s3.delete_if(bucket.as_str(), key, &doomed.etag).await {
        Ok(()) => Fate::Deleted,
        Err(s3::Error::PreconditionFailed) => Fate::Changed,
        Err(s3::Error::NoSuchKey) => Fate::Gone,
        Err(error @ (s3::Error::Unreachable(_) | s3::Error::SlowDown | s3::Error::Other(_))) => {
            let fate = Fate::Failed("The store did not answer.".into());
            record(ctx, actor, bucket, doomed, &fate, &Row::Unheard).await;
            return Tried::Unheard(error);
        }
        Err(s3::Error::AccessDenied) => Fate::Failed("The store refused: Larder's key may not delete here.".into()),
        Err(error) => {
            log::warn!("{bucket} {key:?} was not deleted: {error}");
            Fate::Failed("The store answered with an error.".into())
        }
    };
    record(ctx, actor, bucket, doomed, &fate, &begun.map_or(Row::Unmarked, Row::Begun)).await;
    Tried::Settled(fate)
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
async fn record(ctx: &Context, actor: &Actor, bucket: &BucketName, doomed: &Doomed, fate: &Fate, row: &Row) {
    if settle(ctx, actor, bucket, doomed, fate, row).await.is_err() {
        let what = format!("deletion of {bucket} {:?} by {}", doomed.key.as_str(), actor.label);
        let held = (ctx.clone(), actor.clone(), bucket.clone(), doomed.clone(), fate.clone(), row.clone());
        ctx.keep_trying(what, move || {
            let (all, actor, bucket, doomed, fate, row) = held.clone();
            async move { settle(&all, &actor, &bucket, &doomed, &fate, &row).await }
        });
    }
}

async fn settle(ctx: &Context, actor: &Actor, bucket: &BucketName, doomed: &Doomed, fate: &Fate, row: &Row) -> Result<()> {
    let (outcome, detail) = match fate {
        Fate::Deleted => (Outcome::Ok, json!({ "etag": doomed.etag })),
        Fate::Changed => (Outcome::Refused, json!({ "etag": doomed.etag, "reason": "changed" })),
        Fate::Gone => (Outcome::Refused, json!({ "etag": doomed.etag, "reason": "gone" })),
        Fate::Failed(why) => (Outcome::Failed, json!({ "etag": doomed.etag, "reason": why })),
    };
    let resource = audit::object(bucket.as_str(), doomed.key.as_str());
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                match row {
                    Row::Begun(file) if matches!(fate, Fate::Deleted | Fate::Gone) => unfinished::end(conn, *file).await?,
                    Row::Begun(file) => unfinished::take_back(conn, *file).await?,
                    // An upload may have published it just before and recorded it since.
                    Row::Unmarked if matches!(fate, Fate::Deleted | Fate::Gone) => {
                        let row = files::table
                            .filter(files::bucket.eq(bucket.as_str()))
                            .filter(files::object_key.eq(doomed.key.as_str()))
                            .filter(files::state.eq("ready"))
                            .filter(files::etag.eq(&doomed.etag));
                        diesel::update(row).set((files::state.eq("deleted"), files::updated_at.eq(now))).execute(conn).await?
                    }
                    Row::Unmarked | Row::Unheard => 0,
                };
                audit::record(conn, actor, "object.delete", &resource, outcome, detail).await
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
pub async fn keep_deletion_result(ctx: &Context, actor: &Actor, result: &[(Doomed, Fate)]) -> Option<Uuid> {
    let id = Uuid::now_v7();
    let rows: Vec<(&str, &Fate)> = result.iter().map(|(doomed, fate)| (doomed.key.as_str(), fate)).collect();
    ctx.redis.required().set_json(&key(actor, id), &rows, Some(KEPT)).await.ok().map(|()| id)
}

/// The result of the bulk deletion under this id, kept for a day; `None` when unknown.
pub async fn deletion_result(ctx: &Context, actor: &Actor, id: Uuid) -> Option<Vec<(String, Fate)>> {
    ctx.redis.required().get_json(&key(actor, id)).await.ok().flatten()
}
