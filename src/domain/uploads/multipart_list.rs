//! Lists all multipart uploads in progress in a bucket, by Larder or other applications, and aborts them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl};
use diesel::{Queryable, Selectable, SelectableHelper};
use diesel_async::RunQueryDsl;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use uuid::Uuid;

use super::{Activity, FileState, history};
use crate::clock;
use crate::domain::actor::Actor;
use crate::domain::audit::{self, Action};
use crate::domain::names::{BucketName, ObjectKey, storable};
use crate::domain::s3_sentences::bucket_not_found;
use crate::domain::transfer_counters::UploadOutcome;
use crate::domain::{Context, Error, Result, abilities, objects};
use crate::schema::files;
use crate::stores::s3;
pub use crate::stores::s3::OpenMarker;

/// Uploads per page; the parts of each are requested.
pub const PAGE: i32 = 20;
/// Number of uploads whose parts are requested concurrently, and the time limit for all of them.
const CONCURRENCY: usize = 6;
const PARTS_TIMEOUT: Duration = Duration::from_millis(1500);

/// A multipart upload in progress.
#[derive(Clone, Debug)]
pub struct MultipartUpload {
    pub key: ObjectKey,
    pub upload_id: String,
    pub initiated: Option<DateTime<Utc>>,
    /// `None`: the store did not respond in time.
    pub progress: Option<Progress>,
    pub owner: Owner,
    /// The store would apply actions on this key to a different object, so they are not offered. The reason, as a
    /// sentence.
    pub unreachable: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub parts: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Larder {
        by: String,
        /// `None`: the upload has failed or was stored otherwise, and only its parts remain.
        activity: Option<Activity>,
        /// When it is cancelled, if it can be resumed.
        kept_until: Option<DateTime<Utc>>,
    },
    /// No row has its ID.
    Other,
}

pub struct Unfinished {
    pub uploads: Vec<MultipartUpload>,
    pub next: Option<OpenMarker>,
    /// Why the list may be incomplete, as a sentence.
    pub incomplete: Option<&'static str>,
}

const LISTING_DENIED: &str = "Larder's key may not list multipart uploads, so only uploads through Larder are shown.";
const LISTING_UNSUPPORTED: &str = "This store does not list multipart uploads, so only uploads through Larder are shown.";
const LISTING_INCOMPLETE: &str = "This store's list may omit uploads of other applications. All uploads through Larder are shown.";

/// One page in the store's order; the first page also includes Larder's uploads that the store has not listed.
pub async fn unfinished(ctx: &Context, bucket: &BucketName, marker: Option<&OpenMarker>) -> Result<Unfinished> {
    let (page, known) = futures_util::join!(ctx.s3.list_multipart(bucket.as_str(), None, marker, PAGE).boxed(), abilities::known(ctx));
    let partial = known.is_some_and(|probed| probed.abilities.multipart_listing.is_no());
    let (listed, next, incomplete) = match page {
        Ok(page) => (page.uploads, page.next, partial.then_some(LISTING_INCOMPLETE)),
        Err(s3::Error::AccessDenied) => (Vec::new(), None, Some(LISTING_DENIED)),
        Err(s3::Error::NotSupported) => (Vec::new(), None, Some(LISTING_UNSUPPORTED)),
        Err(s3::Error::NoSuchBucket) => return Err(bucket_not_found(bucket)),
        Err(error) => return Err(error.into()),
    };
    let rows = rows(ctx, bucket, &listed, incomplete.is_some() && marker.is_none()).await?;
    let mut owners: HashMap<String, Row> = rows.into_iter().filter_map(|row| Some((row.s3_upload_id.clone()?, row))).collect();
    let rules = ctx.s3.key_rules();
    let open = |key: &str, upload_id: String, initiated, owner| {
        Some(MultipartUpload { key: ObjectKey::parse(key)?, upload_id, initiated, progress: None, owner, unreachable: rules.mangled(key) })
    };
    let mut uploads: Vec<MultipartUpload> = listed
        .into_iter()
        .filter_map(|upload| {
            let owner = owners.remove(&upload.upload_id).map_or(Owner::Other, |row| row.owner(ctx));
            open(&upload.key, upload.upload_id, upload.initiated, owner)
        })
        .collect();
    let listed = uploads.len();
    let mut unlisted: Vec<Row> = owners.into_values().collect();
    unlisted.sort_by(|one, other| one.object_key.cmp(&other.object_key));
    for row in unlisted {
        let owner = row.owner(ctx);
        uploads.extend(open(&row.object_key, row.s3_upload_id.unwrap_or_default(), Some(row.created_at), owner));
    }
    load_progress(ctx, bucket, &mut uploads, listed).await;
    Ok(Unfinished { uploads, next, incomplete })
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = files)]
struct Row {
    object_key: String,
    s3_upload_id: Option<String>,
    state: FileState,
    publishing: bool,
    heartbeat_at: Option<DateTime<Utc>>,
    uploaded_by_label: String,
    created_at: DateTime<Utc>,
    fingerprint: Option<String>,
    length: Option<i64>,
    part_size: Option<i64>,
    parts_done: i32,
}

