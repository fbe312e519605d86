//! The users of Postgres: one runs migrations, one serves the application, one makes backups, and each has only the
//! permissions it needs.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use larder::config::Secret;
use larder::domain::actor::Role;
use larder::domain::reconcile;
use larder::stores::postgres;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::containers::file;
use crate::support::{Set, TestApp};

/// A database whose users were created by a user who is not a superuser.
async fn prepared(set: &Set) -> String {
    let database = set.empty_database().await;
    let client = set.connect("postgres").await;
    let maker = "DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'first_user') THEN CREATE ROLE first_user LOGIN CREATEROLE CREATEDB; END IF;
        END $$";
    client.batch_execute(&format!("{maker}; ALTER DATABASE {database} OWNER TO first_user")).await.unwrap();
    let first = as_user(set, &database, "first_user").await;
    first.batch_execute(&file("deploy/postgres/roles.sql")).await.unwrap();
    database
}

fn url(set: &Set, database: &str, user: &str) -> String {
    set.database_url(database).replace("user=larder", &format!("user={user}"))
}

async fn as_user(set: &Set, database: &str, user: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&url(set, database, user), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Starts the application with its own user, which cannot run migrations.
async fn serve(set: &Arc<Set>, database: &str) -> TestApp {
    let url = Secret::new(url(set, database, "larder_app"));
    TestApp::on(set.clone(), |config| {
        config.database_url = url;
        config.migrate_on_start = false;
    })
    .await
}

/// A program that is installed with `initdb` in every version of PostgreSQL.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|entry| entry.unwrap().path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_for_migrations_serving_and_backups_are_separate() {
    let set = Set::shared().await;
    let database = prepared(&set).await;
    let owner = Secret::new(url(&set, &database, "larder_owner"));
    assert_eq!(postgres::applied(&Secret::new(url(&set, &database, "larder_app"))).await.unwrap().0, 0);
    let ran = postgres::migrate(&owner).await.unwrap().len();
    let app = serve(&set, &database).await;
    let admin = app.sign_in(Role::Admin).await;
    admin.upload(&app.bucket, "report.txt", "content").await.expect_status(303);
    assert!(admin.get("/uploads").await.expect_status(200).text().contains("report.txt"));
    assert!(admin.get("/audit").await.expect_status(200).text().contains("report.txt"));
    let etag = app.ctx.s3.head(&app.bucket, "report.txt", None).await.unwrap().etag;
    let key = URL_SAFE_NO_PAD.encode("report.txt");
    let doomed = [("k", key.as_str()), ("etag", &etag), ("confirm", "1")];
    admin.post(&format!("/buckets/{}/deletions", app.bucket), &doomed).await.expect_status(303);
    admin.upload(&app.bucket, "kept.txt", "content").await.expect_status(303);
    for page in ["/", "/users", "/health", "/cache"] {
        admin.get(page).await.expect_status(200);
    }
    let report = reconcile::run(&app.ctx, &reconcile::Options { bucket: None, repair: true }, &mut |_| {}).await.unwrap();
    assert_eq!(report.differences, 0);

    let serving = as_user(&set, &database, "larder_app").await;
    let reading = as_user(&set, &database, "larder_read").await;
    for (user, client) in [("larder_app", &serving), ("larder_read", &reading)] {
        for statement in [
            "UPDATE audit.events SET actor_label = 'B'",
            "DELETE FROM audit.events",
            "TRUNCATE audit.events",
            "DROP TABLE audit.events",
            "ALTER TABLE audit.events DISABLE TRIGGER ALL",
            "CREATE TABLE public.mine (id int)",
            "CREATE TABLE audit.mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE TEMPORARY TABLE mine (id int)",
            "TRUNCATE public.files",
            "DELETE FROM public.__diesel_schema_migrations",
            "INSERT INTO public.__diesel_schema_migrations VALUES ('20990101000000')",
            "SET ROLE larder_owner",
        ] {
            let error = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{user}: {statement}: {error}");
        }
        assert_eq!(postgres::applied(&Secret::new(url(&set, &database, user))).await.unwrap(), (ran, 0));
        assert!(!postgres::may_migrate(&Secret::new(url(&set, &database, user))).await.unwrap());
    }
    for statement in ["INSERT INTO public.tenants (id, slug, name) VALUES (gen_random_uuid(), 'x', 'X')", "DELETE FROM public.files"] {
        let error = reading.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error}");
    }

    let urls = app.servers().urls();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_larder"));
    doctor.arg("doctor").env_clear().current_dir(env!("CARGO_TARGET_TMPDIR")).env("DATABASE_URL", url(&set, &database, "larder_app"));
    doctor.env("REDIS_URL", &urls.redis_url).env("S3_ENDPOINT_URL", &urls.s3_endpoint).env("S3_BUCKETS", &app.bucket);
    doctor.env("AWS_ACCESS_KEY_ID", &urls.s3_access_key_id).env("AWS_SECRET_ACCESS_KEY", &urls.s3_secret_access_key);
    run(&mut doctor);

    // How a password is replaced without downtime.
    let heir = "DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'larder_app_2') THEN CREATE ROLE larder_app_2 LOGIN IN ROLE larder_app; END IF;
        END $$";
    set.connect(&database).await.batch_execute(heir).await.unwrap();
    as_user(&set, &database, "larder_app_2").await.batch_execute("UPDATE public.users SET updated_at = now()").await.unwrap();

    app.stop().await;
    restored(&set, &database).await;

    // The tables of later migrations are covered, and the file can be run again.
    as_user(&set, &database, "larder_owner").await.batch_execute("CREATE TABLE later (id int)").await.unwrap();
    as_user(&set, &database, "first_user").await.batch_execute(&file("deploy/postgres/roles.sql")).await.unwrap();
    serving.batch_execute("INSERT INTO later VALUES (1); UPDATE later SET id = 2; DELETE FROM later").await.unwrap();
    reading.batch_execute("SELECT FROM later; SELECT FROM audit.events").await.unwrap();
    as_user(&set, &database, "larder_owner").await.batch_execute("DROP TABLE later").await.unwrap();
}

