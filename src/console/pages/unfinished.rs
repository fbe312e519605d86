//! `/buckets/{bucket}/unfinished`: all unfinished multipart uploads at the store, of Larder and of other applications.
//! `/buckets/{bucket}/unfinished/deletion`: aborts one after confirmation.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{ok, with_status};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::{self, Bucket, Form, Query};
use crate::console::http::session::{Editor, SignedIn, Viewer};
use crate::console::view::badge::Badge;
use crate::console::view::breadcrumbs::{self, Crumb};
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, name_markup, paths};
use crate::domain::names::BucketName;
use crate::domain::uploads::Activity;
use crate::domain::uploads::multipart_list::OpenMarker;
use crate::domain::uploads::multipart_list::{self, MultipartUpload, Owner, Unfinished};
use crate::domain::{self, Context};

/// No store uses longer upload ids.
const MAX_ID_LENGTH: usize = 1024;

#[derive(Template)]
#[template(path = "pages/unfinished.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub rows: Vec<Row>,
    pub incomplete: Option<&'static str>,
    pub first_url: Option<String>,
    pub next_url: Option<String>,
}

pub struct Row {
    pub open: MultipartUpload,
}

impl Row {
    /// Tone, icon and label.
    pub fn badge(&self) -> Badge {
        match &self.open.owner {
            Owner::Larder { activity: Some(activity), .. } => Badge::of_activity(*activity),
            Owner::Larder { activity: None, .. } => Badge::new("warn", "minus", "Ended; parts remain"),
            Owner::Other => Badge::new("off", "note", "Other application"),
        }
    }

    pub fn by(&self) -> &str {
        match &self.open.owner {
            Owner::Larder { by, .. } => by,
            Owner::Other => "another application",
        }
    }

    pub fn kept_until(&self) -> Option<DateTime<Utc>> {
        match self.open.owner {
            Owner::Larder { kept_until, .. } => kept_until,
            Owner::Other => None,
        }
    }

    fn activity(&self) -> Option<Activity> {
        match self.open.owner {
            Owner::Larder { activity, .. } => activity,
            Owner::Other => None,
        }
    }

    /// The consequence of aborting the upload.
    pub fn consequence(&self) -> &'static str {
        match self.activity() {
            Some(Activity::Receiving) => "The upload is in progress and will fail.",
            Some(Activity::Waiting) => "The upload is not in progress. To upload the file, the user must start over.",
            Some(Activity::Received) => {
                "All parts were received, but the upload was not completed. To upload the file, the user must start over."
            }
            _ => "To upload the file, the user must start over.",
        }
    }

    pub fn may_be_aborted(&self) -> bool {
        self.open.unreachable.is_none() && self.activity() != Some(Activity::Publishing)
    }

    pub fn field(&self) -> String {
        paths::field(self.open.key.as_str())
    }
}

impl IndexPage {
    pub fn of(layout: Layout, bucket: BucketName, found: Unfinished, first: bool) -> Self {
        let next_url = found.next.map(|marker| {
            let (key, upload) = (marker.key.unwrap_or_default(), marker.upload_id.unwrap_or_default());
            paths::unfinished(&bucket, &[("key", &key), ("upload", &upload)])
        });
        let first_url = (!first).then(|| paths::unfinished(&bucket, &[]));
        let rows = found.uploads.into_iter().map(|open| Row { open }).collect();
        Self { layout, bucket, rows, incomplete: found.incomplete, first_url, next_url }
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.next_url.is_none() && self.first_url.is_none()
    }

    fn deletion_url(&self) -> String {
        paths::unfinished_deletion(&self.bucket)
    }

    fn bucket_url(&self) -> String {
        paths::bucket(&self.bucket)
    }
}

#[derive(Template)]
#[template(path = "pages/unfinished_confirm.html")]
pub struct ConfirmPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub row: Row,
}

impl ConfirmPage {
    fn url(&self) -> String {
        paths::unfinished_deletion(&self.bucket)
    }

    fn back_url(&self) -> String {
        paths::unfinished(&self.bucket, &[])
    }
}

/// The cursor of the store.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct IndexQuery {
    key: String,
    upload: String,
}

#[derive(Deserialize)]
pub struct DeleteForm {
    k: String,
    upload: String,
    #[serde(default)]
    confirm: String,
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>, bucket: Bucket, query: Query) -> Result<HttpResponse> {
    let query: IndexQuery = query.read()?;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let marker = OpenMarker { key: some(query.key), upload_id: some(query.upload) };
    let first = marker == OpenMarker::default();
    let found = multipart_list::unfinished(&ctx, &bucket.0, (!first).then_some(&marker)).await?;
    let layout = viewer.layout("Unfinished uploads", Section::Buckets).with_parents(breadcrumbs::bucket(&bucket.0));
    ok(&IndexPage::of(layout, bucket.0, found, first))
}

pub async fn delete(editor: Editor, ctx: web::Data<Context>, bucket: Bucket, form: Form<DeleteForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let key = query::key_of_field(&form.k)?;
    if form.upload.is_empty() || form.upload.len() > MAX_ID_LENGTH || form.upload.chars().any(char::is_control) {
        return Err(Error::BadRequest("The form contains an invalid upload ID.".to_owned()));
    }
    let back = paths::unfinished(&bucket.0, &[]);
    let name = name_markup::plain(key.name());
    if form.confirm != "1" {
        return match multipart_list::one(&ctx, &bucket.0, &key, &form.upload).await {
            Ok(open) => with_status(StatusCode::OK, &confirm_page(&editor, bucket.0, open)),
            Err(domain::Error::NotFound(why)) => Ok(editor.redirect(&back, Flash::warn(why))),
            Err(error) => Err(error.into()),
        };
    }
    match multipart_list::abort(&ctx, &editor.actor, &bucket.0, &key, &form.upload).await {
        Ok(()) => Ok(editor.redirect(&back, Flash::done(format!("Upload of {name} aborted. Its parts were deleted.")))),
        Err(domain::Error::Conflict(why)) => Ok(editor.redirect(&back, Flash::warn(why))),
        Err(error) => Err(error.into()),
    }
}

fn confirm_page(editor: &SignedIn, bucket: BucketName, open: MultipartUpload) -> ConfirmPage {
    let title = format!("Abort the upload of {}?", name_markup::plain(open.key.name()));
    let mut parents: Vec<_> = breadcrumbs::bucket(&bucket).into();
    parents.push(Crumb::link("Unfinished uploads", paths::unfinished(&bucket, &[])));
    ConfirmPage { layout: editor.layout(title, Section::Buckets).with_parents(parents), bucket, row: Row { open } }
}