impl Row {
    fn owner(&self, ctx: &Context) -> Owner {
        let pending = self.state == FileState::Pending;
        let resumable = pending && self.fingerprint.is_some();
        let kept_until = resumable.then(|| history::kept_until(ctx, self.heartbeat_at.unwrap_or(self.created_at)));
        let received = i64::from(self.parts_done).saturating_mul(self.part_size.unwrap_or_default());
        let missing = self.length.filter(|_| resumable).map(|length| length.saturating_sub(received).max(0));
        let activity = pending.then(|| Activity::of(clock::now(), self.heartbeat_at, self.publishing, missing));
        Owner::Larder { by: self.uploaded_by_label.clone(), activity, kept_until }
    }
}

/// Rows of the listed uploads, and with `others` also of all other pending uploads.
async fn rows(ctx: &Context, bucket: &BucketName, listed: &[s3::OpenUpload], others: bool) -> Result<Vec<Row>> {
    let ids: Vec<&str> = listed.iter().map(|upload| upload.upload_id.as_str()).filter(|id| !id.contains('\0')).collect();
    ctx.db
        .run(async |conn| {
            let pending = files::state.eq(FileState::Pending).and(files::s3_upload_id.is_not_null());
            let mut query = files::table
                .filter(files::bucket.eq(bucket.as_str()))
                .filter(files::s3_upload_id.eq_any(ids))
                .select(Row::as_select())
                .limit(2 * i64::from(PAGE))
                .into_boxed();
            if others {
                query = query.or_filter(files::bucket.eq(bucket.as_str()).and(pending));
            }
            query.load(conn).await.map_err(Error::from)
        })
        .await
}

/// Adds the received bytes. Uploads that the store did not list and that no longer exist are removed.
async fn load_progress(ctx: &Context, bucket: &BucketName, uploads: &mut Vec<MultipartUpload>, listed: usize) {
    let mut results: Vec<Option<std::result::Result<Progress, s3::Error>>> = vec![None; uploads.len()];
    let loading = async {
        let requests = uploads.iter().enumerate().filter(|(_, open)| open.unreachable.is_none());
        let requests =
            requests.map(|(at, open)| async move { (at, progress(ctx, bucket, open.key.as_str(), &open.upload_id).await) }.boxed());
        let mut responses = futures_util::stream::iter(requests).buffer_unordered(CONCURRENCY);
        while let Some((at, response)) = responses.next().await {
            results[at] = Some(response);
        }
    };
    // Progress that was not received in time stays unknown.
    let _ = tokio::time::timeout(PARTS_TIMEOUT, loading).await;
    let mut at = 0;
    uploads.retain_mut(|open| {
        let response = results[at].take();
        at += 1;
        open.progress = match &response {
            Some(Ok(progress)) => Some(*progress),
            _ => None,
        };
        at <= listed || !matches!(response, Some(Err(s3::Error::NoSuchUpload)))
    });
}

