//! People who may sign in, and their roles.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::actor::{Actor, Role};
use super::{Context, Result};

#[derive(Clone, Debug)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub disabled: bool,
    pub last_seen_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

pub struct NewUser<'a> {
    pub email: &'a str,
    pub name: &'a str,
    pub role: Role,
    pub password: &'a str,
}

pub async fn list(ctx: &Context, actor: &Actor) -> Result<Vec<User>> {
    todo!()
}
pub async fn find(ctx: &Context, actor: &Actor, id: Uuid) -> Result<User> {
    todo!()
}
pub async fn find_by_email(ctx: &Context, actor: &Actor, email: &str) -> Result<User> {
    todo!()
}
/// Refused{"email" | "name" | "password"}.
pub async fn create(ctx: &Context, actor: &Actor, new: NewUser<'_>) -> Result<User> {
    todo!()
}
/// Conflict: the last admin cannot be demoted.
pub async fn set_role(ctx: &Context, actor: &Actor, id: Uuid, role: Role) -> Result<()> {
    todo!()
}
/// Signs them out at once. Conflict: the last admin cannot be disabled.
pub async fn disable(ctx: &Context, actor: &Actor, id: Uuid) -> Result<()> {
    todo!()
}
pub async fn enable(ctx: &Context, actor: &Actor, id: Uuid) -> Result<()> {
    todo!()
}
/// Ends their sessions. Refused{"password"}.
pub async fn set_password(ctx: &Context, actor: &Actor, id: Uuid, password: &str) -> Result<()> {
    todo!()
}
