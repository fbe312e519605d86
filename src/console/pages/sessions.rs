//! `/session`: sign-in and sign-out.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{RefusedPage, ok, refused, unprocessable};
use crate::console::http::error::Result;
use crate::console::http::query::{Form, Query};
use crate::console::http::session::{self, Visitor, see_other};
use crate::console::view::filters;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::paths::safe_next;
use crate::domain::health::{Service, State};
use crate::domain::sign_in::{SignIn, sign_in};
use crate::domain::{Context, sessions, setup};

#[derive(Template)]
#[template(path = "pages/sessions.html")]
pub struct NewPage {
    pub layout: Layout,
    pub email: String,
    pub next: String,
    /// One message for both fields, so that it does not reveal which one is wrong.
    pub refusal: String,
    /// No user exists yet.
    pub needs_setup: bool,
}

#[derive(Deserialize)]
pub struct NewQuery {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub struct CreateForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

pub async fn new(visitor: Visitor, ctx: web::Data<Context>, query: Query) -> Result<HttpResponse> {
    let query: NewQuery = query.read()?;
    if visitor.is_signed_in() {
        return Ok(see_other(safe_next(&query.next)));
    }
    let needs_setup = needs_setup(&ctx).await;
    ok(&page(&visitor, String::new(), &query.next, String::new(), needs_setup))
}

pub async fn create(visitor: Visitor, ctx: web::Data<Context>, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    match sign_in(&ctx, &visitor.actor, &form.email, &form.password, visitor.token.as_deref()).await? {
        SignIn::Success { token, lifetime } => Ok(HttpResponse::SeeOther()
            .insert_header((LOCATION, safe_next(&form.next)))
            .cookie(session::cookie(&ctx.config, token, lifetime))
            .finish()),
        SignIn::WrongCredentials => {
            let why = "Incorrect e-mail or password. Check both and try again.".to_owned();
            unprocessable(&page(&visitor, form.email, &form.next, why, false))
        }
        SignIn::Blocked(wait) => {
            let why = format!("Too many failed attempts. Try again in {}.", wait_text(wait));
            too_many(page(&visitor, form.email, &form.next, why, false), wait)
        }
        SignIn::Busy(wait) => {
            let why = format!("Too many people are signing in at the same time. Try again in {}.", wait_text(wait));
            too_many(page(&visitor, form.email, &form.next, why, false), wait)
        }
    }
}

pub async fn end(visitor: Visitor, ctx: web::Data<Context>) -> Result<HttpResponse> {
    if let Some(token) = &visitor.token {
        sessions::end(&ctx, token, visitor.actor.address, &visitor.actor.request_id).await?;
    }
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, "/session")).cookie(session::removal(&ctx.config)).finish())
}

fn too_many(page: NewPage, wait: Duration) -> Result<HttpResponse> {
    let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &page)?;
    response.headers_mut().insert(RETRY_AFTER, wait.as_secs().max(1).into());
    Ok(response)
}

impl RefusedPage for NewPage {
    fn why(&self) -> &str {
        &self.refusal
    }
}

fn page(visitor: &Visitor, email: String, next: &str, refusal: String, needs_setup: bool) -> NewPage {
    let next = safe_next(next).to_owned();
    NewPage { layout: visitor.layout("Sign in", Section::None), email, next, refusal, needs_setup }
}

/// Only for a hint on the page, so errors and timeouts are ignored.
async fn needs_setup(ctx: &Context) -> bool {
    if ctx.health.one(Service::Postgres).state == State::Down {
        return false;
    }
    let answer = tokio::time::timeout(Duration::from_secs(1), setup::is_needed(ctx)).await;
    matches!(answer, Ok(Ok(true)))
}

fn wait_text(wait: Duration) -> String {
    match wait.as_secs() {
        0..=1 => "1 second".to_owned(),
        seconds @ 2..=90 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}
