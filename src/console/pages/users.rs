//! `/users`: accounts and their roles.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::Refusal;
use crate::console::http::error::{Error, Result};
use crate::console::http::query::Form;
use crate::console::http::session::{Admin, SignedIn};
use crate::console::view::flash::Flash;
use crate::console::view::layout::{Layout, Section};
use crate::console::view::{filters, paths};
use crate::domain::actor::Role;
use crate::domain::users::{self, NewUser, User};
use crate::domain::{self, Context};

#[derive(Template)]
#[template(path = "pages/users.html")]
pub struct IndexPage {
    pub layout: Layout,
    pub users: Vec<User>,
    pub me: Uuid,
    pub form: CreateForm,
    pub refusal: Refusal,
    /// The user whose new password was rejected.
    pub refused: Option<Uuid>,
    /// The reason why an action on a user failed.
    pub alert: Option<String>,
}

impl IndexPage {
    pub fn of(layout: Layout, users: Vec<User>, me: Uuid) -> Self {
        Self { layout, users, me, form: CreateForm::default(), refusal: Refusal::default(), refused: None, alert: None }
    }

    fn roles(&self) -> [(&'static str, &'static str); 3] {
        [("viewer", "Viewer: browse and download"), ("editor", "Editor: also upload and delete"), ("admin", "Admin: full access")]
    }

    fn short_roles(&self) -> [(&'static str, &'static str); 3] {
        [("viewer", "Viewer"), ("editor", "Editor"), ("admin", "Admin")]
    }

    fn url(&self, user: &User, what: &str) -> String {
        paths::user(user.id, what)
    }

    fn password_refusal(&self, user: &User) -> &str {
        if self.refused == Some(user.id) { self.refusal.of("password") } else { "" }
    }

    /// The reason shown next to a field of the form that adds a user.
    fn form_refusal(&self, field: &str) -> &str {
        if self.refused.is_none() { self.refusal.of(field) } else { "" }
    }

    fn is_adding(&self) -> bool {
        self.refused.is_none() && !self.refusal.why.is_empty()
    }
}

impl super::RefusedPage for IndexPage {
    fn why(&self) -> &str {
        self.alert.as_deref().unwrap_or(&self.refusal.why)
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct CreateForm {
    pub email: String,
    pub name: String,
    pub role: String,
    password: String,
}

#[derive(Deserialize)]
pub struct RoleForm {
    role: String,
}

#[derive(Deserialize)]
pub struct StatusForm {
    status: String,
}

#[derive(Deserialize)]
pub struct PasswordForm {
    password: String,
}

pub async fn index(admin: Admin, ctx: web::Data<Context>) -> Result<HttpResponse> {
    super::ok(&page(&admin, &ctx).await?)
}

pub async fn create(admin: Admin, ctx: web::Data<Context>, form: Form<CreateForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let Some(role) = Role::parse(&form.role) else {
        return refused(&admin, &ctx, form, Refusal { field: "role", why: "Choose a role.".to_owned() }).await;
    };
    let new = NewUser { email: &form.email, name: &form.name, role, password: &form.password };
    match users::create(&ctx, &admin.actor, new).await {
        Ok(user) => Ok(admin.redirect("/users", Flash::done(format!("User {} added.", user.name)))),
        Err(domain::Error::Refused { field, why }) => refused(&admin, &ctx, form, Refusal { field, why }).await,
        Err(error) => Err(error.into()),
    }
}

pub async fn set_role(admin: Admin, ctx: web::Data<Context>, id: web::Path<String>, form: Form<RoleForm>) -> Result<HttpResponse> {
    let (id, form) = (parse(&id)?, form.read().await?);
    let role = Role::parse(&form.role).ok_or_else(|| Error::BadRequest("Unknown role.".to_owned()))?;
    let done = users::set_role(&ctx, &admin.actor, id, role).await;
    answer(&admin, &ctx, done, "Role changed.").await
}

pub async fn set_status(admin: Admin, ctx: web::Data<Context>, id: web::Path<String>, form: Form<StatusForm>) -> Result<HttpResponse> {
    let (id, form) = (parse(&id)?, form.read().await?);
    match form.status.as_str() {
        "disabled" => {
            let done = users::disable(&ctx, &admin.actor, id).await;
            answer(&admin, &ctx, done, "User disabled and signed out everywhere.").await
        }
        "active" => {
            let done = users::enable(&ctx, &admin.actor, id).await;
            answer(&admin, &ctx, done, "User enabled.").await
        }
        _ => Err(Error::BadRequest("Status must be active or disabled.".to_owned())),
    }
}

pub async fn set_password(admin: Admin, ctx: web::Data<Context>, id: web::Path<String>, form: Form<PasswordForm>) -> Result<HttpResponse> {
    let (id, form) = (parse(&id)?, form.read().await?);
    match users::set_password(&ctx, &admin.actor, id, &form.password).await {
        Err(domain::Error::Refused { why, .. }) => {
            let page = page(&admin, &ctx).await?;
            super::unprocessable(&IndexPage { refusal: Refusal { field: "password", why }, refused: Some(id), ..page })
        }
        done => answer(&admin, &ctx, done, "Password set. The user was signed out everywhere.").await,
    }
}

fn parse(id: &str) -> Result<Uuid> {
    Uuid::parse_str(id).map_err(|_| Error::NotFound("User not found.".to_owned()))
}

async fn page(admin: &SignedIn, ctx: &Context) -> Result<IndexPage> {
    let people = users::list(ctx, &admin.actor).await?;
    Ok(IndexPage::of(admin.layout("Users", Section::Users), people, admin.session.user))
}

async fn refused(admin: &SignedIn, ctx: &Context, form: CreateForm, refusal: Refusal) -> Result<HttpResponse> {
    let page = page(admin, ctx).await?;
    super::unprocessable(&IndexPage { form, refusal, ..page })
}

/// 303 on success, 409 on the same page if the action is not allowed.
async fn answer(admin: &SignedIn, ctx: &Context, done: domain::Result<()>, sentence: &str) -> Result<HttpResponse> {
    match done {
        Ok(()) => Ok(admin.redirect("/users", Flash::done(sentence))),
        Err(domain::Error::Conflict(why)) => {
            let page = page(admin, ctx).await?;
            super::refused(StatusCode::CONFLICT, &IndexPage { alert: Some(why), ..page })
        }
        Err(error) => Err(error.into()),
    }
}
