//! Users and their roles.

use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::{ExpressionMethods, Insertable, OptionalExtension, QueryDsl};
use diesel::{QueryResult, Queryable, Selectable, SelectableHelper};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use uuid::Uuid;

use super::actor::{Actor, Role, UserStatus};
use super::audit::{self, Action, Outcome};
use super::email::{self, fold_email};
use super::names::storable;
use super::{Context, Error, Result, password, sessions};
use crate::schema::users;
use crate::stores::postgres;

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

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    role: String,
    status: UserStatus,
    last_seen_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
            // The column's check constraint permits no other value; Viewer is the safe fallback.
            role: Role::parse(&row.role).unwrap_or(Role::Viewer),
            disabled: row.status == UserStatus::Disabled,
            last_seen_at: row.last_seen_at,
            created_at: row.created_at,
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = users)]
struct NewRow<'a> {
    id: Uuid,
    tenant_id: Uuid,
    email: &'a str,
    name: &'a str,
    role: &'a str,
    password_hash: String,
}

/// Sorted by name.
pub async fn list(ctx: &Context, actor: &Actor) -> Result<Vec<User>> {
    ctx.db
        .run(async |conn| {
            let rows: Vec<Row> = users::table
                .filter(users::tenant_id.eq(actor.tenant))
                .order((users::name.asc(), users::email.asc()))
                .select(Row::as_select())
                .load(conn)
                .await?;
            Ok(rows.into_iter().map(User::from).collect())
        })
        .await
}

pub async fn find(ctx: &Context, actor: &Actor, id: Uuid) -> Result<User> {
    let all = list(ctx, actor).await?;
    all.into_iter().find(|user| user.id == id).ok_or_else(|| Error::NotFound("User not found.".into()))
}

pub async fn find_by_email(ctx: &Context, actor: &Actor, email: &str) -> Result<User> {
    ctx.db
        .run(async |conn| {
            let row: Option<Row> = users::table
                .filter(users::tenant_id.eq(actor.tenant))
                .filter(fold_email(users::email).eq_any(email::forms(&storable(email))))
                .order((fold_email(users::email).ne(email::fold(&storable(email.trim()))), users::id))
                .select(Row::as_select())
                .first(conn)
                .await
                .optional()?;
            row.map(User::from).ok_or_else(|| Error::NotFound(format!("User {email} not found.")))
        })
        .await
}

/// Validates a new user's e-mail, name and password; returns the first two as they are stored.
pub(super) fn validate<'a>(email: &str, name: &'a str, password: &str) -> Result<(String, &'a str)> {
    let (email, name) = (email::canonical(email), name.trim());
    let well_formed = email.split_once('@').is_some_and(|(local, host)| !local.is_empty() && host.len() > 1 && !host.contains('@'));
    if !well_formed || email.chars().count() > 254 || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::refused("email", "Enter an e-mail address, such as mara@example.com."));
    }
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Error::refused("name", "Enter a name of 1 to 200 characters."));
    }
    match password::violated_rule(password) {
        Some(rule) => Err(Error::refused("password", rule)),
        None => Ok((email, name)),
    }
}

/// Refused{"email" | "name" | "password"}.
pub async fn create(ctx: &Context, actor: &Actor, new: NewUser<'_>) -> Result<User> {
    let (email, name) = validate(new.email, new.name, new.password)?;
    // Accounts of earlier versions may be stored in another form, which the unique index does not recognize.
    if find_by_email(ctx, actor, &email).await.is_ok() {
        return Err(email_taken());
    }
    let hash = password::hash(new.password).await?;
    let created = ctx.db.transaction(async |conn| insert(conn, actor, actor.tenant, &email, name, new.role, hash).await).await;
    created.map(User::from).map_err(email_taken_or_error)
}

pub(super) fn email_taken_or_error(error: postgres::Error) -> Error {
    match error.unique_violation() {
        Some(_) => email_taken(),
        None => error.into(),
    }
}

fn email_taken() -> Error {
    Error::refused("email", "A user with this e-mail already exists.")
}

async fn insert(
    conn: &mut AsyncPgConnection,
    actor: &Actor,
    tenant: Uuid,
    email: &str,
    name: &str,
    role: Role,
    password_hash: String,
) -> QueryResult<Row> {
    let row = NewRow { id: Uuid::now_v7(), tenant_id: tenant, email, name, role: role.as_str(), password_hash };
    let row = diesel::insert_into(users::table).values(row).returning(Row::as_returning()).get_result(conn).await?;
    let detail = json!({ "role": role });
    audit::record(conn, actor, Action::UserCreate, &resource(&row.email), Outcome::Ok, detail).await?;
    Ok(row)
}

