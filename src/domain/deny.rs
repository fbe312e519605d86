//! The deny-list of tokens: a record in Postgres, and a copy in Redis with the token's remaining TTL.
//!
//! Only copies signed by Larder are accepted. Without a copy, or without Redis, Postgres is queried; if it is
//! unavailable as well, every token is rejected.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::now;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, Insertable, OptionalExtension, QueryDsl};
use diesel::query_dsl::methods::FilterDsl;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde_json::json;
use uuid::Uuid;

use super::actor::Actor;
use super::audit::{self, Action, Outcome};
use super::secrets::{hex, sha256};
use super::{Context, Error, Result};
use crate::clock;
use crate::schema::revoked_tokens;

const REDIS_TIMEOUT: Duration = Duration::from_millis(250);
const LONGEST: usize = 64;
const REVOKED: &str = "revoked";
/// Records outlive their tokens by this much, because other machines' clocks may differ.
const LEEWAY: TimeDelta = TimeDelta::days(1);

#[derive(Insertable)]
#[diesel(table_name = revoked_tokens)]
struct Revoked<'a> {
    id: Uuid,
    tenant_id: Uuid,
    jti: &'a str,
    expires_at: DateTime<Utc>,
}

/// A jti with any content is mapped to a name that is safe in a key and storable in Postgres. Plain names are kept
/// unchanged, and no plain name looks like the digest of another one.
fn name(jti: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=LONGEST).contains(&jti.len()) && jti.bytes().all(is_plain) {
        return jti.to_owned();
    }
    format!("~{}", hex(&sha256(jti.as_bytes())))
}

fn key(name: &str) -> String {
    format!("blacklist:token:{name}")
}

/// Rejects tokens with this `jti` from the moment this returns. `expires_at`: the token's regular expiry.
pub async fn revoke(ctx: &Context, actor: &Actor, jti: &str, expires_at: DateTime<Utc>) -> Result<()> {
    let (task_ctx, actor, name) = (ctx.clone(), actor.clone(), name(jti));
    ctx.run_to_completion(async move {
        record(&task_ctx, &actor, &name, expires_at).await?;
        // Without its copy, the record is found in Postgres.
        copy(&task_ctx, &name, expires_at).await;
        Ok(())
    })
    .await
}

async fn record(ctx: &Context, actor: &Actor, name: &str, expires_at: DateTime<Utc>) -> Result<()> {
    ctx.db
        .transaction(async |conn| {
            let row = Revoked { id: Uuid::now_v7(), tenant_id: actor.tenant, jti: name, expires_at };
            // The later of two expiries is kept.
            let longer = FilterDsl::filter(
                diesel::insert_into(revoked_tokens::table)
                    .values(row)
                    .on_conflict(revoked_tokens::jti)
                    .do_update()
                    .set((revoked_tokens::expires_at.eq(excluded(revoked_tokens::expires_at)), revoked_tokens::updated_at.eq(now))),
                revoked_tokens::expires_at.lt(excluded(revoked_tokens::expires_at)),
            );
            longer.execute(conn).await?;
            let over = revoked_tokens::expires_at.lt(clock::now() - LEEWAY).and(revoked_tokens::jti.ne(name));
            diesel::delete(QueryDsl::filter(revoked_tokens::table, over)).execute(conn).await?;
            audit::record(conn, actor, Action::TokenRevoke, "token", Outcome::Ok, json!({ "jti": name })).await
        })
        .await
        .map_err(Error::from)
}

/// With the token's remaining TTL.
async fn copy(ctx: &Context, name: &str, expires_at: DateTime<Utc>) {
    let key = key(name);
    if let (Ok(left), Some(copy)) = ((expires_at - clock::now()).to_std(), ctx.signer.sign(&key, REVOKED)) {
        let _ = ctx.redis.best_effort(REDIS_TIMEOUT).set(&key, &copy, Some(left)).await;
    }
}

/// Whether a token with this `jti` must be rejected. If this fails, it must be rejected as well.
pub async fn is_revoked(ctx: &Context, jti: &str) -> Result<bool> {
    let name = name(jti);
    let key = key(&name);
    if let Ok(Some(copy)) = ctx.redis.best_effort(REDIS_TIMEOUT).get(&key).await
        && ctx.signer.verify(&key, &copy) == Some(REVOKED)
    {
        return Ok(true);
    }
    let found: Option<DateTime<Utc>> = ctx
        .db
        .run(async |conn| {
            let row = QueryDsl::filter(revoked_tokens::table, revoked_tokens::jti.eq(&name));
            Ok::<_, Error>(QueryDsl::select(row, revoked_tokens::expires_at).first(conn).await.optional()?)
        })
        .await?;
    let Some(expires_at) = found else { return Ok(false) };
    copy(ctx, &name, expires_at).await;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jti_has_a_unique_name_of_limited_length() {
        let long = "x".repeat(10_000);
        let digest = name(&long);
        let odd = ["", "a", "A", "a ", "a\r\n", "a:b", "a*", "ä", "a\0", "~a", &long, &digest, &digest[1..], "a.b-c_d"];
        let names: std::collections::HashSet<String> = odd.iter().map(|jti| name(jti)).collect();
        assert_eq!(names.len(), odd.len());
        assert!(names.iter().all(|name| name.len() <= 65 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')));
        assert_eq!(name("7d4c0c3e-9f0a-4f63-8a53-1d2c"), "7d4c0c3e-9f0a-4f63-8a53-1d2c");
    }
}