/// Restores the backup into a database for the other users.
async fn restored(set: &Arc<Set>, database: &str) {
    let count = "SELECT count(*), (SELECT count(*) FROM files WHERE object_key = 'kept.txt' AND state = 'ready') FROM audit.events";
    let old = set.connect(database).await.query_one(count, &[]).await.unwrap();
    let dump = std::env::temp_dir().join(format!("larder-{database}.dump"));
    run(Command::new(program("pg_dump")).args(["--format=custom", "--dbname", &url(set, database, "larder_read"), "--file"]).arg(&dump));
    let fresh = prepared(set).await;
    let owner = url(set, &fresh, "larder_owner");
    run(Command::new(program("pg_restore"))
        .args(["--clean", "--if-exists", "--no-owner", "--exit-on-error", "--dbname", &owner])
        .arg(&dump));
    std::fs::remove_file(&dump).unwrap();
    let new = set.connect(&fresh).await.query_one(count, &[]).await.unwrap();
    assert_eq!((new.get::<_, i64>(0), new.get::<_, i64>(1)), (old.get::<_, i64>(0), 1));
    assert!(old.get::<_, i64>(0) > 3);
    let again = serve(set, &fresh).await;
    let editor = again.sign_in(Role::Editor).await;
    editor.upload(&again.bucket, "after.txt", "x").await.expect_status(303);
    let error = as_user(set, &fresh, "larder_app").await.batch_execute("DELETE FROM audit.events").await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let error = set.connect(&fresh).await.batch_execute("DELETE FROM audit.events").await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("insert-only"), "the triggers are back too: {error}");
}
