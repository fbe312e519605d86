//! `/cache/key/expiry`: sets or removes the expiry of a key.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::key::{ShowPage, ShowQuery, name, page};
use super::keys::ttl_text;
use crate::console::http::body::BULK;
use crate::console::http::error::Result;
use crate::console::http::query::Form;
use crate::console::http::session::Admin;
use crate::console::pages::{Refusal, unprocessable};
use crate::console::view::flash::Flash;
use crate::console::view::paths;
use crate::domain::keyspace::{self, Ttl};
use crate::domain::{self, Context};

#[derive(Deserialize)]
pub struct ExpiryForm {
    k: Option<String>,
    ttl: String,
    #[serde(default)]
    unit: String,
}

impl ExpiryForm {
    fn ttl(&self) -> std::result::Result<Duration, Refusal> {
        let refused = |why: &str| Refusal { field: "ttl", why: why.to_owned() };
        let seconds = match self.unit.as_str() {
            "" | "seconds" => 1,
            "minutes" => 60,
            "hours" => 3600,
            "days" => 86_400,
            _ => return Err(refused("Choose a unit from the list.")),
        };
        let number: u64 = self.ttl.trim().parse().map_err(|_| refused("Enter a whole number."))?;
        Ok(Duration::from_secs(number.saturating_mul(seconds)))
    }
}

pub async fn create(admin: Admin, ctx: web::Data<Context>, form: Form<ExpiryForm, BULK>) -> Result<HttpResponse> {
    let form = form.read().await?;
    let name = name(form.k.as_deref())?;
    let outcome = match form.ttl() {
        Ok(ttl) => match keyspace::set_ttl(&ctx, &admin.actor, &name, Some(ttl)).await {
            Ok(()) => Ok(ttl),
            Err(domain::Error::Refused { field, why }) => Err(Refusal { field, why }),
            Err(error) => return Err(error.into()),
        },
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(ttl) => {
            let message = format!("{name} expires in {}.", ttl_text(Ttl::Remaining(ttl)));
            Ok(admin.redirect(&paths::cache_key(name.as_bytes(), &[]), Flash::done(message)))
        }
        Err(refusal) => {
            let again = page(&admin, &ctx, ShowQuery { k: form.k.clone(), ..ShowQuery::default() }).await?;
            unprocessable(&ShowPage { refusal, typed: (form.ttl, form.unit), ..again })
        }
    }
}

#[derive(Deserialize)]
pub struct RemovalForm {
    k: Option<String>,
}

pub async fn delete(admin: Admin, ctx: web::Data<Context>, form: Form<RemovalForm, BULK>) -> Result<HttpResponse> {
    let name = name(form.read().await?.k.as_deref())?;
    keyspace::set_ttl(&ctx, &admin.actor, &name, None).await?;
    Ok(admin.redirect(&paths::cache_key(name.as_bytes(), &[]), Flash::done(format!("{name} no longer expires."))))
}
