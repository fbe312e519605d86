//! `/buckets`: all buckets with their counted contents, and the form that creates one.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Refusal, ok, refused};
use crate::config::Config;
use crate::console::http::error::Result;
use crate::console::http::query::{Form, Query};
use crate::console::http::session::{Admin, SignedIn, Viewer};
use crate::console::pages::refused_page;
use crate::console::view::badge::versioning_label;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::buckets::{self, Bucket, BucketList};
use crate::domain::{self, Context, limits};

#[derive(Template)]
#[template(path = "pages/buckets.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub store: String,
    pub rows: Vec<Row>,
    pub all: usize,
    pub listing_denied: bool,
    pub denied: Vec<String>,
    pub objects: u64,
    pub bytes: u64,
    /// Buckets without counts, which the totals exclude.
    pub uncounted: usize,
    pub counted_at: Option<DateTime<Utc>>,
    pub starts: String,
    pub name: String,
    pub refusal: Refusal,
}

refused_page!(IndexPage);

pub struct Row {
    pub bucket: Bucket,
    /// Share of the total size, in percent.
    pub share: u64,
}

impl Row {
    pub fn url(&self) -> String {
        paths::bucket(&self.bucket.name)
    }

    pub fn upload_url(&self) -> String {
        paths::new_upload(Some(&self.bucket.name), "")
    }

    pub fn settings_url(&self) -> String {
        paths::settings(&self.bucket.name)
    }

    pub fn is_empty(&self) -> bool {
        self.bucket.stats.as_ref().is_some_and(|stats| stats.objects == 0)
    }

    pub fn versioning(&self) -> &'static str {
        versioning_label(self.bucket.versioning)
    }
}

impl IndexPage {
    pub fn of(layout: Layout, store: String, list: BucketList, starts: String) -> Self {
        let stats = || list.buckets.iter().filter_map(|bucket| bucket.stats.as_ref());
        let bytes: u64 = stats().map(|stats| stats.bytes).sum();
        let objects = stats().map(|stats| stats.objects).sum();
        let counted_at = stats().map(|stats| stats.counted_at).min();
        let (all, uncounted) = (list.buckets.len(), list.buckets.len() - stats().count());
        let denied = list.buckets.iter().filter(|bucket| bucket.denied).map(|bucket| bucket.name.to_string()).collect();
        let share =
            |bucket: &Bucket| bucket.stats.as_ref().map_or(0, |stats| stats.bytes.saturating_mul(100).checked_div(bytes).unwrap_or(0));
        let shown = list.buckets.into_iter().filter(|bucket| bucket.name.as_str().starts_with(&starts));
        let rows = shown.map(|bucket| Row { share: share(&bucket), bucket }).collect();
        Self {
            layout,
            store,
            rows,
            all,
            listing_denied: list.listing_denied,
            denied,
            objects,
            bytes,
            uncounted,
            counted_at,
            starts,
            name: String::new(),
            refusal: Refusal::default(),
        }
    }
}

#[derive(Deserialize)]
pub struct IndexQuery {
    #[serde(default)]
    starts: String,
}

#[derive(Deserialize)]
pub struct CreateForm {
    #[serde(default)]
    name: String,
}

pub async fn index(viewer: Viewer, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: IndexQuery = query.read()?;
    ok(&page(&viewer, &ctx, query.starts).await?)
}

pub async fn create(admin: Admin, ctx: web::Data<Context>, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let (status, why) = match buckets::create(&ctx, &admin.actor, &form.name).await {
        Ok(bucket) => return Ok(admin.redirect(&paths::bucket(&bucket), Flash::done(format!("Bucket {bucket} created.")))),
        Err(domain::Error::Refused { why, .. }) => (StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(domain::Error::Conflict(why)) => (StatusCode::CONFLICT, why),
        Err(error) => return Err(error.into()),
    };
    let mut page = page(&admin, &ctx, String::new()).await?;
    page.name = form.name;
    page.refusal = Refusal { field: "name", why };
    refused(status, &page)
}

pub async fn count(viewer: Viewer, ctx: web::Data<Context>) -> Result<HttpResponse> {
    let _slot = limits::admit_scan(&ctx, &viewer.actor).await?;
    buckets::count_again(&ctx).await?;
    Ok(viewer.redirect(
        "/buckets",
        Flash::done("Recount started. Large buckets take a few minutes; the numbers update as each bucket is counted."),
    ))
}

async fn page(person: &SignedIn, ctx: &Context, starts: String) -> Result<IndexPage> {
    let list = buckets::list(ctx).await?;
    Ok(IndexPage::of(person.layout("Buckets", Section::Buckets), store_description(&ctx.config), list, starts))
}

/// The object store, for the line below the title.
pub fn store_description(config: &Config) -> String {
    let region = &config.s3.region;
    match &config.s3.endpoint {
        Some(endpoint) => {
            let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
            format!("Object store {host}, region {region}.")
        }
        None => format!("Amazon S3, region {region}."),
    }
}
