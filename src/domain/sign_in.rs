//! Signing in by password: the same work and the same words whoever asks.
//!
//! Ten wrong passwords within a quarter of an hour make an address wait, whatever accounts it tried. The owner
//! of an account under attack can still sign in from elsewhere; only when a hundred wrong ones come from many
//! addresses do strangers' addresses wait for that account. Failures are recorded in Postgres, which decides;
//! Redis counts them too, so that a flood is refused without asking Postgres.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, Insertable, OptionalExtension, QueryDsl};
use diesel::sql_types::{Bytea, Nullable, Text, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::actor::{Actor, ActorKind, Role};
use super::audit::{self, Outcome};
use super::limits::Policy;
use super::secrets::{hex, sha256};
use super::{Context, Error, Result, limits, password, sessions};
use crate::clock;
use crate::schema::{sign_in_failures, users};

/// Wrong passwords from one address before it waits.
pub const TRIES: i64 = 10;
/// Wrong passwords for one account, from anywhere, before addresses that never signed in to it wait.
pub const TRIES_FROM_ANYWHERE: i64 = 100;
/// How long failures count.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);

const BY_ADDRESS: Policy = Policy { name: "sign-in-address", limit: TRIES.unsigned_abs(), window: WINDOW };
const BY_ACCOUNT: Policy = Policy { name: "sign-in-account", limit: TRIES_FROM_ANYWHERE.unsigned_abs(), window: WINDOW };

pub enum SignIn {
    /// The token for the cookie and how long it lives.
    Welcome { token: String, lifetime: Duration },
    /// Wrong e-mail or password; never which.
    Wrong,
    /// Too many wrong ones; wait this long.
    Wait(Duration),
}

#[derive(Insertable)]
#[diesel(table_name = sign_in_failures)]
struct Failure<'a> {
    id: Uuid,
    tenant_id: Uuid,
    email_hash: &'a [u8],
    address: &'a str,
}

#[derive(diesel::QueryableByName)]
struct Counted {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    tries: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest: Option<DateTime<Utc>>,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    from_anywhere: i64,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    familiar: bool,
}

struct Attempt {
    email: String,
    email_hash: Vec<u8>,
    address: String,
    /// What Redis counts them as.
    by_address: String,
    by_account: String,
}

impl Attempt {
    fn new(email: &str, address: Option<IpAddr>) -> Self {
        // Postgres folds it as its unique index does; longer ones than any address are cut.
        let email: String = email.trim().chars().filter(|c| *c != '\0').take(254).collect();
        let address = address.map_or_else(|| "unknown".to_owned(), subject);
        let email_hash = sha256(email.to_lowercase().as_bytes());
        let (by_address, by_account) = (hex(&sha256(address.as_bytes())[..16]), hex(&email_hash[..16]));
        Self { email, email_hash, address, by_address, by_account }
    }
}

/// Whoever holds one address of an IPv6 network holds its /64.
pub(super) fn subject(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let s = address.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
    }
}

/// `visitor` is anonymous and carries address and request id.
pub async fn sign_in(ctx: &Context, visitor: &Actor, email: &str, given: &str) -> Result<SignIn> {
    let attempt = Attempt::new(email, visitor.address);
    if let Some(wait) = must_wait_by_redis(ctx, &attempt).await? {
        return Ok(SignIn::Wait(wait));
    }
    if let Some(wait) = ctx.db.within(enter(ctx, visitor, &attempt)).await? {
        return Ok(SignIn::Wait(wait));
    }
    let found = ctx.db.within(find_user(ctx, &attempt.email)).await?;
    let given = if given.len() > password::MAX_BYTES { "" } else { given };
    let (user, hash) = match found {
        Some((user, hash)) => (Some(user), hash),
        None => (None, None),
    };
    let right = password::verify(given, hash).await?;
    match user {
        Some(user) if right && user.active => welcome(ctx, visitor, &attempt, user).await,
        _ => refuse(ctx, visitor, &attempt).await,
    }
}

/// As [`must_wait`], by what Redis has counted: at most what Postgres has, because it may forget.
async fn must_wait_by_redis(ctx: &Context, attempt: &Attempt) -> Result<Option<Duration>> {
    let address = limits::look(ctx, &BY_ADDRESS, &attempt.by_address);
    let account = limits::look(ctx, &BY_ACCOUNT, &attempt.by_account);
    let (address, account) = futures_util::join!(address, account);
    if let Some(full) = address.filter(|standing| !standing.allowed) {
        return Ok(Some(full.next));
    }
    match account.filter(|standing| !standing.allowed) {
        Some(full) if !ctx.db.within(is_familiar(ctx, attempt)).await? => Ok(Some(full.next)),
        _ => Ok(None),
    }
}

#[derive(diesel::QueryableByName)]
struct Familiar {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    familiar: bool,
}

/// Whether this account was ever signed in to from this address.
async fn is_familiar(ctx: &Context, attempt: &Attempt) -> Result<bool> {
    let mut conn = ctx.db.get().await?;
    let found: Familiar = diesel::sql_query(
        "SELECT EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
                        WHERE lower(u.email) = lower($1) AND s.address = $2) AS familiar",
    )
    .bind::<Text, _>(&attempt.email)
    .bind::<Text, _>(&attempt.address)
    .get_result(&mut conn)
    .await?;
    Ok(found.familiar)
}

struct Found {
    id: Uuid,
    tenant: Uuid,
    name: String,
    role: Role,
    epoch: i32,
    active: bool,
}

