//! Schema migrations: embedded in the binary, run by one process at a time; a newer schema is accepted.

use std::sync::LazyLock;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AnsiTransactionManager, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, TransactionManager};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Error;
use super::connect::{Purpose, open};
use super::connection::Connection;
use super::server::Server;
use super::sqlstate::{self, INSUFFICIENT_PRIVILEGE, Meaning};
use crate::config::Secret;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// The advisory lock of all Larder processes; "larder" in ASCII.
const LOCK: i64 = 0x6c_61_72_64_65_72;
/// How long to wait for another migrating process.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(QueryableByName)]
struct BoolRow {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Runs pending migrations and returns their names. Safe if several processes start at the same time. If none is pending,
/// nothing is written: the user may not be permitted to change the schema, and the server may be read-only.
pub async fn migrate(url: &Secret) -> Result<Vec<String>, Error> {
    let mut connection = connection(url).await?;
    if connection.run(async |connection| state(connection).await).await?.1 == 0 {
        return Ok(Vec::new());
    }
    run_locked(connection, |harness| {
        let versions = harness.run_pending_migrations(MIGRATIONS).map_err(|error| error.to_string())?;
        Ok(versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Reverts the last `count` migrations and returns their names, newest first.
pub async fn revert(url: &Secret, count: u32) -> Result<Vec<String>, Error> {
    run_locked(connection(url).await?, move |harness| {
        let mut reverted = Vec::new();
        for _ in 0..count {
            let any = !harness.applied_migrations().map_err(|error| error.to_string())?.is_empty();
            if !any {
                break;
            }
            reverted.push(harness.revert_last_migration(MIGRATIONS).map_err(|error| error.to_string())?.to_string());
        }
        Ok(reverted)
    })
    .await
}

/// Number of migrations applied to the database, and number of ours that are pending.
pub async fn applied(url: &Secret) -> Result<(usize, usize), Error> {
    connection(url).await?.run(async |connection| state(connection).await).await
}

/// Read-only: Diesel would create its table, which the user may not be permitted to do.
async fn state(connection: &mut AsyncPgConnection) -> Result<(usize, usize), Error> {
    let applied: Vec<Version> = if query_bool(connection, "to_regclass('__diesel_schema_migrations') IS NOT NULL").await? {
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(connection).await?
    } else {
        Vec::new()
    };
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| Error::Migration(error.to_string()))?;
    let versions = ours.iter().map(|migration| migration.name().version().to_string());
    let pending = versions.filter(|version| !applied.iter().any(|applied| applied.version == *version)).count();
    Ok((applied.len(), pending))
}

/// Whether the database user may change the schema.
pub async fn may_migrate(url: &Secret) -> Result<bool, Error> {
    let may = "has_database_privilege(current_database(), 'CREATE') AND coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    connection(url).await?.run(async |connection| query_bool(connection, may).await).await
}

async fn query_bool(connection: &mut AsyncPgConnection, what: &str) -> Result<bool, Error> {
    Ok(diesel::sql_query(format!("SELECT {what} AS yes")).get_result::<BoolRow>(connection).await?.yes)
}

/// Number of migrations in this binary.
pub fn known_migrations() -> usize {
    static KNOWN: LazyLock<usize> =
        LazyLock::new(|| MigrationSource::<Pg>::migrations(&MIGRATIONS).map_or(0, |migrations| migrations.len()));
    *KNOWN
}

async fn connection(url: &Secret) -> Result<Connection, Error> {
    Ok(open(&Server::new(url), Purpose::Migration).await?)
}

/// Takes the lock of all migrating processes: that of the session, or behind a pooler that of one transaction, which then
/// contains all migrations. It polls instead of blocking, so that a waiting process holds no snapshot that could block an
/// index build.
async fn lock(connection: &mut Connection) -> Result<(), Error> {
    let deadline = tokio::time::Instant::now() + LOCK_TIMEOUT;
    let function = if connection.is_behind_pooler() { "pg_try_advisory_xact_lock" } else { "pg_try_advisory_lock" };
    loop {
        if connection.is_behind_pooler() {
            connection.begin().await?;
        }
        if query_bool(connection, &format!("{function}({LOCK})")).await? {
            return Ok(());
        }
        if connection.is_behind_pooler() {
            connection.rollback().await?;
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Error::Migration(format!("another process has been migrating for {} s", LOCK_TIMEOUT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs under the lock, which ends with the connection, and on a blocking thread, because Diesel's harness blocks.
async fn run_locked<T: Send + 'static>(
    mut connection: Connection,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<T, String> + Send + 'static,
) -> Result<T, Error> {
    lock(&mut connection).await?;
    let in_transaction = connection.is_behind_pooler();
    let (connection, _driver) = connection.into_parts();
    let mut harness = AsyncMigrationHarness::new(connection);
    let joined = tokio::task::spawn_blocking(move || work(&mut harness).map(|done| (done, harness.into_inner()))).await;
    let (done, mut connection) = joined.map_err(|error| Error::Unreachable(error.to_string()))?.map_err(failed)?;
    if in_transaction {
        AnsiTransactionManager::commit_transaction(&mut connection).await?;
    }
    Ok(done)
}

/// Diesel's harness returns texts.
fn failed(why: String) -> Error {
    match sqlstate::code_within(&why).map(|code| (code, sqlstate::meaning(code))) {
        Some((INSUFFICIENT_PRIVILEGE, _)) => Error::Migration(format!(
            "Larder's database user is not permitted to change the schema ({why}). Let it own the database, or set \
             DATABASE_MIGRATION_URL to the owner: see deploy/postgres/roles.sql"
        )),
        Some((_, Meaning::Unavailable(reason))) => Error::Unavailable { reason, detail: why },
        Some((_, Meaning::Unreachable)) => Error::Unreachable(why),
        Some((_, Meaning::Timeout)) => Error::Timeout,
        Some((_, Meaning::Rejected)) | None => Error::Migration(why),
    }
}
