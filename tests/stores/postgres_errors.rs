//! Errors of Postgres are recognized by their codes, whatever the language of the server.

use diesel_async::RunQueryDsl;
use larder::config::Secret;
use larder::stores::postgres::{Error, Pool, Reason};

use crate::support::{Set, eventually};

async fn execute(pool: &Pool, statement: &str) -> Result<usize, Error> {
    pool.run(async |conn| Ok(diesel::sql_query(statement).execute(conn).await?)).await
}

async fn pool_of(set: &Set, database: &str) -> Pool {
    Pool::new(&Secret::new(set.database_url(database)), &tokio::runtime::Handle::current())
}

/// The URL of the database for a user without any privilege.
async fn url_of_new_user(set: &Set, database: &str, user: &str) -> Secret {
    let create = format!("DO $$ BEGIN CREATE ROLE {user} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$");
    set.connect("postgres").await.batch_execute(&create).await.unwrap();
    Secret::new(set.database_url(database).replace("user=larder", &format!("user={user}")))
}

/// An error as a server with German messages sends it.
async fn raised(pool: &Pool, code: &str) -> Error {
    let raise = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'Abbruch: Zeitüberschreitung'; END $$");
    execute(pool, &raise).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_decides_what_an_error_means() {
    let set = Set::shared().await;
    let pool = pool_of(&set, &set.new_database().await).await;
    for code in ["57014", "55P03", "25P03"] {
        let error = raised(&pool, code).await;
        assert!(matches!(error, Error::Timeout), "{code}: {error:?}");
    }
    for code in ["57P01", "57P02", "08006", "08P01"] {
        let error = raised(&pool, code).await;
        assert!(matches!(&error, Error::Unreachable(_)), "{code}: {error:?}");
    }
    for (code, expected) in [
        ("25006", Reason::ReadOnly),
        ("53100", Reason::DiskFull),
        ("53200", Reason::OutOfMemory),
        ("53300", Reason::TooManyConnections),
        ("57P03", Reason::StartingOrStopping),
        ("40001", Reason::Conflict),
        ("40P01", Reason::Conflict),
    ] {
        let error = raised(&pool, code).await;
        assert!(matches!(&error, Error::Unavailable { reason, .. } if *reason == expected), "{code}: {error:?}");
    }
    // The text is that of a statement timeout, but not the code.
    let error = execute(&pool, "DO $$ BEGIN RAISE EXCEPTION 'canceling statement due to statement timeout'; END $$").await;
    assert!(matches!(&error, Err(Error::Query(error)) if error.to_string().contains("P0001: ")), "{error:?}");
    let violated = execute(&pool, "INSERT INTO tenants SELECT * FROM tenants").await.unwrap_err();
    assert_eq!(violated.unique_violation(), Some("tenants_pkey"));
}

/// Needs the locale on this machine: `localedef -i de_DE -f UTF-8 de_DE.UTF-8`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_german_messages_is_understood() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    if set.connect(&database).await.batch_execute("SET lc_messages = 'de_DE.UTF-8'").await.is_err() {
        eprintln!("SKIPPED: the locale de_DE.UTF-8 does not exist on this machine");
        return;
    }
    let options = "&options=-c%20lc_messages%3Dde_DE.UTF-8%20-c%20statement_timeout%3D100ms";
    let pool = Pool::new(&Secret::new(set.database_url(&database) + options), &tokio::runtime::Handle::current());
    let error = execute(&pool, "SELECT 1 / 0").await.unwrap_err();
    assert!(error.to_string().contains("22012: Division durch Null"), "{error}");
    let error = execute(&pool, "SELECT pg_sleep(3)").await;
    assert!(matches!(error, Err(Error::Timeout)), "{error:?}");
    let error = execute(&pool, "SELECT pg_terminate_backend(pg_backend_pid())").await;
    assert!(matches!(error, Err(Error::Unreachable(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_replaced_without_an_error() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let pool = pool_of(&set, &database).await;
    execute(&pool, "SELECT 1").await.unwrap();
    let ends =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended: i64 = set.connect(&database).await.query_one(ends, &[]).await.unwrap().get(0);
    assert_eq!(ended, 1);
    execute(&pool, "SELECT 1").await.unwrap();
    // While a statement is running.
    let running = execute(&pool, "SELECT pg_sleep(30)");
    let ending = async {
        let other = set.connect(&database).await;
        eventually("the statement is ended", async || other.query_one(ends, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    };
    let (error, ()) = tokio::join!(running, ending);
    assert!(matches!(error, Err(Error::Unreachable(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_read_only_server_is_not_used_again() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let pool = pool_of(&set, &database).await;
    let admin = set.connect(&database).await;
    admin.batch_execute(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await.unwrap();
    let write = "UPDATE tenants SET name = 'Changed'";
    let error = execute(&pool, write).await;
    assert!(matches!(&error, Err(Error::Unavailable { reason: Reason::ReadOnly, .. })), "{error:?}");
    let error = pool.check_available().await;
    assert!(matches!(&error, Err(Error::Unavailable { reason: Reason::ReadOnly, .. })), "{error:?}");
    assert!(pool.was_read_only());
    execute(&pool, "SELECT 1").await.unwrap();
    admin.batch_execute(&format!("ALTER DATABASE {database} RESET default_transaction_read_only")).await.unwrap();
    // The connection that was opened for the last statement is read-only as well, and the pool does not know it yet.
    assert!(execute(&pool, write).await.is_err());
    execute(&pool, write).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_connections_is_reported_with_the_reason() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let url = url_of_new_user(&set, &database, "limited").await;
    set.connect("postgres").await.batch_execute("ALTER ROLE limited CONNECTION LIMIT 0").await.unwrap();
    let pool = Pool::new(&url, &tokio::runtime::Handle::current());
    let error = execute(&pool, "SELECT 1").await;
    assert!(matches!(&error, Err(Error::Unavailable { reason: Reason::TooManyConnections, .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_create_tables_is_told_so() {
    let set = Set::shared().await;
    let database = set.empty_database().await;
    let url = url_of_new_user(&set, &database, "reader").await;
    let error = larder::stores::postgres::migrate(&url).await.unwrap_err().to_string();
    assert!(error.contains("not permitted to change the schema") && error.contains("DATABASE_MIGRATION_URL"), "{error}");
    // Nothing is pending, so nothing is written.
    larder::stores::postgres::migrate(&Secret::new(set.database_url(&database))).await.unwrap();
    let grant = "GRANT SELECT ON __diesel_schema_migrations TO reader";
    set.connect(&database).await.batch_execute(grant).await.unwrap();
    assert_eq!(larder::stores::postgres::migrate(&url).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_shutting_down_is_reported_with_the_reason() {
    let set = Set::own().await;
    let database = set.new_database().await;
    let _held = set.connect(&database).await;
    // A smart shutdown waits for the session above.
    let pid = set.servers().postgres().pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let pool = pool_of(&set, &database).await;
    eventually("new connections are refused", async || {
        let answer = execute(&pool, "SELECT 1").await;
        matches!(answer, Err(Error::Unavailable { reason: Reason::StartingOrStopping, .. }))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_tried_until_one_has_the_session_that_is_wanted() {
    let set = Set::shared().await;
    let database = set.new_database().await;
    let url = set.database_url(&database);
    let two = url.replace("?host=", "?host=%2Fmissing&host=");
    let pool = |wanted: &str| {
        let url = format!("{two}&target_session_attrs={wanted}");
        Pool::new(&Secret::new(url), &tokio::runtime::Handle::current())
    };
    execute(&pool("read-write"), "UPDATE tenants SET name = 'Changed'").await.unwrap();
    assert!(execute(&pool("read-only"), "SELECT 1").await.is_err());
    let admin = set.connect(&database).await;
    admin.batch_execute(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await.unwrap();
    let error = execute(&pool("read-write"), "SELECT 1").await;
    assert!(matches!(&error, Err(Error::Unavailable { reason: Reason::ReadOnly, .. })), "{error:?}");
    execute(&pool("read-only"), "SELECT 1").await.unwrap();
}
