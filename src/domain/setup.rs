//! The first start: one admin, created once, with a setup token or from `ADMIN_EMAIL` and `ADMIN_PASSWORD`.

use chrono::TimeDelta;
use diesel::QueryResult;
use diesel::prelude::{ExpressionMethods, Insertable, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::actor::{Actor, FIRST_TENANT};
use super::audit::{self, Action, Outcome};
use super::secrets::{new_token, sha256};
use super::{Context, Error, Result, password, users as people};
use crate::clock;
use crate::schema::{setup_tokens, tenants, users};

pub struct FirstUser<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub password: &'a str,
}

#[derive(Insertable)]
#[diesel(table_name = setup_tokens)]
struct NewToken {
    id: Uuid,
    tenant_id: Uuid,
    token_hash: Vec<u8>,
}

/// How long a setup link is valid; every start creates a new one.
const TOKEN_TTL: TimeDelta = TimeDelta::days(1);

/// Whether no user exists yet.
pub async fn is_needed(ctx: &Context) -> Result<bool> {
    ctx.db.run(async |conn| Ok(no_user(conn).await?)).await
}

async fn no_user(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    Ok(users::table.limit(1).count().get_result::<i64>(conn).await? == 0)
}

enum Attempt {
    Created,
    AlreadyDone,
    WrongToken,
}

/// Creates the first admin. NotFound if one exists; Refused{"token" | "email" | "name" | "password"}.
pub async fn complete(ctx: &Context, visitor: &Actor, token: &str, first: FirstUser<'_>) -> Result<()> {
    if !is_needed(ctx).await? {
        return Err(Error::NotFound("Larder is already set up.".into()));
    }
    // Checked before the expensive hashing, which must require a valid token.
    if !is_valid(ctx, token).await? {
        return Err(wrong_token());
    }
    let (email, name) = people::validate(first.email, first.name, first.password)?;
    let hash = password::hash(first.password).await?;
    let actor = Actor { label: name.to_owned(), ..visitor.clone() };
    match create(ctx, &actor, Some(token), &email, name, hash).await? {
        Attempt::Created => Ok(()),
        Attempt::AlreadyDone => Err(Error::NotFound("Larder is already set up.".into())),
        Attempt::WrongToken => Err(wrong_token()),
    }
}

fn wrong_token() -> Error {
    Error::refused("token", "This setup link is invalid or expired. Use the newest one from Larder's log.")
}

/// Whether the token was issued here and is less than a day old.
async fn is_valid(ctx: &Context, token: &str) -> Result<bool> {
    let hash = sha256(token.as_bytes());
    ctx.db.run(async |conn| Ok(known(conn, hash).await?)).await
}

async fn known(conn: &mut AsyncPgConnection, hash: Vec<u8>) -> QueryResult<bool> {
    let fresh = setup_tokens::table.filter(setup_tokens::token_hash.eq(hash)).filter(setup_tokens::created_at.gt(clock::now() - TOKEN_TTL));
    diesel::select(diesel::dsl::exists(fresh)).get_result(conn).await
}

/// Only one caller wins: the tenant's row is locked while checking that no user exists.
async fn create(ctx: &Context, actor: &Actor, token: Option<&str>, email: &str, name: &str, hash: String) -> Result<Attempt> {
    ctx.db
        .transaction(async |conn| {
            let _: Uuid = tenants::table.find(FIRST_TENANT).for_update().select(tenants::id).first(conn).await?;
            if !no_user(conn).await? {
                return Ok(Attempt::AlreadyDone);
            }
            if let Some(token) = token
                && !known(conn, sha256(token.as_bytes())).await?
            {
                return Ok(Attempt::WrongToken);
            }
            people::insert_first(conn, actor, email, name, hash).await?;
            diesel::delete(setup_tokens::table).execute(conn).await?;
            audit::record(conn, actor, Action::SetupComplete, &format!("user:{email}"), Outcome::Ok, json!({})).await?;
            Ok(Attempt::Created)
        })
        .await
        .map_err(people::email_taken_or_error)
}

/// Issues a token for the log and stores its hash in Postgres; `None` after setup.
pub async fn issue_token(ctx: &Context) -> Result<Option<String>> {
    let token = new_token()?;
    let row = NewToken { id: Uuid::now_v7(), tenant_id: FIRST_TENANT, token_hash: sha256(token.as_bytes()) };
    ctx.db
        .transaction(async |conn| {
            if !no_user(conn).await? {
                return Ok(None);
            }
            diesel::delete(setup_tokens::table.filter(setup_tokens::created_at.lt(clock::now() - TOKEN_TTL))).execute(conn).await?;
            diesel::insert_into(setup_tokens::table).values(row).execute(conn).await?;
            Ok(Some(token))
        })
        .await
        .map_err(Error::from)
}

/// Creates the admin named in the environment if no user exists. Returns whether it did.
pub async fn from_environment(ctx: &Context) -> Result<bool> {
    let Some(first) = &ctx.config.first_admin else { return Ok(false) };
    if !is_needed(ctx).await? {
        return Ok(false);
    }
    let name = first.email.split('@').next().unwrap_or("Admin");
    let (email, name) = people::validate(&first.email, name, first.password.reveal())?;
    let hash = password::hash(first.password.reveal()).await?;
    let created = create(ctx, &Actor::system("Environment"), None, &email, name, hash).await?;
    Ok(matches!(created, Attempt::Created))
}
