//! Signing in with a password: known and unknown e-mail addresses cause the same work and the same messages.
//!
//! Ten wrong passwords within a quarter of an hour block an address for all accounts; a hundred block its network.
//! The owner of an account under attack can still sign in from elsewhere: unknown addresses are blocked for that
//! account only when a hundred wrong passwords come from many addresses. Attempts are recorded in Postgres, which
//! decides. Redis holds signed copies of its rejections, so that a flood is rejected without Postgres.

mod admission;
mod attempt;

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use super::actor::{Actor, ActorKind, Role, UserStatus};
use super::audit::{self, Action, Outcome};
use super::email::fold_email;
use super::{Context, Error, Result, password, sessions};
use crate::clock;
use crate::schema::users;

pub use admission::{Admission, load_known_addresses};
use attempt::{Attempt, Entry, Scope};

/// The number of wrong passwords that blocks an address.
pub const TRIES: i64 = 10;
/// The number of wrong passwords from one network that blocks addresses in it that have never signed in to the
/// account.
pub const TRIES_FROM_NETWORK: i64 = 100;
/// The number of wrong passwords for one account that blocks addresses that have never signed in to it.
pub const TRIES_FROM_ANYWHERE: i64 = 100;
/// How long failures are counted.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);

/// The maximum delay of a sign-in by Redis.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);
/// How long an attempt waits for other attempts from its address to end.
const PENDING_TIMEOUT: Duration = Duration::from_secs(3);
const PENDING_POLL: Duration = Duration::from_millis(25);

pub enum SignIn {
    /// The token for the cookie and how long it is valid.
    Success { token: String, lifetime: Duration },
    /// Wrong e-mail or password. It is not disclosed which.
    WrongCredentials,
    /// Too many wrong passwords. The time to wait.
    Blocked(Duration),
    /// Too many simultaneous sign-ins.
    Busy(Duration),
}

/// `visitor` is anonymous and has an address and a request id. `previous`: the session token that the browser still
/// holds; that session ends when this sign-in succeeds.
pub async fn sign_in(ctx: &Context, visitor: &Actor, email: &str, given: &str, previous: Option<&str>) -> Result<SignIn> {
    let attempt = Attempt::new(email, visitor.address);
    // Before Redis, so that a flood is refused without a wait.
    let Some(waiting) = ctx.sign_ins.enqueue(&attempt.address, &attempt.network, &attempt.email) else {
        return Ok(SignIn::Busy(Duration::from_secs(1)));
    };
    if let Some(wait) = wait_by_markers(ctx, &attempt).await? {
        return Ok(SignIn::Blocked(wait));
    }
    let Some(permit) = waiting.permit().await else {
        return Ok(SignIn::Busy(Duration::from_secs(1)));
    };
    // Runs to completion if the client disconnects, so that every attempt is counted.
    let (all, visitor) = (ctx.clone(), visitor.clone());
    let given = if given.len() > password::MAX_BYTES { String::new() } else { given.to_owned() };
    let previous = previous.and_then(sessions::hash_of);
    ctx.run_to_completion(async move {
        let outcome = attempt_once(&all, &visitor, &attempt, &given, previous, permit.is_known).await;
        drop(permit);
        outcome
    })
    .await
}

async fn attempt_once(
    ctx: &Context,
    visitor: &Actor,
    attempt: &Attempt,
    given: &str,
    previous: Option<Vec<u8>>,
    is_known: bool,
) -> Result<SignIn> {
    match enter(ctx, visitor, attempt).await? {
        Entry::Entered => {}
        Entry::Full => return Ok(SignIn::Busy(Duration::from_secs(1))),
        Entry::Refused { scope, wait } => {
            set_marker(ctx, attempt, scope, wait).await;
            return Ok(SignIn::Blocked(wait));
        }
    }
    let compared = compare(ctx, attempt, given, is_known).await;
    let outcome = match compared {
        Ok(Some(user)) => succeed(ctx, visitor, attempt, user, previous).await,
        Ok(None) => reject(ctx, visitor, attempt).await,
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // No password was compared and found wrong, or the response was not sent.
        withdraw_later(ctx, attempt.id);
    }
    match outcome {
        Err(Error::Busy { retry_after, .. }) => Ok(SignIn::Busy(retry_after)),
        outcome => outcome,
    }
}

/// The user with this password. `None`: wrong e-mail or password, or the user is disabled.
async fn compare(ctx: &Context, attempt: &Attempt, given: &str, is_known: bool) -> Result<Option<UserRow>> {
    let (user, hash) = match find_user(ctx, attempt).await? {
        Some((user, hash)) => (Some(user), hash),
        None => (None, None),
    };
    let is_right = password::verify(given, hash, is_known).await?;
    Ok(user.filter(|user| is_right && user.active))
}

