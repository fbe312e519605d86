//! `POST /buckets/{bucket}/folders`: creates a folder, an empty object whose key ends with a slash.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::console::http::error::Result;
use crate::console::http::query::{Bucket, Form, Query};
use crate::console::http::session::Editor;
use crate::console::pages::refused;
use crate::console::view::flash::Flash;
use crate::console::view::name_markup;
use crate::console::view::paths;
use crate::domain::{self, Context, objects};

#[derive(Deserialize)]
pub struct CreateQuery {
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
pub struct CreateForm {
    #[serde(default)]
    name: String,
}

pub async fn create(
    editor: Editor,
    ctx: web::Data<Context>,
    bucket: Bucket,
    (query, form): (Query, Form<CreateForm>),
) -> Result<HttpResponse> {
    let CreateQuery { prefix } = query.read()?;
    let prefix = crate::console::pages::folder(prefix);
    let CreateForm { name } = form.read().await?;
    let (status, why) = match objects::create_folder(&ctx, &editor.actor, &bucket.0, &prefix, &name).await {
        Ok(made) => {
            let flash = Flash::done(format!("Folder {} created.", name_markup::plain(name.trim_end_matches('/'))));
            return Ok(editor.redirect(&paths::folder(&bucket.0, &made), flash));
        }
        Err(domain::Error::Refused { why, .. }) => (StatusCode::UNPROCESSABLE_ENTITY, why),
        Err(domain::Error::Conflict(why)) => (StatusCode::CONFLICT, why),
        Err(error) => return Err(error.into()),
    };
    refused(status, &super::with_refused_folder(&editor, &ctx, (bucket.0, prefix), (name, why)).await?)
}
