//! Sessions: an opaque token in a cookie, its SHA-256 in Postgres, a short-lived copy in Redis.
//!
//! The copy is signed, is trusted for ten seconds, and is written only if the key does not exist. Ending a session
//! writes a marker that makes all replicas ask Postgres for longer than a copy is trusted. A copy that was read before
//! the end and is written after it cannot replace the marker.

mod last_seen;
mod session_cache;

use std::net::IpAddr;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::QueryResult;
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, Insertable, JoinOnDsl, OptionalExtension, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::actor::{Actor, ActorKind, Role, UserStatus};
use super::audit::{self, Action, Outcome};
use super::cache::LookupOutcome;
use super::secrets::{hex, new_token, sha256};
use super::{Context, Result, cache};
use crate::clock;
use crate::schema::{sessions, users};
use crate::stores::redis;

pub(super) use session_cache::Lookup;
pub use session_cache::{SessionCache, cached, recently_seen};

/// How long a user stays signed in.
pub const LIFETIME: Duration = Duration::from_secs(14 * 86_400);
const COPY: Duration = Duration::from_secs(10);
const MARK: Duration = Duration::from_secs(30);
/// The cached copies as a cache namespace, with rules of their own.
pub(super) const COPIES: cache::Spec = cache::Spec {
    name: "sessions",
    fresh: COPY,
    stale: Duration::ZERO,
    jitter_percent: 0,
    computing: Duration::ZERO,
    waiting: Duration::ZERO,
    clearable: false,
};
const ASK_POSTGRES: &str = "ask";
/// Longest wait for Redis on a request path. After a timeout the circuit breaker skips Redis for two seconds.
const REDIS_TIMEOUT: Duration = Duration::from_millis(250);

/// A signed-in user.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Session {
    pub id: Uuid,
    pub tenant: Uuid,
    pub user: Uuid,
    pub name: String,
    pub email: String,
    pub role: Role,
}

#[derive(Insertable)]
#[diesel(table_name = sessions)]
struct NewSession {
    id: Uuid,
    tenant_id: Uuid,
    user_id: Uuid,
    secret_hash: Vec<u8>,
    epoch: i32,
    address: Option<String>,
    expires_at: chrono::DateTime<chrono::Utc>,
}

/// Creates a session within the transaction of the sign-in; returns the token for the cookie.
pub(super) async fn open(
    conn: &mut AsyncPgConnection,
    tenant: Uuid,
    user: Uuid,
    epoch: i32,
    address: Option<IpAddr>,
    token: &str,
) -> QueryResult<()> {
    let row = NewSession {
        id: Uuid::now_v7(),
        tenant_id: tenant,
        user_id: user,
        secret_hash: sha256(token.as_bytes()),
        epoch,
        // Same as for failed sign-ins: the owner is recognized in the same network.
        address: address.map(super::address::subject),
        expires_at: clock::now() + TimeDelta::from_std(LIFETIME).unwrap_or(TimeDelta::days(14)),
    };
    diesel::insert_into(sessions::table).values(row).execute(conn).await?;
    // Sessions that ended a month ago are no longer needed.
    let old = clock::now() - TimeDelta::days(30);
    diesel::delete(sessions::table.filter(sessions::expires_at.lt(old))).execute(conn).await?;
    Ok(())
}

pub(super) fn token() -> Result<String> {
    new_token()
}

pub(super) fn copy_key(hash: &[u8]) -> String {
    format!("larder:session:{}", hex(hash))
}

/// `None`: not a valid token, which has 43 characters of base64url.
pub(super) fn hash_of(token: &str) -> Option<Vec<u8>> {
    (token.len() == 43).then(|| sha256(token.as_bytes()))
}

/// A session as it is stored in Redis.
#[derive(serde::Serialize, serde::Deserialize)]
struct SignedCopy<S> {
    /// The copy is not accepted after this time, even if it is written again.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    until: chrono::DateTime<chrono::Utc>,
    session: S,
}

