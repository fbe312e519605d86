//! `POST /buckets/{bucket}/links`: creates a temporary download link for an object, for people without an account.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::console::http::error::Result;
use crate::console::http::query::{self, Bucket, Form};
use crate::console::http::session::Editor;
use crate::console::pages::{Refusal, unprocessable, with_status};
use crate::console::view::layout::Layout;
use crate::console::view::{filters, paths};
use crate::domain::names::{BucketName, ObjectKey};
use crate::domain::objects::{self, SharedLink};
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/object/links.html")]
pub struct ShowPage {
    pub layout: Layout,
    pub bucket: BucketName,
    pub key: ObjectKey,
    pub link: SharedLink,
    /// The host of the link, if only programs on that machine can reach it.
    pub local_host: Option<String>,
}

impl ShowPage {
    fn object_url(&self) -> String {
        paths::object(&self.bucket, &self.key)
    }
}

#[derive(Deserialize)]
pub struct CreateForm {
    #[serde(default)]
    k: String,
    #[serde(default)]
    expires: String,
}

pub async fn create(editor: Editor, ctx: web::Data<Context>, bucket: Bucket, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let key = query::key_of_field(&form.k)?;
    // Invalid numbers are rejected like numbers out of range.
    let expires = form.expires.parse().unwrap_or(0);
    match objects::share(&ctx, &editor.actor, &bucket.0, &key, expires).await {
        Ok(link) => {
            let layout = super::layout(&editor, "Link", &bucket.0, &key);
            let local_host = objects::local_link_host(&ctx);
            with_status(StatusCode::OK, &ShowPage { layout, bucket: bucket.0, key, link, local_host })
        }
        Err(domain::Error::Refused { why, .. }) => {
            let page = super::page(&editor, &ctx, (&bucket.0, &key), None).await?;
            unprocessable(&super::ShowPage { refusal: Refusal { field: "expires", why }, ..page })
        }
        Err(error) => Err(error.into()),
    }
}
