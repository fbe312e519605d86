//! What a role may not read appears on no page that it can open.

use larder::console::{Access, ROUTES};
use larder::domain::actor::Role;

use crate::support::TestApp;

/// Of other people: where they are, their sign-ins, names of keys and patterns that they worked with.
const SECRETS: [&str; 5] = ["203.0.113.77", "hidden-key-name", "hidden-pattern", "hidden.person@example.com", "hidden-request"];

#[tokio::test(flavor = "multi_thread")]
async fn no_page_shows_a_role_what_it_may_not_read() {
    let app = TestApp::start().await;
    let sql = app.sql().await;
    let tenant = "(SELECT id FROM tenants LIMIT 1)";
    app.sign_in(Role::Admin).await.upload(&app.bucket, "report.txt", "content").await.expect_status(303);
    for (action, resource) in [
        ("session.begin", "session".to_owned()),
        ("session.refuse", "session".to_owned()),
        ("key.delete", "redis:hidden-key-name".to_owned()),
        ("key.delete_matching", "redis:hidden-pattern*".to_owned()),
        ("user.create", "user:hidden.person@example.com".to_owned()),
        ("object.download", format!("s3://{}/report.txt", app.bucket)),
    ] {
        let statement = format!(
            "INSERT INTO audit.events (id, tenant_id, actor_kind, actor_id, actor_label, action, resource, outcome, address, request_id, detail)
             VALUES (gen_random_uuid(), {tenant}, 'user', gen_random_uuid(), 'Another', $1, $2, 'ok', '203.0.113.77', 'hidden-request', '{{}}')"
        );
        sql.execute(&statement, &[&action, &resource]).await.unwrap();
    }
    app.redis(&["SET", "hidden-key-name", "x"]).await;
    let batch: String = sql.query_one("SELECT batch_id::text FROM files LIMIT 1", &[]).await.unwrap().get(0);

    let admin = app.sign_in(Role::Admin).await;
    assert!(admin.get("/audit").await.text().contains("203.0.113.77"), "the test plants what it looks for");
    for (role, access) in [(Role::Viewer, Access::Viewer), (Role::Editor, Access::Editor)] {
        let client = app.sign_in(role).await;
        let may_open = |needed: Access| matches!((access, needed), (_, Access::Public | Access::Viewer) | (Access::Editor, Access::Editor));
        let mut opened = 0;
        // Event streams do not end; they send what the page they belong to shows.
        for route in ROUTES.iter().filter(|route| route.method == "GET" && !route.pattern.ends_with("/events") && may_open(route.role)) {
            let path = route
                .pattern
                .replace("{bucket}", &app.bucket)
                .replace("{batch}", &batch)
                .replace("{id}", &batch)
                .replace("{name}", "redis");
            let query =
                if path.contains("/object") || path.contains("/download") || path.contains("/preview") { "?key=report.txt" } else { "" };
            let page = client.get(&format!("{path}{query}")).await;
            opened += usize::from(page.status == 200);
            for secret in SECRETS {
                assert!(!page.text().contains(secret), "{role:?} reads {secret} on {path}");
            }
        }
        assert!(opened >= 12, "{opened} pages were opened");
    }
}
