//! Schema migrations: embedded in the binary, run by one process at a time; a newer schema is accepted.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use diesel::QueryableByName;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Error;
use super::connect::{Purpose, open};
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

/// Runs pending migrations and returns their names. Safe if several processes start at the same time.
pub async fn migrate(url: &Secret) -> Result<Vec<String>, Error> {
    let harness = lock(url).await?;
    run_blocking(harness, |harness| {
        let versions = harness.run_pending_migrations(MIGRATIONS).map_err(|error| error.to_string())?;
        Ok(versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Reverts the last `count` migrations and returns their names, newest first.
pub async fn revert(url: &Secret, count: u32) -> Result<Vec<String>, Error> {
    let harness = lock(url).await?;
    run_blocking(harness, move |harness| {
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

/// Number of migrations applied to the database, and number of ours that are pending. Read-only: Diesel would create
/// its table, which the user may not be permitted to do.
pub async fn applied(url: &Secret) -> Result<(usize, usize), Error> {
    let mut connection = connection(url).await?;
    let applied: Vec<Version> = if query_bool(&mut connection, "to_regclass('__diesel_schema_migrations') IS NOT NULL").await? {
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(&mut connection).await?
    } else {
        Vec::new()
    };
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| Error::Unreachable(error.to_string()))?;
    let versions = ours.iter().map(|migration| migration.name().version().to_string());
    let pending = versions.filter(|version| !applied.iter().any(|applied| applied.version == *version)).count();
    Ok((applied.len(), pending))
}

/// Whether the database user may change the schema.
pub async fn may_migrate(url: &Secret) -> Result<bool, Error> {
    let may = "has_database_privilege(current_database(), 'CREATE') AND coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    query_bool(&mut connection(url).await?, may).await
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

async fn connection(url: &Secret) -> Result<AsyncPgConnection, Error> {
    open(url.reveal().to_owned(), Purpose::Migration).await.map_err(|failed| Error::Unreachable(failed.detail))
}

/// A connection that holds the lock until it is closed. It polls instead of blocking, so that a waiting process holds
/// no snapshot that could block an index build.
async fn lock(url: &Secret) -> Result<AsyncMigrationHarness<AsyncPgConnection>, Error> {
    let mut connection = connection(url).await?;
    let deadline = tokio::time::Instant::now() + LOCK_TIMEOUT;
    loop {
        let query = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(LOCK);
        if query.get_result::<BoolRow>(&mut connection).await?.yes {
            return Ok(AsyncMigrationHarness::new(connection));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Error::Unreachable(format!("another process has been migrating for {} s", LOCK_TIMEOUT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs on a blocking thread, because Diesel's harness blocks.
async fn run_blocking<T: Send + 'static>(
    mut harness: AsyncMigrationHarness<AsyncPgConnection>,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<T, String> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(move || work(&mut harness)).await;
    match joined {
        Ok(outcome) => outcome.map_err(|why| Error::Query(Arc::new(diesel::result::Error::QueryBuilderError(why.into())))),
        Err(error) => Err(Error::Unreachable(error.to_string())),
    }
}