/// How long Postgres requires this attempt to wait, according to the markers in Redis.
async fn wait_by_markers(ctx: &Context, attempt: &Attempt) -> Result<Option<Duration>> {
    let (scopes, keys): (Vec<Scope>, Vec<String>) = attempt.markers().into_iter().unzip();
    let Ok(values) = ctx.redis.best_effort(REDIS_TIMEOUT).get_many(&keys).await else { return Ok(None) };
    for ((scope, key), value) in scopes.into_iter().zip(&keys).zip(values) {
        let until = value.as_deref().and_then(|value| ctx.signer.verify(key, value)).and_then(|until| until.parse().ok());
        let left = until.and_then(DateTime::<Utc>::from_timestamp_millis).and_then(|until| (until - clock::now()).to_std().ok());
        let Some(left) = left.filter(|left| *left <= WINDOW) else { continue };
        // Only addresses that have signed in to some account can be known to this one.
        let may_be_known = scope != Scope::Address && ctx.sign_ins.is_known(&attempt.address);
        if !may_be_known || !attempt.is_known_address(ctx).await? {
            return Ok(Some(left.max(Duration::from_secs(1))));
        }
    }
    Ok(None)
}

/// Without Redis, the next attempt asks Postgres again.
async fn set_marker(ctx: &Context, attempt: &Attempt, scope: Scope, wait: Duration) {
    let Some((_, key)) = attempt.markers().into_iter().find(|(of, _)| *of == scope) else { return };
    let until = (clock::now() + wait).timestamp_millis().to_string();
    if let Some(value) = ctx.signer.sign(&key, &until) {
        let _ = ctx.redis.best_effort(REDIS_TIMEOUT).set(&key, &value, Some(wait)).await;
    }
}

/// Waits while the pending attempts of this address could all turn out to be wrong.
async fn enter(ctx: &Context, visitor: &Actor, attempt: &Attempt) -> Result<Entry> {
    let deadline = tokio::time::Instant::now() + PENDING_TIMEOUT;
    loop {
        let entry = attempt.enter(ctx, visitor.tenant).await?;
        if !matches!(entry, Entry::Full) || tokio::time::Instant::now() > deadline {
            return Ok(entry);
        }
        tokio::time::sleep(PENDING_POLL).await;
    }
}

struct UserRow {
    id: Uuid,
    tenant: Uuid,
    name: String,
    role: Role,
    epoch: i32,
    active: bool,
}

/// Accounts of earlier versions may share an address in different forms: the form that was typed comes first.
async fn find_user(ctx: &Context, attempt: &Attempt) -> Result<Option<(UserRow, Option<String>)>> {
    ctx.db
        .run(async |conn| {
            type Row = (Uuid, Uuid, String, String, i32, UserStatus, Option<String>);
            let row: Option<Row> = users::table
                .filter(fold_email(users::email).eq_any(&attempt.forms))
                .order((fold_email(users::email).ne(&attempt.typed), users::id))
                .select((users::id, users::tenant_id, users::name, users::role, users::session_epoch, users::status, users::password_hash))
                .first(conn)
                .await
                .optional()?;
            Ok(row.and_then(|(id, tenant, name, role, epoch, status, hash)| {
                Some((UserRow { id, tenant, name, role: Role::parse(&role)?, epoch, active: status == UserStatus::Active }, hash))
            }))
        })
        .await
}

async fn succeed(ctx: &Context, visitor: &Actor, attempt: &Attempt, user: UserRow, previous: Option<Vec<u8>>) -> Result<SignIn> {
    let token = sessions::token()?;
    let actor =
        Actor { tenant: user.tenant, kind: ActorKind::User, id: Some(user.id), label: user.name, role: user.role, ..visitor.clone() };
    ctx.db
        .transaction(async |conn| {
            let fresh = (users::failed_count.eq(0), users::locked_until.eq(None::<DateTime<Utc>>), users::last_seen_at.eq(now));
            diesel::update(users::table.find(user.id)).set(fresh).execute(conn).await?;
            attempt.succeeded(conn).await?;
            if let Some(hash) = &previous {
                sessions::replace(conn, hash).await?;
            }
            sessions::open(conn, user.tenant, user.id, user.epoch, visitor.address, &token).await?;
            audit::record(conn, &actor, Action::SessionBegin, "session", Outcome::Ok, json!({})).await
        })
        .await?;
    if let Some(hash) = previous {
        sessions::forget(ctx, vec![hash]).await;
    }
    ctx.sign_ins.remember(&attempt.address);
    // From now on this process knows the session, whatever else comes from the same address.
    let _ = sessions::find(ctx, &token).await;
    Ok(SignIn::Success { token, lifetime: sessions::LIFETIME })
}

async fn reject(ctx: &Context, visitor: &Actor, attempt: &Attempt) -> Result<SignIn> {
    ctx.db
        .transaction(async |conn| {
            attempt.failed(conn).await?;
            diesel::update(users::table.filter(fold_email(users::email).eq_any(&attempt.forms)))
                .set(users::failed_count.eq(users::failed_count + 1))
                .execute(conn)
                .await?;
            // The e-mail is not recorded in the audit log, because people type passwords into the wrong field.
            audit::record(conn, visitor, Action::SessionRefuse, "session", Outcome::Refused, json!({})).await
        })
        .await?;
    Ok(SignIn::WrongCredentials)
}

/// Deletes a pending attempt once Postgres responds. An attempt that remains is not counted after a minute.
fn withdraw_later(ctx: &Context, id: Uuid) {
    let all = ctx.clone();
    ctx.in_background(async move {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while tokio::time::Instant::now() < deadline {
            if attempt::withdraw(&all, id).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}