impl SignedCopy<Session> {
    fn read(ctx: &Context, key: &str, signed: &str) -> Option<Session> {
        let copy: Self = serde_json::from_str(ctx.signer.verify(key, signed)?).ok()?;
        (clock::now() < copy.until).then_some(copy.session)
    }
}

impl SignedCopy<&Session> {
    fn write(ctx: &Context, key: &str, session: &Session) -> Option<String> {
        let copy = SignedCopy { until: clock::now() + COPY, session };
        ctx.signer.sign(key, &serde_json::to_string(&copy).ok()?)
    }
}

/// Removes a value that is not a valid copy, since it would prevent a valid one from being written.
fn remove_unreadable(ctx: &Context, key: String, text: String) {
    let redis = ctx.redis.clone();
    ctx.in_background(async move { redis.best_effort(REDIS_TIMEOUT).release(&key, &text).await.map(drop) });
}

/// `None`: unknown, expired, ended, or its user is disabled.
pub async fn find(ctx: &Context, token: &str) -> Result<Option<Session>> {
    let Some(hash) = hash_of(token) else { return Ok(None) };
    let asking = ctx.session_cache.asking();
    let copy = ctx.redis.best_effort(REDIS_TIMEOUT).get(&copy_key(&hash)).await;
    match from_copy(ctx, &hash, copy, asking) {
        Some(session) => Ok(Some(session)),
        None => from_postgres(ctx, hash, asking).await,
    }
}

/// The copy in Redis. `None`: Postgres must be queried.
pub(super) fn from_copy(
    ctx: &Context,
    hash: &[u8],
    copy: std::result::Result<Option<String>, redis::Error>,
    asking: Lookup,
) -> Option<Session> {
    let text = copy.as_ref().ok().and_then(Option::as_deref).filter(|text| *text != ASK_POSTGRES);
    let session = text.and_then(|text| SignedCopy::read(ctx, &copy_key(hash), text));
    if let (Some(text), None) = (text, &session) {
        remove_unreadable(ctx, copy_key(hash), text.to_owned());
    }
    let how = match (&copy, &session) {
        (_, Some(_)) => LookupOutcome::Hit,
        (Ok(_), None) => LookupOutcome::Miss,
        (Err(_), None) => LookupOutcome::Error,
    };
    ctx.cache.looked_up(COPIES.name, how, asking.took());
    if let Some(session) = &session {
        ctx.session_cache.enter(hash, session, asking);
    }
    session
}

pub(super) async fn from_postgres(ctx: &Context, hash: Vec<u8>, asking: Lookup) -> Result<Option<Session>> {
    let key = copy_key(&hash);
    let Some(session) = find_in_postgres(ctx, hash.clone()).await? else {
        ctx.session_cache.remove(&hash);
        return Ok(None);
    };
    ctx.session_cache.enter(&hash, &session, asking);
    if let Some(copy) = SignedCopy::write(ctx, &key, &session) {
        // Without the copy, the next request queries Postgres again.
        let _ = ctx.redis.best_effort(REDIS_TIMEOUT).set_if_absent(&key, &copy, COPY).await;
    }
    Ok(Some(session))
}

async fn find_in_postgres(ctx: &Context, hash: Vec<u8>) -> Result<Option<Session>> {
    ctx.db
        .run(async |conn| {
            type Row = (Uuid, Uuid, Uuid, String, String, String, Option<String>);
            let found: Option<Row> = sessions::table
                .inner_join(users::table.on(users::id.eq(sessions::user_id)))
                .filter(sessions::secret_hash.eq(hash))
                .filter(sessions::revoked_at.is_null())
                .filter(sessions::expires_at.gt(now))
                .filter(sessions::epoch.eq(users::session_epoch))
                .filter(users::status.eq(UserStatus::Active))
                .select((sessions::id, sessions::tenant_id, users::id, users::name, users::email, users::role, sessions::address))
                .first(conn)
                .await
                .optional()?;
            let Some((id, tenant, user, name, email, role, address)) = found else { return Ok(None) };
            let Some(role) = Role::parse(&role) else { return Ok(None) };
            if let Some(address) = address {
                ctx.sign_ins.remember(&address);
            }
            if !ctx.db.was_read_only() {
                last_seen::record(conn, user).await?;
            }
            Ok(Some(Session { id, tenant, user, name, email, role }))
        })
        .await
}

