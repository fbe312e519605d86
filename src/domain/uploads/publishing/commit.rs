//! The transaction that ends a successful upload.

use diesel::prelude::{ExpressionMethods, QueryDsl};
use diesel::sql_types::{Array, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action, Outcome};
use crate::domain::files::{FileState, lock_keys};
use crate::domain::secrets::hex;
use crate::domain::uploads::attempt::Attempt;
use crate::domain::uploads::row::Digest;
use crate::domain::uploads::today;
use crate::domain::{Context, Result};
use crate::schema::files;
use crate::stores::s3::StoredObject;

/// A file in the store whose row is not `ready` yet.
pub(in crate::domain::uploads) struct StoredFile {
    pub attempt: Attempt,
    pub digest: Digest,
    pub stored: StoredObject,
}

/// Marks the rows `ready`, the rows that they replace `superseded`, and records the audit events, in one transaction.
/// Returns the IDs of the rows whose lease and claim were still held; the others are unchanged. All files belong to
/// one actor and one bucket.
pub(in crate::domain::uploads) async fn commit(files: &[StoredFile]) -> Result<Vec<Uuid>> {
    let Some(StoredFile { attempt: Attempt { ctx, actor, .. }, .. }) = files.first() else { return Ok(Vec::new()) };
    let ids = ctx.db.transaction(async |conn| update_rows(conn, actor, files).await).await?;
    for file in files.iter().filter(|file| ids.contains(&file.attempt.lease.file)) {
        ctx.transfer_counters.stored(file.digest.size);
    }
    today::changed(ctx, actor.tenant).await;
    Ok(ids)
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

async fn update_rows(conn: &mut AsyncPgConnection, actor: &Actor, stored: &[StoredFile]) -> diesel::QueryResult<Vec<Uuid>> {
    if let Some(first) = stored.first() {
        let keys = stored.iter().map(|file| file.attempt.target.key.as_str()).collect();
        lock_keys(conn, &first.attempt.target.bucket, keys).await?;
    }
    let (ids, leases): (Vec<Uuid>, Vec<Uuid>) = stored.iter().map(|file| (file.attempt.lease.file, file.attempt.lease.lease)).unzip();
    let held = "SELECT f.id FROM files f JOIN unnest($1, $2) AS ours (id, lease) ON f.id = ours.id AND f.lease = ours.lease
                WHERE f.state = 'pending' AND f.publishing ORDER BY f.id FOR UPDATE OF f";
    let held: Vec<Id> = diesel::sql_query(held).bind::<Array<SqlUuid>, _>(&ids).bind::<Array<SqlUuid>, _>(&leases).load(conn).await?;
    let held: Vec<Uuid> = held.into_iter().map(|row| row.id).collect();
    let ours: Vec<&StoredFile> = stored.iter().filter(|file| held.contains(&file.attempt.lease.file)).collect();
    let replaced = "UPDATE files old SET state = 'superseded', updated_at = now() FROM files new
                    WHERE new.id = ANY ($1) AND old.bucket = new.bucket AND old.object_key = new.object_key AND old.state = 'ready'";
    diesel::sql_query(replaced).bind::<Array<SqlUuid>, _>(&held).execute(conn).await?;
    let ready = "UPDATE files f SET state = 'ready', publishing = false, etag = at.etag, version_id = at.version_id,
                        finished_at = now(), updated_at = now()
                 FROM unnest($1, $2, $3) AS at (id, etag, version_id) WHERE f.id = at.id";
    diesel::sql_query(ready)
        .bind::<Array<SqlUuid>, _>(ours.iter().map(|file| file.attempt.lease.file).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(ours.iter().map(|file| file.stored.etag.as_str()).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(ours.iter().map(|file| file.stored.version_id.as_deref()).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    let events = ours.iter().map(|file| {
        let detail = json!({ "bytes": file.digest.size, "sha256": hex(&file.digest.sha256), "etag": file.stored.etag });
        (audit::object(&file.attempt.target.bucket, &file.attempt.target.key), detail)
    });
    audit::record_each(conn, actor, Action::ObjectUpload, Outcome::Ok, events).await?;
    Ok(held)
}

/// Whether the reaper has already committed this object.
pub(in crate::domain::uploads) async fn is_committed(ctx: &Context, file: Uuid, etag: &str) -> Result<bool> {
    let states = [FileState::Ready, FileState::Superseded];
    let committed = files::table.find(file).filter(files::state.eq_any(states)).filter(files::etag.eq(etag)).count();
    ctx.db
        .run(async |conn| {
            let found: i64 = committed.get_result(conn).await?;
            Ok(found == 1)
        })
        .await
}
