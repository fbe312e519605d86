//! Schema migrations: embedded in the binary, one process at a time, a newer schema tolerated.

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
/// The advisory lock that every Larder takes; "larder" in ASCII.
const LOCK: i64 = 0x6c_61_72_64_65_72;
/// How long to wait for another process that is migrating.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Runs what is pending; the names of what was run. Harmless when several processes start at once.
pub async fn migrate(url: &Secret) -> Result<Vec<String>, Error> {
    let harness = locked(url).await?;
    on_harness(harness, |harness| {
        let versions = harness.run_pending_migrations(MIGRATIONS).map_err(|error| error.to_string())?;
        Ok(versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Reverts the last `count` migrations; the names of what was reverted, newest first.
pub async fn revert(url: &Secret, count: u32) -> Result<Vec<String>, Error> {
    let harness = locked(url).await?;
    on_harness(harness, move |harness| {
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

/// How many migrations the database has seen, and how many of ours it has not. Reads only, where Diesel would make its
/// table: a user who may not create asks too.
pub async fn applied(url: &Secret) -> Result<(usize, usize), Error> {
    let mut connection = connection(url).await?;
    let seen: Vec<Version> = if ask(&mut connection, "to_regclass('__diesel_schema_migrations') IS NOT NULL").await? {
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(&mut connection).await?
    } else {
        Vec::new()
    };
    let ours = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| Error::Unreachable(error.to_string()))?;
    let versions = ours.iter().map(|migration| migration.name().version().to_string());
    let pending = versions.filter(|version| !seen.iter().any(|seen| seen.version == *version)).count();
    Ok((seen.len(), pending))
}

/// Whether this user may change the schema.
pub async fn may_migrate(url: &Secret) -> Result<bool, Error> {
    let may = "has_database_privilege(current_database(), 'CREATE') AND coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    ask(&mut connection(url).await?, may).await
}

async fn ask(connection: &mut AsyncPgConnection, what: &str) -> Result<bool, Error> {
    Ok(diesel::sql_query(format!("SELECT {what} AS yes")).get_result::<Answer>(connection).await?.yes)
}

/// How many migrations this Larder has.
pub fn known_migrations() -> usize {
    static KNOWN: LazyLock<usize> =
        LazyLock::new(|| MigrationSource::<Pg>::migrations(&MIGRATIONS).map_or(0, |migrations| migrations.len()));
    *KNOWN
}

async fn connection(url: &Secret) -> Result<AsyncPgConnection, Error> {
    open(url.reveal().to_owned(), Purpose::Migration).await.map_err(|failed| Error::Unreachable(failed.why))
}

/// A connection that holds the lock until it is closed. Tried rather than waited for, so that a process that
/// waits holds no snapshot that could block an index build.
async fn locked(url: &Secret) -> Result<AsyncMigrationHarness<AsyncPgConnection>, Error> {
    let mut connection = connection(url).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let query = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(LOCK);
        if query.get_result::<Answer>(&mut connection).await?.yes {
            return Ok(AsyncMigrationHarness::new(connection));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(Error::Unreachable(format!("another process has been migrating for {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Diesel's harness blocks its thread, so it gets one of its own.
async fn on_harness<T: Send + 'static>(
    mut harness: AsyncMigrationHarness<AsyncPgConnection>,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<T, String> + Send + 'static,
) -> Result<T, Error> {
    let worked = tokio::task::spawn_blocking(move || work(&mut harness)).await;
    match worked {
        Ok(outcome) => outcome.map_err(|why| Error::Query(Arc::new(diesel::result::Error::QueryBuilderError(why.into())))),
        Err(error) => Err(Error::Unreachable(error.to_string())),
    }
}
