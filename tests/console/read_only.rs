//! Postgres that rejects changes: pages open, changes receive 503 with the reason, and users stay signed in.

use larder::domain::actor::Role;
use larder::domain::health::{Service, State};
use reqwest::header::ACCEPT;

use crate::support::{PASSWORD, TestApp, eventually};

const SENTENCE: &str = "Postgres is read-only, so nothing can be saved.";

/// As after a failover to a standby: sessions end, and new ones are read-only.
async fn set_read_only(app: &TestApp) {
    let sql = app.sql().await;
    sql.batch_execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", app.database)).await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sql.batch_execute(others).await.unwrap();
}

/// Sessions that are open remain read-only.
async fn set_writable(app: &TestApp) {
    let sql = app.sql().await;
    sql.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    sql.batch_execute(&format!("ALTER DATABASE {} RESET default_transaction_read_only", app.database)).await.unwrap();
}

async fn is_in_state(app: &TestApp, state: State) -> bool {
    app.ctx.health.one(Service::Postgres).state == state
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_open_and_changes_are_refused_with_the_reason() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    let email = app.new_user(Role::Viewer).await;
    let bucket = &app.bucket;
    admin.upload(bucket, "kept.txt", "kept").await.expect_status(303);
    eventually("Postgres is checked", async || is_in_state(&app, State::Up).await).await;

    set_read_only(&app).await;
    eventually("Postgres is shown as degraded", async || is_in_state(&app, State::Degraded).await).await;
    let problem = app.ctx.health.one(Service::Postgres).problem.unwrap().why;
    assert!(problem.contains("accepts no writes"), "{problem}");
    let pages = ["/", "/buckets", "/uploads", "/audit", "/users", "/cache", "/health", "/health/postgres", "/uploads/new"];
    let own = [format!("/buckets/{bucket}"), format!("/buckets/{bucket}/settings"), format!("/buckets/{bucket}/object?key=kept.txt")];
    for path in pages.into_iter().chain(own.iter().map(String::as_str)) {
        let page = admin.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
    }
    let refused = [
        admin.upload(bucket, "new.txt", "new").await,
        admin.post(&format!("/buckets/{bucket}/folders"), &[("name", "new")]).await,
        admin.post("/buckets", &[("name", "a-new-bucket")]).await,
        app.visitor().post("/session", &[("email", &email), ("password", PASSWORD)]).await,
        app.visitor().post("/session", &[("email", &email), ("password", "wrong")]).await,
    ];
    for page in refused {
        assert_eq!(page.status, 503, "{}: {}", page.path, page.text());
        assert!(page.text().contains(SENTENCE) && page.headers.contains_key("retry-after"), "{}: {}", page.path, page.text());
    }
    let upload = admin.request(reqwest::Method::POST, &format!("/buckets/{bucket}/uploads")).header(ACCEPT, "application/json");
    let file = reqwest::multipart::Part::text("x").file_name("x.txt");
    let response = admin.send(upload.multipart(reqwest::multipart::Form::new().part("file", file))).await;
    assert!(response.status == 503 && response.text().contains("Postgres is read-only"), "{}: {}", response.status, response.text());

    set_writable(&app).await;
    eventually("uploads work on new connections", async || admin.upload(bucket, "after.txt", "after").await.status == 303).await;
    app.sign_in(Role::Viewer).await;
    eventually("Postgres is shown as up", async || is_in_state(&app, State::Up).await).await;
    assert_eq!(admin.get("/account").await.status, 404, "still signed in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_degraded_until_it_is_promoted() {
    let app = TestApp::with_own_servers().await;
    let admin = app.sign_in(Role::Admin).await;
    let directory: String = app.sql().await.query_one("SHOW data_directory", &[]).await.unwrap().get(0);
    std::fs::write(std::path::Path::new(&directory).join("standby.signal"), "").unwrap();
    app.servers().postgres().restart().unwrap();
    eventually("Postgres is shown as degraded", async || is_in_state(&app, State::Degraded).await).await;
    assert!(app.ctx.health.one(Service::Postgres).problem.unwrap().why.contains("standby"));
    assert_eq!(admin.get("/uploads").await.status, 200);
    let refused = admin.upload(&app.bucket, "new.txt", "new").await;
    assert!(refused.status == 503 && refused.text().contains(SENTENCE), "{}: {}", refused.status, refused.text());

    app.sql().await.batch_execute("SELECT pg_promote()").await.unwrap();
    eventually("uploads work", async || admin.upload(&app.bucket, "after.txt", "after").await.status == 303).await;
    eventually("Postgres is shown as up", async || is_in_state(&app, State::Up).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_degraded_after_the_first_failed_change() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    eventually("Postgres is checked", async || is_in_state(&app, State::Up).await).await;
    // As when a table cannot be extended.
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'Datei kann nicht erweitert werden'; END $$;
                CREATE TRIGGER full_disk BEFORE INSERT ON files EXECUTE FUNCTION full_disk()";
    app.sql().await.batch_execute(full).await.unwrap();
    let refused = admin.upload(&app.bucket, "new.txt", "new").await;
    assert!(refused.status == 503 && refused.text().contains("The disk of the Postgres server is full"), "{}", refused.text());
    eventually("Postgres is shown as degraded", async || is_in_state(&app, State::Degraded).await).await;
    assert!(app.ctx.health.one(Service::Postgres).problem.unwrap().why.contains("disk"));
    assert_eq!(admin.get("/uploads").await.status, 200);
}
