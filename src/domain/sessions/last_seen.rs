//! When a user was last active.

use chrono::TimeDelta;
use diesel::dsl::now;
use diesel::prelude::{BoolExpressionMethods, ExpressionMethods, QueryDsl};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::clock;
use crate::domain::Result;
use crate::schema::users;
use crate::stores::postgres;

/// Once a minute is enough, and the copy of the session in Redis hides most requests anyway. While Postgres rejects changes,
/// the time is not recorded, and users stay signed in.
pub(super) async fn record(conn: &mut AsyncPgConnection, user: Uuid) -> Result<()> {
    let stale = users::last_seen_at.is_null().or(users::last_seen_at.lt(clock::now() - TimeDelta::minutes(1)));
    let update = diesel::update(users::table.filter(users::id.eq(user)).filter(stale)).set(users::last_seen_at.eq(now));
    match update.execute(conn).await.map_err(postgres::Error::from) {
        Err(error) if !error.rejects_writes() => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}