/// The first admin, within the transaction of the setup.
pub(super) async fn insert_first(conn: &mut AsyncPgConnection, actor: &Actor, email: &str, name: &str, hash: String) -> QueryResult<()> {
    insert(conn, actor, actor.tenant, email, name, Role::Admin, hash).await.map(|_| ())
}

fn resource(email: &str) -> String {
    format!("user:{email}")
}

enum Change {
    Role(Role),
    Status(bool),
    Password(String),
}

/// Conflict: the last admin cannot be demoted.
pub async fn set_role(ctx: &Context, actor: &Actor, id: Uuid, role: Role) -> Result<()> {
    change(ctx, actor, id, Change::Role(role)).await
}

/// Ends the user's sessions immediately. Conflict: the last admin cannot be disabled.
pub async fn disable(ctx: &Context, actor: &Actor, id: Uuid) -> Result<()> {
    change(ctx, actor, id, Change::Status(false)).await
}

pub async fn enable(ctx: &Context, actor: &Actor, id: Uuid) -> Result<()> {
    change(ctx, actor, id, Change::Status(true)).await
}

/// Ends the user's sessions. Refused{"password"}.
pub async fn set_password(ctx: &Context, actor: &Actor, id: Uuid, password: &str) -> Result<()> {
    if let Some(rule) = password::violated_rule(password) {
        return Err(Error::refused("password", rule));
    }
    let hash = password::hash(password).await?;
    change(ctx, actor, id, Change::Password(hash)).await
}

/// The result of a change within its transaction.
enum Changed {
    /// The cached copies of these sessions must be removed.
    Done(Vec<Vec<u8>>),
    Missing,
    LastAdmin,
}

async fn change(ctx: &Context, actor: &Actor, id: Uuid, change: Change) -> Result<()> {
    let (task_ctx, actor) = (ctx.clone(), actor.clone());
    ctx.run_to_completion(async move { change_now(&task_ctx, &actor, id, change).await }).await
}

async fn change_now(ctx: &Context, actor: &Actor, id: Uuid, change: Change) -> Result<()> {
    let changed = ctx.db.transaction(async |conn| apply(conn, actor, id, &change).await).await?;
    match changed {
        Changed::Done(hashes) => {
            sessions::forget(ctx, hashes).await;
            Ok(())
        }
        Changed::Missing => Err(Error::NotFound("User not found.".into())),
        Changed::LastAdmin => Err(Error::Conflict("This is the last admin. Create or promote another admin first.".into())),
    }
}

async fn apply(conn: &mut AsyncPgConnection, actor: &Actor, id: Uuid, change: &Change) -> QueryResult<Changed> {
    // All admins are locked in the same order, so that two admins who demote each other cannot both succeed.
    let admins: Vec<Uuid> = users::table
        .filter(users::tenant_id.eq(actor.tenant))
        .filter(users::role.eq(Role::Admin.as_str()))
        .filter(users::status.eq(UserStatus::Active))
        .order(users::id)
        .for_update()
        .select(users::id)
        .load(conn)
        .await?;
    let found: Option<(String, String)> = users::table
        .filter(users::tenant_id.eq(actor.tenant))
        .find(id)
        .for_update()
        .select((users::email, users::role))
        .first(conn)
        .await
        .optional()?;
    let Some((email, old_role)) = found else { return Ok(Changed::Missing) };
    let stays_admin = !matches!(change, Change::Status(false)) && !matches!(change, Change::Role(role) if *role != Role::Admin);
    if !stays_admin && admins == [id] {
        return Ok(Changed::LastAdmin);
    }
    let row = users::table.find(id);
    let (action, detail, hashes): (Action, Value, Vec<Vec<u8>>) = match change {
        Change::Role(role) => {
            diesel::update(row).set((users::role.eq(role.as_str()), users::updated_at.eq(now))).execute(conn).await?;
            (Action::UserRole, json!({ "from": old_role, "to": role }), sessions::hashes_of(conn, id).await?)
        }
        Change::Status(true) => {
            diesel::update(row).set((users::status.eq(UserStatus::Active), users::updated_at.eq(now))).execute(conn).await?;
            (Action::UserEnable, json!({}), Vec::new())
        }
        Change::Status(false) => {
            diesel::update(row).set((users::status.eq(UserStatus::Disabled), users::updated_at.eq(now))).execute(conn).await?;
            (Action::UserDisable, json!({}), sessions::end_all(conn, id).await?)
        }
        Change::Password(hash) => {
            diesel::update(row).set((users::password_hash.eq(hash), users::updated_at.eq(now))).execute(conn).await?;
            (Action::UserPassword, json!({}), sessions::end_all(conn, id).await?)
        }
    };
    audit::record(conn, actor, action, &resource(&email), Outcome::Ok, detail).await?;
    Ok(Changed::Done(hashes))
}
