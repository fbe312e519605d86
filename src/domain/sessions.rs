//! Sessions: an opaque token in a cookie, its SHA-256 in Postgres, a short-lived copy in Redis.

use uuid::Uuid;

use super::actor::Role;
use super::{Context, Result};

/// Somebody who is signed in.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Session {
    pub id: Uuid,
    pub tenant: Uuid,
    pub user: Uuid,
    pub name: String,
    pub email: String,
    pub role: Role,
}

/// `None`: unknown, expired, ended, or its user is disabled.
pub async fn find(ctx: &Context, token: &str) -> Result<Option<Session>> {
    todo!()
}

/// Ends this session everywhere. An unknown token is no error.
pub async fn end(ctx: &Context, token: &str, address: Option<std::net::IpAddr>, request_id: &str) -> Result<()> {
    todo!()
}
