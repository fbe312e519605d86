//! `/buckets/{bucket}/settings`: details of a bucket, features of its store, and the form that deletes the bucket.
//! `/buckets/{bucket}/abilities`: checks the features again.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

mod abilities;

use super::{Refusal, ok, refused};
use crate::console::http::error::Result;
use crate::console::http::query::{Bucket, Form};
use crate::console::http::session::{Admin, Editor, SignedIn, Viewer};
use crate::console::pages::refused_page;
use crate::console::view::badge::versioning_label;
use crate::console::view::breadcrumbs;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::buckets::{self, Settings};
use crate::domain::health::Service;
use crate::domain::names::BucketName;
use crate::domain::problem::Problem;
use crate::domain::{self, Context};
use abilities::AbilityRow;

#[derive(Template)]
#[template(path = "pages/settings.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub settings: Settings,
    pub typed: String,
    pub refusal: Refusal,
}

refused_page!(ShowPage);

impl ShowPage {
    fn versioning(&self) -> &'static str {
        let unsupported = self.settings.probed.as_ref().is_some_and(|probed| probed.abilities.versioning.is_no());
        let known = self.settings.bucket.as_ref().and_then(|bucket| bucket.versioning);
        if unsupported && known.is_none() { "Not supported by this store" } else { versioning_label(known) }
    }

    fn abilities(&self) -> Vec<AbilityRow> {
        self.settings.probed.as_ref().map(|probed| abilities::rows(probed.abilities.clone())).unwrap_or_default()
    }

    fn browser_url(&self) -> String {
        paths::bucket(&self.settings.name)
    }

    fn abilities_url(&self) -> String {
        paths::abilities(&self.settings.name)
    }

    fn unfinished_url(&self) -> String {
        paths::unfinished(&self.settings.name, &[])
    }

    fn deletion_url(&self) -> String {
        paths::bucket_deletion(&self.settings.name)
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

pub async fn probe(editor: Editor, ctx: web::Data<Context>, bucket: Bucket) -> Result<HttpResponse> {
    let flash = match domain::abilities::probe(&ctx, &editor.actor, &bucket.0).await {
        Ok(_) => Flash::done("Store features checked again. The results are shown below."),
        Err(domain::Error::Conflict(why)) => Flash::warn(why),
        Err(error) => match error.into() {
            Problem::Unavailable { service: Service::S3, .. } => {
                Flash::bad("The store did not respond, so its features could not be checked. Earlier results are shown below.")
            }
            problem => return Err(problem.into()),
        },
    };
    Ok(editor.redirect(&paths::settings(&bucket.0), flash))
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, bucket: Bucket, form: Form<DeleteForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let (status, why) = match buckets::delete(&ctx, &admin.actor, &bucket.0, &form.name).await {
        Ok(()) => return Ok(admin.redirect("/buckets", Flash::done(format!("Bucket {} deleted.", bucket.0)))),
        Err(domain::Error::Refused { why, .. }) => (StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(domain::Error::Conflict(why)) => (StatusCode::CONFLICT, why),
        Err(error) => return Err(error.into()),
    };
    let page = page(&admin, &ctx, &bucket.0).await?;
    refused(status, &ShowPage { typed: form.name, refusal: Refusal { field: "name", why }, ..page })
}

async fn page(person: &SignedIn, ctx: &Context, bucket: &BucketName) -> Result<ShowPage> {
    let settings = buckets::settings(ctx, bucket).await?;
    let layout = person.layout("Settings", Section::Buckets).with_parents(breadcrumbs::bucket(bucket));
    Ok(ShowPage { layout, settings, typed: String::new(), refusal: Refusal::default() })
}