async fn progress(ctx: &Context, bucket: &BucketName, key: &str, upload: &str) -> std::result::Result<Progress, s3::Error> {
    let (mut progress, mut marker) = (Progress::default(), None);
    loop {
        let page = ctx.s3.list_parts(bucket.as_str(), key, upload, marker, 1000).await?;
        for part in &page.parts {
            progress.parts += 1;
            progress.bytes += part.size;
        }
        marker = page.next;
        if marker.is_none() {
            return Ok(progress);
        }
    }
}

/// One multipart upload, for its confirmation page. `NotFound` if it no longer exists.
pub async fn one(ctx: &Context, bucket: &BucketName, key: &ObjectKey, upload: &str) -> Result<MultipartUpload> {
    objects::check_key(ctx, key)?;
    let listed = [s3::OpenUpload { key: key.to_string(), upload_id: upload.to_owned(), initiated: None }];
    let (progress, rows) = futures_util::join!(progress(ctx, bucket, key.as_str(), upload).boxed(), rows(ctx, bucket, &listed, false));
    let progress = match progress {
        Ok(progress) => progress,
        Err(s3::Error::NoSuchUpload | s3::Error::NoSuchKey | s3::Error::InvalidRequest(_)) => {
            return Err(Error::NotFound("This upload has already been completed or aborted.".into()));
        }
        Err(error) => return Err(objects::not_found(error, bucket, key)),
    };
    let row = rows?.into_iter().next();
    let initiated = row.as_ref().map(|row| row.created_at);
    let owner = row.map_or(Owner::Other, |row| row.owner(ctx));
    Ok(MultipartUpload { key: key.clone(), upload_id: upload.to_owned(), initiated, progress: Some(progress), owner, unreachable: None })
}

/// Deletes the parts; the row counts as failed. Conflict if the upload is being published.
pub async fn abort(ctx: &Context, actor: &Actor, bucket: &BucketName, key: &ObjectKey, upload: &str) -> Result<()> {
    objects::check_key(ctx, key)?;
    ctx.db.check_available().await?;
    let (task_ctx, actor, bucket, key, upload) = (ctx.clone(), actor.clone(), bucket.clone(), key.clone(), upload.to_owned());
    ctx.run_to_completion(async move {
        let ours = cancel_row(&task_ctx, &actor, &bucket, &key, &upload).await?;
        task_ctx.s3.abort_multipart(bucket.as_str(), key.as_str(), &upload).await?;
        let detail = json!({ "upload": upload, "file": ours });
        audit::record_with_retry(&task_ctx, &actor, Action::UploadAbort, &audit::object(bucket.as_str(), key.as_str()), detail).await
    })
    .await
}

/// Updates the row first, so that its sender can no longer publish. Returns the ID of the row that was pending.
async fn cancel_row(ctx: &Context, actor: &Actor, bucket: &BucketName, key: &ObjectKey, upload: &str) -> Result<Option<Uuid>> {
    let why = format!("Aborted by {}.", actor.label);
    let (cancelled, publishing) = ctx
        .db
        .run(async |conn| {
            let pending = || {
                files::table
                    .filter(files::bucket.eq(bucket.as_str()))
                    .filter(files::object_key.eq(storable(key.as_str())))
                    .filter(files::s3_upload_id.eq(storable(upload)))
                    .filter(files::state.eq(FileState::Pending))
            };
            let values = (files::state.eq(FileState::Failed), files::error.eq(&why), files::finished_at.eq(now), files::updated_at.eq(now));
            let cancelled: Vec<Uuid> =
                diesel::update(pending().filter(files::publishing.eq(false))).set(values).returning(files::id).get_results(conn).await?;
            let publishing: i64 = pending().count().get_result(conn).await?;
            Ok::<_, Error>((cancelled, publishing > 0))
        })
        .await?;
    cancelled.iter().for_each(|_| ctx.transfer_counters.count_upload(UploadOutcome::Cancelled));
    if publishing {
        return Err(Error::Conflict(format!("{} is complete and is being stored, so it was not aborted.", key.name())));
    }
    Ok(cancelled.into_iter().next())
}
