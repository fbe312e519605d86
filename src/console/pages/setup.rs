//! `/setup`: creates the first admin, once, for the holder of the setup token in the log.

use actix_web::{HttpResponse, http::header::LOCATION, web};
use askama::Template;
use serde::Deserialize;

use super::{Refusal, ok, unprocessable};
use crate::console::http::error::{Error, Result};
use crate::console::http::query::{Form, Query};
use crate::console::http::session::Visitor;
use crate::console::pages::refused_page;
use crate::console::view::filters;
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::domain::setup::{self, FirstUser};
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/setup.html")]
pub struct NewPage {
    pub layout: Layout,
    pub token: String,
    pub email: String,
    pub name: String,
    pub refusal: Refusal,
}

refused_page!(NewPage);

#[derive(Deserialize)]
pub struct NewQuery {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
pub struct CreateForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

pub async fn new(visitor: Visitor, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    if !setup::is_needed(&ctx).await? {
        return Err(Error::NotFound("Larder is already set up. Sign in instead.".to_owned()));
    }
    let query: NewQuery = query.read()?;
    ok(&NewPage {
        layout: visitor.layout("Set up Larder", Section::None),
        token: query.token,
        email: String::new(),
        name: String::new(),
        refusal: Refusal::default(),
    })
}

pub async fn create(visitor: Visitor, ctx: web::Data<Context>, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let first = FirstUser { email: &form.email, name: &form.name, password: &form.password };
    match setup::complete(&ctx, &visitor.actor, &form.token, first).await {
        Ok(()) => {
            let flash = Flash::done("Setup complete. Sign in with your new e-mail and password.");
            Ok(HttpResponse::SeeOther().insert_header((LOCATION, "/session")).cookie(visitor.frame.flash_cookie(&flash)).finish())
        }
        Err(domain::Error::Refused { field, why }) => unprocessable(&NewPage {
            layout: visitor.layout("Set up Larder", Section::None),
            token: form.token,
            email: form.email,
            name: form.name,
            refusal: Refusal { field, why },
        }),
        Err(error) => Err(error.into()),
    }
}