async fn find_user(ctx: &Context, email: &str) -> Result<Option<(Found, Option<String>)>> {
    let mut conn = ctx.db.get().await?;
    type Row = (Uuid, Uuid, String, String, i32, String, Option<String>);
    let row: Option<Row> = users::table
        .filter(lower(users::email).eq(lower(email)))
        .select((users::id, users::tenant_id, users::name, users::role, users::session_epoch, users::status, users::password_hash))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.and_then(|(id, tenant, name, role, epoch, status, hash)| {
        Some((Found { id, tenant, name, role: Role::parse(&role)?, epoch, active: status == "active" }, hash))
    }))
}

diesel::define_sql_function! {
    /// As the unique index on e-mails folds them.
    fn lower(text: Text) -> Text;
}

/// How long this attempt must wait; otherwise it is entered as a failure until it has succeeded, so that many at
/// once are counted as many.
async fn enter(ctx: &Context, visitor: &Actor, attempt: &Attempt) -> Result<Option<Duration>> {
    let mut conn = ctx.db.get().await?;
    conn.transaction(async |conn| {
        // One address at a time, for as long as counting takes.
        let lock = diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))");
        lock.bind::<Text, _>(format!("sign-in:{}", attempt.by_address)).execute(conn).await?;
        if let Some(wait) = must_wait(conn, attempt).await? {
            return Ok(Some(wait));
        }
        let failure = Failure { id: Uuid::now_v7(), tenant_id: visitor.tenant, email_hash: &attempt.email_hash, address: &attempt.address };
        diesel::insert_into(sign_in_failures::table).values(failure).execute(conn).await?;
        Ok(None)
    })
    .await
    .map_err(|error: diesel::result::Error| error.into())
}

async fn must_wait(conn: &mut AsyncPgConnection, attempt: &Attempt) -> QueryResult<Option<Duration>> {
    let since = clock::now() - window();
    let counted: Counted = diesel::sql_query(
        "SELECT (SELECT count(*) FROM sign_in_failures WHERE address = $1 AND created_at > $3) AS tries,
                (SELECT min(created_at) FROM sign_in_failures WHERE address = $1 AND created_at > $3) AS oldest,
                (SELECT count(*) FROM sign_in_failures WHERE email_hash = $2 AND created_at > $3) AS from_anywhere,
                EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
                        WHERE lower(u.email) = lower($4) AND s.address = $5) AS familiar",
    )
    .bind::<Text, _>(&attempt.address)
    .bind::<Bytea, _>(&attempt.email_hash)
    .bind::<Timestamptz, _>(since)
    .bind::<Text, _>(&attempt.email)
    .bind::<Text, _>(&attempt.address)
    .get_result(conn)
    .await?;
    let waits = counted.tries >= TRIES || (counted.from_anywhere >= TRIES_FROM_ANYWHERE && !counted.familiar);
    Ok(waits.then(|| {
        let begun = counted.oldest.unwrap_or_else(clock::now);
        (begun + window() - clock::now()).to_std().unwrap_or_default().max(Duration::from_secs(1))
    }))
}

fn window() -> TimeDelta {
    TimeDelta::from_std(WINDOW).unwrap_or(TimeDelta::minutes(15))
}

async fn welcome(ctx: &Context, visitor: &Actor, attempt: &Attempt, user: Found) -> Result<SignIn> {
    let token = sessions::token()?;
    let actor =
        Actor { tenant: user.tenant, kind: ActorKind::User, id: Some(user.id), label: user.name, role: user.role, ..visitor.clone() };
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                let fresh = (users::failed_count.eq(0), users::locked_until.eq(None::<DateTime<Utc>>), users::last_seen_at.eq(now));
                diesel::update(users::table.find(user.id)).set(fresh).execute(conn).await?;
                let own = sign_in_failures::table
                    .filter(sign_in_failures::email_hash.eq(&attempt.email_hash))
                    .filter(sign_in_failures::address.eq(&attempt.address));
                diesel::delete(own).execute(conn).await?;
                sessions::open(conn, user.tenant, user.id, user.epoch, visitor.address, &token).await?;
                audit::record(conn, &actor, "session.begin", "session", Outcome::Ok, json!({})).await
            })
            .await
            .map_err(Error::from)
        })
        .await?;
    let (address, account) = (limits::forget(ctx, &BY_ADDRESS, &attempt.by_address), limits::forget(ctx, &BY_ACCOUNT, &attempt.by_account));
    futures_util::join!(address, account);
    Ok(SignIn::Welcome { token, lifetime: sessions::LIFETIME })
}

async fn refuse(ctx: &Context, visitor: &Actor, attempt: &Attempt) -> Result<SignIn> {
    ctx.db
        .within(async {
            let mut conn = ctx.db.get().await?;
            conn.transaction(async |conn| {
                diesel::update(users::table.filter(lower(users::email).eq(lower(&attempt.email))))
                    .set(users::failed_count.eq(users::failed_count + 1))
                    .execute(conn)
                    .await?;
                let old = clock::now() - TimeDelta::days(1);
                diesel::delete(sign_in_failures::table.filter(sign_in_failures::created_at.lt(old))).execute(conn).await?;
                // The e-mail stays out of the audit: people type passwords into the wrong field.
                audit::record(conn, visitor, "session.refuse", "session", Outcome::Refused, json!({})).await
            })
            .await
            .map_err(Error::from)
        })
        .await?;
    let (address, account) = (limits::take(ctx, &BY_ADDRESS, &attempt.by_address), limits::take(ctx, &BY_ACCOUNT, &attempt.by_account));
    futures_util::join!(address, account);
    Ok(SignIn::Wrong)
}
