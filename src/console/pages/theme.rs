//! `POST /theme`: sets the theme (light, dark or system) in a cookie.

use actix_web::{HttpResponse, http::header::LOCATION};
use serde::Deserialize;

use crate::console::http::error::Result;
use crate::console::http::query::Form;
use crate::console::http::session::Visitor;
use crate::console::view::paths::safe_next;
use crate::console::view::theme::Theme;

#[derive(Deserialize)]
pub struct ThemeForm {
    theme: String,
    #[serde(default)]
    next: String,
}

pub async fn update(visitor: Visitor, form: Form<ThemeForm>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let cookie = Theme::parse(&form.theme).cookie(visitor.frame.https);
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, safe_next(&form.next))).cookie(cookie).finish())
}
