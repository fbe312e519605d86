//! The history of uploads through Larder.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl, TextExpressionMethods};
use diesel::sql_types::{BigInt, Timestamptz, Uuid as SqlUuid};
use diesel::{Queryable, Selectable, SelectableHelper};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::{Activity, File, FileState, Progress};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::audit::like_literal;
use crate::domain::names::storable;
use crate::domain::secrets::hex;
use crate::domain::{Context, Error, Result};
use crate::schema::files;

const PAGE: i64 = 100;

#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Prefix of the name or the key.
    pub q: Option<String>,
    pub bucket: Option<String>,
    pub state: Option<FileState>,
    pub cursor: Option<String>,
}

pub struct Page {
    /// Newest first; only on the first page without a state filter.
    pub pending: Vec<File>,
    pub finished: Vec<File>,
    pub next: Option<String>,
    pub today_files: i64,
    pub today_bytes: i64,
}

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = files)]
pub(super) struct Row {
    pub id: Uuid,
    pub batch_id: Uuid,
    pub bucket: String,
    pub object_key: String,
    pub name: String,
    size: Option<i64>,
    sha256: Option<Vec<u8>>,
    etag: Option<String>,
    pub state: FileState,
    publishing: bool,
    pub heartbeat_at: Option<DateTime<Utc>>,
    uploaded_by_label: String,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    pub fingerprint: Option<String>,
    pub length: Option<i64>,
    pub part_size: Option<i64>,
    pub parts_done: i32,
}

impl Row {
    pub fn into_file(self, ctx: &Context) -> File {
        let state = self.state;
        let resumable = match (state, self.length, self.part_size) {
            (FileState::Pending, Some(length), Some(part_size)) if self.fingerprint.is_some() => Some(Progress {
                length,
                received: length.min(i64::from(self.parts_done).saturating_mul(part_size)),
                kept_until: kept_until(ctx, self.heartbeat_at.unwrap_or(self.created_at)),
            }),
            _ => None,
        };
        let missing = resumable.as_ref().map(|progress| progress.length - progress.received);
        let activity = Activity::of(clock::now(), self.heartbeat_at, self.publishing, missing);
        File {
            id: self.id,
            batch_id: self.batch_id,
            bucket: self.bucket,
            key: self.object_key,
            name: self.name,
            size: self.size,
            sha256: self.sha256.as_deref().map(hex),
            etag: self.etag,
            state,
            activity: (state == FileState::Pending).then_some(activity),
            resumable,
            uploaded_by: self.uploaded_by_label,
            error: self.error,
            created_at: self.created_at,
            finished_at: self.finished_at,
        }
    }
}

/// When an inactive resumable upload is cancelled, based on its last heartbeat.
pub(super) fn kept_until(ctx: &Context, last: DateTime<Utc>) -> DateTime<Utc> {
    last + TimeDelta::from_std(ctx.config.upload.keep).unwrap_or(TimeDelta::days(7))
}

#[derive(diesel::QueryableByName)]
struct TodayRow {
    #[diesel(sql_type = BigInt)]
    files: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

pub async fn list(ctx: &Context, actor: &Actor, filter: &Filter) -> Result<Page> {
    let before = filter.cursor.as_deref().and_then(|cursor| cursor.parse::<Uuid>().ok());
    let first_page = before.is_none() && filter.state.is_none();
    ctx.db
        .run(async |conn| {
            let base = || {
                let mut query =
                    files::table.filter(files::tenant_id.eq(actor.tenant)).order(files::id.desc()).select(Row::as_select()).into_boxed();
                if let Some(q) = &filter.q {
                    let pattern = format!("{}%", like_literal(q));
                    query = query.filter(files::name.like(pattern.clone()).or(files::object_key.like(pattern)));
                }
                if let Some(bucket) = &filter.bucket {
                    query = query.filter(files::bucket.eq(storable(bucket)));
                }
                query
            };
            let pending: Vec<Row> =
                if first_page { base().filter(files::state.eq(FileState::Pending)).limit(PAGE).load(conn).await? } else { Vec::new() };
            let mut finished = base().limit(PAGE + 1);
            finished = match filter.state {
                Some(state) => finished.filter(files::state.eq(state)),
                None => finished.filter(files::state.ne(FileState::Pending)),
            };
            if let Some(before) = before {
                finished = finished.filter(files::id.lt(before));
            }
            let mut finished: Vec<Row> = finished.load(conn).await?;
            let more = i64::try_from(finished.len()).is_ok_and(|found| found > PAGE);
            if more {
                finished.pop();
            }
            let next = finished.last().filter(|_| more).map(|row| row.id.to_string());
            let midnight = clock::now().date_naive().and_time(NaiveTime::MIN).and_utc();
            let today: TodayRow = diesel::sql_query(
                "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM files
                 WHERE tenant_id = $1 AND created_at >= $2 AND state NOT IN ('pending', 'failed', 'cancelled')",
            )
            .bind::<SqlUuid, _>(actor.tenant)
            .bind::<Timestamptz, _>(midnight)
            .get_result(conn)
            .await?;
            let files = |rows: Vec<Row>| rows.into_iter().map(|row| row.into_file(ctx)).collect();
            Ok(Page { pending: files(pending), finished: files(finished), next, today_files: today.files, today_bytes: today.bytes })
        })
        .await
}

/// The files of one form, with counts.
pub struct Batch {
    /// Failed and cancelled files first, then in the order of arrival; at most [`BATCH_PAGE`].
    pub files: Vec<File>,
    pub total: i64,
    /// Including files that were replaced or deleted since.
    pub stored: i64,
    /// Including cancelled files.
    pub failed: i64,
}

/// Files of one form per page.
pub const BATCH_PAGE: i64 = 500;

/// `NotFound` if the form does not exist. `from`: number of files to skip.
pub async fn batch(ctx: &Context, actor: &Actor, id: Uuid, from: i64) -> Result<Batch> {
    let of_batch = || files::table.filter(files::tenant_id.eq(actor.tenant)).filter(files::batch_id.eq(id));
    let (rows, counts): (Vec<Row>, Vec<(FileState, i64)>) = ctx
        .db
        .run(async |conn| {
            let page = of_batch()
                .order((files::state.ne_all(FileState::NOT_STORED), files::id))
                .offset(from)
                .limit(BATCH_PAGE)
                .select(Row::as_select());
            let rows = page.load(conn).await?;
            let counts = of_batch().group_by(files::state).select((files::state, diesel::dsl::count_star()));
            Ok::<_, Error>((rows, counts.load(conn).await?))
        })
        .await?;
    if counts.is_empty() {
        return Err(Error::NotFound("Upload not found. Nothing was received under this address.".into()));
    }
    let count = |wanted: fn(FileState) -> bool| counts.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum();
    Ok(Batch {
        files: rows.into_iter().map(|row| row.into_file(ctx)).collect(),
        total: count(|_| true),
        stored: count(|state| state != FileState::Pending && !state.is_not_stored()),
        failed: count(FileState::is_not_stored),
    })
}
