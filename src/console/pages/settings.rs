//! `/buckets/{bucket}/settings`: what the store says of a bucket, and the form that deletes it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Refusal, buckets::versioning_word, ok, with_status};
use crate::console::error::Result;
use crate::console::layout::{Flash, Layout, Section};
use crate::console::query::{Bucket, Form};
use crate::console::session::{Admin, SignedIn, Viewer};
use crate::console::{filters, paths};
use crate::domain::buckets::{self, Settings};
use crate::domain::names::BucketName;
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/settings.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub settings: Settings,
    pub typed: String,
    pub refusal: Refusal,
}

impl ShowPage {
    fn versioning(&self) -> &'static str {
        versioning_word(self.settings.bucket.versioning)
    }

    fn browser_url(&self) -> String {
        paths::bucket(&self.settings.bucket.name)
    }

    fn deletion_url(&self) -> String {
        paths::bucket_deletion(&self.settings.bucket.name)
    }
}

#[derive(Deserialize)]
pub struct DeleteForm {
    #[serde(default)]
    name: String,
}

pub async fn show(viewer: Viewer, ctx: web::Data<Context>, bucket: Bucket) -> Result<HttpResponse> {
    ok(&page(&viewer, &ctx, &bucket.0).await?)
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, bucket: Bucket, form: Form<DeleteForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let (status, why) = match buckets::delete(&ctx, &admin.actor, &bucket.0, &form.name).await {
        Ok(()) => return Ok(admin.redirect("/buckets", Flash::done(format!("The bucket {} is deleted.", bucket.0)))),
        Err(domain::Error::Refused { why, .. }) => (StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(domain::Error::Conflict(why)) => (StatusCode::CONFLICT, why),
        Err(fault) => return Err(fault.into()),
    };
    let page = page(&admin, &ctx, &bucket.0).await?;
    with_status(status, &ShowPage { typed: form.name, refusal: Refusal { field: "name", why }, ..page })
}

async fn page(person: &SignedIn, ctx: &Context, bucket: &BucketName) -> Result<ShowPage> {
    let settings = buckets::settings(ctx, bucket).await?;
    let above = [("Buckets".to_owned(), "/buckets".to_owned()), (bucket.to_string(), paths::bucket(bucket))];
    let layout = person.layout("Settings", Section::Buckets).under(above);
    Ok(ShowPage { layout, settings, typed: String::new(), refusal: Refusal::default() })
}
