//! Larder with its database behind PgBouncer in transaction mode.

use larder::config::Secret;
use larder::domain::actor::Role;

use crate::command_line::{larder, text};
use crate::support::{Pooler, Set, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn larder_works_through_a_pooler() {
    let set = Set::shared().await;
    let pooler = Pooler::start(&set, "").await;
    let app = TestApp::on(set.clone(), |config| {
        let direct: tokio_postgres::Config = config.database_url.reveal().parse().unwrap();
        config.database_url = Secret::new(pooler.url(direct.get_dbname().unwrap(), ""));
        config.migrate_on_start = true;
    })
    .await;
    let admin = app.sign_in(Role::Admin).await;
    let requests = (0..60).map(|number| {
        let (admin, bucket) = (&admin, &app.bucket);
        async move {
            match number % 3 {
                0 => admin.upload(bucket, &format!("{number}.txt"), "content").await.expect_status(303),
                1 => admin.get("/uploads").await.expect_status(200),
                _ => admin.get("/audit").await.expect_status(200),
            };
        }
    });
    futures_util::future::join_all(requests).await;
    let uploads = app.sql().await.query_one("SELECT count(*) FROM files WHERE state = 'ready'", &[]).await.unwrap();
    assert_eq!(uploads.get::<_, i64>(0), 20);
    admin.get("/health/postgres").await.expect_status(200);
    admin.post("/session/end", &[]).await.expect_status(303);
    assert_eq!(admin.get("/uploads").await.status, 303, "signed out");

    let empty = set.empty_database().await;
    let url = pooler.url(&empty, "");
    let direct = set.database_url(&empty);
    let mut environment = app.variables(&url);
    let migrated = larder(&["migrate"], &environment, "");
    assert!(migrated.status.success() && text(&migrated).contains("Ran "), "{}", text(&migrated));
    let doctor = larder(&["doctor"], &environment, "");
    assert!(doctor.status.success() && text(&doctor).contains("No problems found"), "{}", text(&doctor));
    environment.push(("DATABASE_MIGRATION_URL", direct.as_str()));
    for arguments in [&["migrate", "--revert", "1"][..], &["migrate"]] {
        let output = larder(arguments, &environment, "");
        assert!(output.status.success() && text(&output).contains("20"), "{}", text(&output));
    }
}
