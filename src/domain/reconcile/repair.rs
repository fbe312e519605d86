//! Changes to rows, each only if the row is unchanged since the comparison, each with its audit event.

use diesel::PgExpressionMethods;
use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Repair;
use super::rows::Row;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action, Outcome};
use crate::domain::files::{FileState, lock_keys};
use crate::domain::{Context, Error, Result};
use crate::schema::files;
use crate::stores::s3::Head;

/// Locks the row if its state and ETag are still those that were compared.
async fn lock_unchanged(conn: &mut AsyncPgConnection, row: &Row) -> QueryResult<bool> {
    let same = files::table.find(row.id).filter(files::state.eq(row.state)).filter(files::etag.is_not_distinct_from(row.etag.as_deref()));
    Ok(same.select(files::id).for_update().first::<Uuid>(conn).await.optional()?.is_some())
}

/// The new state of a row.
enum Change<'a> {
    State(FileState),
    /// `ready`, with the properties of its object in the store.
    Ready(&'a Head),
}

impl Change<'_> {
    async fn apply(&self, conn: &mut AsyncPgConnection, row: &Row) -> QueryResult<usize> {
        let row = files::table.find(row.id);
        match self {
            Self::State(state) => diesel::update(row).set((files::state.eq(*state), files::updated_at.eq(now))).execute(conn).await,
            Self::Ready(head) => {
                let values = (
                    files::state.eq(FileState::Ready),
                    files::size.eq(i64::try_from(head.size).unwrap_or(i64::MAX)),
                    files::etag.eq(&head.etag),
                    files::version_id.eq(&head.version_id),
                    files::error.eq(None::<String>),
                    files::finished_at.eq(now),
                    files::updated_at.eq(now),
                );
                diesel::update(row).set(values).execute(conn).await
            }
        }
    }
}

async fn repair(ctx: &Context, row: &Row, change: Change<'_>, detail: Value) -> Result<Repair> {
    let actor = Actor { tenant: row.tenant_id, ..Actor::system("Reconciliation") };
    let resource = audit::object(&row.bucket, &row.object_key);
    let changed = ctx
        .db
        .transaction(async |conn| {
            lock_keys(conn, &row.bucket, vec![&row.object_key]).await?;
            if !lock_unchanged(conn, row).await? {
                return Ok(Repair::Outdated);
            }
            change.apply(conn, row).await?;
            audit::record(conn, &actor, Action::FileReconcile, &resource, Outcome::Ok, detail).await?;
            Ok(Repair::Done)
        })
        .await
        .map_err(Error::from);
    match changed {
        // Another upload has become the ready one in the meantime.
        Err(Error::Postgres(error)) if error.unique_violation().is_some() => Ok(Repair::Outdated),
        changed => changed,
    }
}

pub(super) async fn delete(ctx: &Context, row: &Row) -> Result<Repair> {
    let detail = json!({ "etag": row.etag, "found": "not in the store", "state": "deleted" });
    repair(ctx, row, Change::State(FileState::Deleted), detail).await
}

pub(super) async fn supersede(ctx: &Context, row: &Row, etag: &str) -> Result<Repair> {
    let detail = json!({ "etag": row.etag, "found": "changed outside Larder", "found_etag": etag, "state": "superseded" });
    repair(ctx, row, Change::State(FileState::Superseded), detail).await
}

/// The object carries the ID of this row: it was published, but the update of the row was lost.
pub(super) async fn roll_forward(ctx: &Context, row: &Row, head: &Head) -> Result<Repair> {
    let detail = json!({ "etag": head.etag, "found": "whole in the store", "state": "ready" });
    repair(ctx, row, Change::Ready(head), detail).await
}
