//! `/uploads`: the files uploaded through Larder; `/uploads/new`: the upload form.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Refusal, ok};
use crate::console::http::error::Result;
use crate::console::http::query::Query;
use crate::console::http::session::{Editor, Viewer};
use crate::console::pages::refused_page;
use crate::console::view::breadcrumbs::Crumb;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::upload_row::UploadRow;
use crate::console::view::{filters, paths};
use crate::domain::names::BucketName;
use crate::domain::uploads::{self, FileState, Filter, Page};
use crate::domain::{Context, buckets};

/// The states that the filter offers, with their labels.
const STATES: [(FileState, &str, &str); 5] = [
    (FileState::Ready, "ready", "Stored"),
    (FileState::Failed, "failed", "Failed"),
    (FileState::Cancelled, "cancelled", "Cancelled"),
    (FileState::Superseded, "superseded", "Replaced"),
    (FileState::Deleted, "deleted", "Deleted"),
];

const MAX_LINKS: usize = 5;

#[derive(Template)]
#[template(path = "pages/uploads.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub unfinished: Vec<UploadRow>,
    pub finished: Vec<UploadRow>,
    pub q: String,
    pub bucket: String,
    pub state: String,
    pub today_files: i64,
    pub today_bytes: i64,
    pub next_url: Option<String>,
    pub first_url: Option<String>,
    pub refusal: Refusal,
}

refused_page!(IndexPage);

impl IndexPage {
    fn is_filtered(&self) -> bool {
        !(self.q.is_empty() && self.bucket.is_empty() && self.state.is_empty())
    }

    /// No upload has ever finished.
    fn has_nothing(&self) -> bool {
        self.finished.is_empty() && !self.is_filtered() && self.first_url.is_none()
    }

    fn is_empty(&self) -> bool {
        self.has_nothing() && self.unfinished.is_empty()
    }

    /// Links to all unfinished uploads of each bucket in the list.
    fn unfinished_links(&self) -> Vec<(String, String)> {
        let names: BTreeSet<&str> = self.unfinished.iter().map(|row| row.file.bucket.as_str()).collect();
        let buckets = names.into_iter().filter_map(BucketName::parse).take(MAX_LINKS);
        buckets.map(|bucket| (bucket.to_string(), paths::unfinished(&bucket, &[]))).collect()
    }

    fn states(&self) -> [(FileState, &'static str, &'static str); 5] {
        STATES
    }
}

#[derive(Template)]
#[template(path = "pages/uploads_new.html")]
pub struct NewPage {
    pub layout: Layout,
    pub buckets: Vec<String>,
    pub bucket: Option<BucketName>,
    pub prefix: String,
    pub overwrite: bool,
    pub max_size: u64,
    pub keep_days: u64,
}

impl NewPage {
    fn action(&self) -> String {
        self.bucket.as_ref().map(|bucket| paths::uploads_into(bucket, &self.prefix, self.overwrite)).unwrap_or_default()
    }

    fn target(&self) -> String {
        self.bucket.as_ref().map(|bucket| format!("{bucket}/{}", self.prefix)).unwrap_or_default()
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.bucket.as_ref().is_some_and(|bucket| bucket.as_str() == name)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct IndexQuery {
    q: String,
    bucket: String,
    state: String,
    cursor: String,
}

#[derive(Deserialize)]
pub struct NewQuery {
    #[serde(default)]
    bucket: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    overwrite: String,
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: IndexQuery = query.read()?;
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let bucket = BucketName::parse(&query.bucket);
    let refused = bucket.is_none() && !query.bucket.is_empty();
    let filter = Filter {
        q: some(&query.q),
        bucket: bucket.map(|bucket| bucket.to_string()),
        state: STATES.iter().find(|(_, name, _)| *name == query.state).map(|(state, _, _)| *state),
        cursor: some(&query.cursor),
    };
    let mut page = uploads::list(&ctx, &viewer.actor, &filter).await?;
    if refused {
        (page.finished, page.next) = (Vec::new(), None);
        let refusal = Refusal { field: "bucket", why: "This is not a valid bucket name.".to_owned() };
        let page = index_page(viewer.layout("Uploads", Section::Uploads), query, page);
        return super::unprocessable(&IndexPage { refusal, ..page });
    }
    ok(&index_page(viewer.layout("Uploads", Section::Uploads), query, page))
}

pub fn index_page(layout: Layout, query: IndexQuery, page: Page) -> IndexPage {
    let at = |cursor: &str| paths::uploads(&[("q", &query.q), ("bucket", &query.bucket), ("state", &query.state), ("cursor", cursor)]);
    IndexPage {
        layout,
        unfinished: page.pending.into_iter().map(UploadRow::of).collect(),
        finished: page.finished.into_iter().map(UploadRow::of).collect(),
        today_files: page.today_files,
        today_bytes: page.today_bytes,
        next_url: page.next.as_deref().map(at),
        first_url: (!query.cursor.is_empty()).then(|| at("")),
        q: query.q,
        bucket: query.bucket,
        state: query.state,
        refusal: Refusal::default(),
    }
}

pub async fn new(editor: Editor, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: NewQuery = query.read()?;
    let mut names: Vec<String> = buckets::list(&ctx).await?.buckets.iter().map(|bucket| bucket.name.to_string()).collect();
    let requested = BucketName::parse(&query.bucket);
    if let Some(bucket) = requested.as_ref().filter(|bucket| !names.iter().any(|name| name == bucket.as_str())) {
        names.push(bucket.to_string());
    }
    let bucket = requested.or_else(|| names.first().and_then(|name| BucketName::parse(name)));
    ok(&NewPage {
        layout: editor.layout("Upload files", Section::Uploads).with_parents([Crumb::link("Uploads", "/uploads")]),
        buckets: names,
        bucket,
        prefix: super::folder(query.prefix),
        overwrite: query.overwrite == "1",
        max_size: uploads::largest(&ctx.config.upload),
        keep_days: ctx.config.upload.keep.as_secs() / 86_400,
    })
}
