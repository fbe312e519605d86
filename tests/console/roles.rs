//! The role that each route requires. The list below is reviewed by hand; a route that is missing from it fails the test.

use larder::console::{Access, ROUTES};
use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::TestApp;

const REVIEWED: [(&str, &str, Access); 62] = [
    ("GET", "/", Access::Viewer),
    ("GET", "/setup", Access::Public),
    ("POST", "/setup", Access::Public),
    ("GET", "/session", Access::Public),
    ("POST", "/session", Access::Public),
    ("POST", "/session/end", Access::Public),
    ("POST", "/theme", Access::Public),
    ("GET", "/buckets", Access::Viewer),
    ("POST", "/buckets", Access::Admin),
    ("POST", "/counts", Access::Viewer),
    ("GET", "/buckets/{bucket}", Access::Viewer),
    ("GET", "/buckets/{bucket}/settings", Access::Viewer),
    ("POST", "/buckets/{bucket}/abilities", Access::Editor),
    ("GET", "/buckets/{bucket}/unfinished", Access::Viewer),
    ("POST", "/buckets/{bucket}/unfinished/deletion", Access::Editor),
    ("POST", "/buckets/{bucket}/deletion", Access::Admin),
    ("POST", "/buckets/{bucket}/folders", Access::Editor),
    ("GET", "/buckets/{bucket}/object", Access::Viewer),
    ("GET", "/buckets/{bucket}/download", Access::Viewer),
    ("GET", "/buckets/{bucket}/preview", Access::Viewer),
    ("POST", "/buckets/{bucket}/links", Access::Editor),
    ("GET", "/buckets/{bucket}/deletions", Access::Editor),
    ("POST", "/buckets/{bucket}/deletions", Access::Editor),
    ("POST", "/buckets/{bucket}/uploads", Access::Editor),
    ("POST", "/buckets/{bucket}/uploads/resumable", Access::Editor),
    ("GET", "/buckets/{bucket}/uploads/{id}", Access::Editor),
    ("POST", "/buckets/{bucket}/uploads/{id}/parts", Access::Editor),
    ("POST", "/buckets/{bucket}/uploads/{id}/completion", Access::Editor),
    ("POST", "/buckets/{bucket}/uploads/{id}/deletion", Access::Editor),
    ("GET", "/uploads", Access::Viewer),
    ("GET", "/uploads/new", Access::Editor),
    ("GET", "/uploads/{batch}", Access::Viewer),
    ("GET", "/cache", Access::Viewer),
    ("GET", "/cache/namespaces", Access::Viewer),
    ("POST", "/cache/namespaces/samples", Access::Viewer),
    ("POST", "/cache/namespaces/clearings", Access::Admin),
    ("GET", "/cache/slowlog", Access::Admin),
    ("GET", "/cache/clients", Access::Admin),
    ("GET", "/cache/settings", Access::Admin),
    ("GET", "/cache/keys", Access::Admin),
    ("POST", "/cache/keys/deletions", Access::Admin),
    ("GET", "/cache/key", Access::Admin),
    ("GET", "/cache/key/download", Access::Admin),
    ("POST", "/cache/key/expiry", Access::Admin),
    ("POST", "/cache/key/expiry/removal", Access::Admin),
    ("POST", "/cache/key/deletion", Access::Admin),
    ("GET", "/cache/biggest", Access::Admin),
    ("POST", "/cache/biggest", Access::Admin),
    ("GET", "/cache/scans/{id}", Access::Admin),
    ("POST", "/cache/scans/{id}/stop", Access::Admin),
    ("GET", "/audit", Access::Admin),
    ("GET", "/health", Access::Public),
    ("GET", "/health/events", Access::Viewer),
    ("POST", "/health/checks", Access::Viewer),
    ("POST", "/health/models", Access::Admin),
    ("GET", "/health/services/{name}/events", Access::Viewer),
    ("GET", "/health/services/{name}", Access::Viewer),
    ("GET", "/users", Access::Admin),
    ("POST", "/users", Access::Admin),
    ("POST", "/users/{id}/role", Access::Admin),
    ("POST", "/users/{id}/status", Access::Admin),
    ("POST", "/users/{id}/password", Access::Admin),
];

fn needed(access: Access) -> Option<Role> {
    match access {
        Access::Public => None,
        Access::Viewer => Some(Role::Viewer),
        Access::Editor => Some(Role::Editor),
        Access::Admin => Some(Role::Admin),
    }
}

#[test]
fn every_route_has_been_reviewed() {
    let table: Vec<(&str, &str, Access)> = ROUTES.iter().map(|route| (route.method, route.pattern, route.role)).collect();
    for route in &table {
        assert!(REVIEWED.contains(route), "{route:?} is not in the reviewed list");
    }
    assert_eq!(table.len(), REVIEWED.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_has_access_to_its_routes_only() {
    let app = TestApp::start().await;
    let mut people = vec![(None, app.visitor())];
    for role in Role::ALL {
        people.push((Some(role), app.sign_in(role).await));
    }
    let unknown_id = uuid::Uuid::now_v7().to_string();
    for route in ROUTES {
        // The first ends the session, the others stream for a minute: see tests/console/streams.rs.
        if route.pattern == "/session/end" || route.pattern.ends_with("/events") {
            continue;
        }
        let path = route
            .pattern
            .replace("{bucket}", &app.bucket)
            .replace("{id}", &unknown_id)
            .replace("{batch}", &unknown_id)
            .replace("{name}", "redis");
        for (role, client) in &people {
            let method = Method::from_bytes(route.method.as_bytes()).unwrap();
            let page = client.send(client.request(method, &path)).await;
            let to_sign_in = page.status == 303 && page.location().starts_with("/session");
            let what = format!("{} {path} as {role:?}: {}", route.method, page.status);
            assert!(page.status < 500, "{what}");
            match (needed(route.role), role) {
                (None, _) => assert_ne!(page.status, 403, "{what}"),
                (Some(_), None) => assert!(to_sign_in, "{what}"),
                (Some(needed), Some(role)) if *role < needed => assert_eq!(page.status, 403, "{what}"),
                (Some(_), Some(_)) => assert!(page.status != 403 && !to_sign_in, "{what}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_another_site_does_nothing() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    for route in ROUTES.iter().filter(|route| route.method == "POST") {
        let path = route.pattern.replace("{bucket}", &app.bucket).replace("{id}", "x");
        for (name, value) in
            [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")]
        {
            let request = admin.request(Method::POST, &path).header(name, value).header("content-type", "text/plain").body("x");
            admin.send(request).await.expect_status(403);
        }
    }
    // Still signed in.
    assert!(admin.get("/users").await.expect_status(200).has("table"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_method_is_405_and_an_unknown_path_404() {
    let app = TestApp::start().await;
    let admin = app.sign_in(Role::Admin).await;
    for route in ROUTES {
        let path = route.pattern.replace("{bucket}", &app.bucket).replace("{id}", "x").replace("{batch}", "x").replace("{name}", "redis");
        let page = admin.send(admin.request(Method::DELETE, &path)).await.expect_status(405);
        assert!(page.header("allow").is_some_and(|allow| allow.contains(route.method)), "{path}");
        assert!(page.has("h1"), "{path}");
    }
    let missing = larder::console::view::assets::url("nope.css");
    for path in [missing.as_str(), "/nope", "/buckets/new/nope", "/.git/config", "/static/nope.css", "/users/x/nope"] {
        assert!(admin.get(path).await.expect_status(404).has("h1"), "{path}");
    }
}
