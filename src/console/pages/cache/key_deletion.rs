//! `/cache/key/deletion`: deletes a key after confirmation.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::key::name;
use super::parents;
use crate::console::http::body::BULK;
use crate::console::http::error::Result;
use crate::console::http::query::Form;
use crate::console::http::session::Admin;
use crate::console::pages::ok;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::Context;
use crate::domain::keyspace::{self, Viewed};

#[derive(Deserialize)]
pub struct DeleteForm {
    k: Option<String>,
    #[serde(default)]
    confirm: String,
}

#[derive(Template)]
#[template(path = "pages/cache/key_delete.html")]
pub struct ConfirmPage {
    pub layout: Layout,
    pub viewed: Viewed,
}

impl ConfirmPage {
    fn field(&self) -> String {
        paths::bytes_field(self.viewed.name.as_bytes())
    }

    fn back_url(&self) -> String {
        paths::cache_key(self.viewed.name.as_bytes(), &[])
    }
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, form: Form<DeleteForm, BULK>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let name = name(form.k.as_deref())?;
    if form.confirm != "1" {
        let viewed = keyspace::view(&ctx, &ctx.redis.browse(), name, "").await?;
        let layout = admin.layout("Delete key?", Section::Cache).with_parents(parents("Keys", "/cache/keys"));
        return ok(&ConfirmPage { layout, viewed });
    }
    let message = if keyspace::delete(&ctx, &admin.actor, &name).await? {
        Flash::done(format!("{name} deleted."))
    } else {
        Flash::warn(format!("{name} had already been deleted."))
    };
    Ok(admin.redirect("/cache/keys", message))
}