/// Ends a session whose browser signs in again, within that transaction; call [`forget`] after the commit.
pub(super) async fn replace(conn: &mut AsyncPgConnection, hash: &[u8]) -> QueryResult<()> {
    let own = sessions::table.filter(sessions::secret_hash.eq(hash)).filter(sessions::revoked_at.is_null());
    diesel::update(own).set(sessions::revoked_at.eq(now)).execute(conn).await?;
    Ok(())
}

/// Ends this session everywhere. An unknown token is not an error.
pub async fn end(ctx: &Context, token: &str, address: Option<IpAddr>, request_id: &str) -> Result<()> {
    let hash = sha256(token.as_bytes());
    let Some(session) = find_in_postgres(ctx, hash.clone()).await? else { return Ok(()) };
    let actor = Actor {
        tenant: session.tenant,
        kind: ActorKind::User,
        id: Some(session.user),
        label: session.name,
        role: session.role,
        address,
        request_id: request_id.to_owned(),
    };
    let task_ctx = ctx.clone();
    ctx.run_to_completion(async move {
        task_ctx
            .db
            .transaction(async |conn| {
                diesel::update(sessions::table.find(session.id)).set(sessions::revoked_at.eq(now)).execute(conn).await?;
                audit::record(conn, &actor, Action::SessionEnd, "session", Outcome::Ok, json!({})).await
            })
            .await?;
        forget(&task_ctx, vec![hash]).await;
        Ok(())
    })
    .await
}

/// Ends all sessions of a user within the transaction of the change that requires it; pass the result to [`forget`]
/// after the commit.
pub(super) async fn end_all(conn: &mut AsyncPgConnection, user: Uuid) -> QueryResult<Vec<Vec<u8>>> {
    diesel::update(users::table.find(user)).set(users::session_epoch.eq(users::session_epoch + 1)).execute(conn).await?;
    diesel::update(sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::revoked_at.is_null()))
        .set(sessions::revoked_at.eq(now))
        .returning(sessions::secret_hash)
        .get_results(conn)
        .await
}

/// The active sessions of a user, whose copies contain an old role or name.
pub(super) async fn hashes_of(conn: &mut AsyncPgConnection, user: Uuid) -> QueryResult<Vec<Vec<u8>>> {
    sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::revoked_at.is_null()).select(sessions::secret_hash).load(conn).await
}

/// Makes all replicas query Postgres for these sessions. If Redis is unavailable, this is retried until all copies
/// have expired.
pub(super) async fn forget(ctx: &Context, hashes: Vec<Vec<u8>>) {
    hashes.iter().for_each(|hash| ctx.session_cache.forget(hash));
    let mut left = Vec::new();
    for hash in hashes {
        if ctx.redis.best_effort(REDIS_TIMEOUT).set(&copy_key(&hash), ASK_POSTGRES, Some(MARK)).await.is_err() {
            left.push(hash.clone());
        }
        // A copy may have been read before the mark was set.
        ctx.session_cache.forget(&hash);
    }
    if left.is_empty() {
        return;
    }
    let redis = ctx.redis.clone();
    ctx.in_background(async move {
        let deadline = tokio::time::Instant::now() + COPY;
        while !left.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for hash in std::mem::take(&mut left) {
                if redis.required().set(&copy_key(&hash), ASK_POSTGRES, Some(MARK)).await.is_err() {
                    left.push(hash);
                }
            }
        }
    });
}
