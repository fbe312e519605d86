//! The first start: one admin, made once, by token or by `ADMIN_EMAIL` and `ADMIN_PASSWORD`.

use super::actor::Actor;
use super::{Context, Result};

pub struct FirstUser<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub password: &'a str,
}

/// No user exists yet.
pub async fn is_needed(ctx: &Context) -> Result<bool> {
    todo!()
}

/// Makes the first admin. NotFound once done; Refused{"token" | "email" | "name" | "password"}.
pub async fn complete(ctx: &Context, visitor: &Actor, token: &str, first: FirstUser<'_>) -> Result<()> {
    todo!()
}

/// A new token for the log, its hash kept in Postgres; `None` once set up.
pub async fn new_token(ctx: &Context) -> Result<Option<String>> {
    todo!()
}

/// Makes the admin that the environment names, where no user exists yet. Whether one was made.
pub async fn from_environment(ctx: &Context) -> Result<bool> {
    todo!()
}
