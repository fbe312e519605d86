//! Reads rows in pages, so that memory use stays constant.

use std::collections::BTreeSet;

use diesel::prelude::QueryDsl;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::domain::files::FileState;
use crate::domain::{Context, Error, Result};
use crate::schema::files;

/// Rows per page.
pub(super) const PAGE: i64 = 1000;

#[derive(Clone, Debug, diesel::QueryableByName)]
pub(super) struct Row {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub tenant_id: Uuid,
    #[diesel(sql_type = Text)]
    pub bucket: String,
    #[diesel(sql_type = Text)]
    pub object_key: String,
    #[diesel(sql_type = Text)]
    pub state: FileState,
    #[diesel(sql_type = Nullable<Text>)]
    pub etag: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub size: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub s3_upload_id: Option<String>,
}

const COLUMNS: &str = "id, tenant_id, bucket, object_key, state, etag, size, s3_upload_id";

macro_rules! load {
    ($ctx:expr, $query:expr) => {
        $ctx.db.run(async |conn| $query.load(conn).await.map_err(Error::from)).await
    };
}

/// All buckets with rows.
pub(super) async fn buckets(ctx: &Context) -> Result<BTreeSet<String>> {
    let names: Result<Vec<String>> = load!(ctx, files::table.select(files::bucket).distinct());
    Ok(names?.into_iter().collect())
}

/// Rows that may correspond to the objects with these keys.
pub(super) async fn at_keys(ctx: &Context, bucket: &str, keys: &[&str]) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM files WHERE bucket = $1 AND object_key = ANY($2) AND state IN ('ready', 'pending', 'deleting', 'failed', 'cancelled')"
    );
    load!(ctx, diesel::sql_query(&sql).bind::<Text, _>(bucket).bind::<Array<Text>, _>(keys))
}

/// The order in which the store lists keys.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// File system order: a folder's content is listed at the position of the folder's name.
    pub by_folder: bool,
}

impl Order {
    pub fn position(self, key: &str) -> String {
        if self.by_folder { key.replace('/', "\u{1}") } else { key.to_owned() }
    }

    fn expression(self) -> &'static str {
        if self.by_folder { "replace(object_key, '/', E'\\x01')" } else { "object_key" }
    }
}

/// One page of `ready` rows between two positions in the order.
pub(super) async fn ready_between(ctx: &Context, bucket: &str, order: Order, after: &str, until: Option<&str>) -> Result<Vec<Row>> {
    let position = order.expression();
    let sql = format!(
        "SELECT {COLUMNS} FROM files WHERE bucket = $1 AND state = 'ready' AND {position} > $2 AND ($3 IS NULL OR {position} <= $3)
         ORDER BY {position} LIMIT {PAGE}"
    );
    let query = diesel::sql_query(&sql).bind::<Text, _>(bucket).bind::<Text, _>(after).bind::<Nullable<Text>, _>(until);
    load!(ctx, query)
}

/// Rows with these multipart upload IDs.
pub(super) async fn of_uploads(ctx: &Context, bucket: &str, uploads: &[&str]) -> Result<Vec<Row>> {
    let sql = format!("SELECT {COLUMNS} FROM files WHERE bucket = $1 AND s3_upload_id = ANY($2)");
    load!(ctx, diesel::sql_query(&sql).bind::<Text, _>(bucket).bind::<Array<Text>, _>(uploads))
}

/// Uploads and deletions whose lease has expired. Resumable uploads expire later, as for the reaper.
pub(super) async fn stopped(ctx: &Context, bucket: Option<&str>) -> Result<Vec<Row>> {
    let (lease, keep) = (ctx.config.upload.lease.as_secs(), ctx.config.upload.keep.as_secs());
    let sql = format!(
        "SELECT {COLUMNS} FROM files WHERE state IN ('pending', 'deleting') AND heartbeat_at < now() - {lease} * interval '1 second'
         AND (state = 'deleting' OR fingerprint IS NULL OR publishing OR heartbeat_at < now() - {keep} * interval '1 second')
         AND ($1 IS NULL OR bucket = $1) ORDER BY id LIMIT {PAGE}"
    );
    load!(ctx, diesel::sql_query(&sql).bind::<Nullable<Text>, _>(bucket))
}

/// Which of these are still pending or deleting.
pub(super) async fn still_in_progress(ctx: &Context, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    use diesel::prelude::ExpressionMethods;
    let query =
        files::table.filter(files::id.eq_any(ids)).filter(files::state.eq_any([FileState::Pending, FileState::Deleting])).select(files::id);
    load!(ctx, query)
}
