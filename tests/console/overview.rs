//! The first page: kept for a moment, and never kept too long.

use larder::domain::actor::Role;
use reqwest::Method;

use crate::support::{PASSWORD, Page, TestApp, eventually};

/// The session's cookie of somebody who signs in at `app`.
async fn cookie(app: &TestApp, role: Role) -> String {
    let email = app.new_user(role).await;
    let entered = app.visitor().post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
    entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

async fn as_whom(app: &TestApp, cookie: &str, method: Method, path: &str) -> Page {
    let visitor = app.visitor();
    visitor.send(visitor.request(method, path).header("cookie", cookie)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_here_is_told_at_once() {
    let app = TestApp::start().await;
    let (editor, viewer) = (app.sign_in(Role::Editor).await, app.sign_in(Role::Viewer).await);
    for at in 0..4 {
        let name = format!("file-{at}.txt");
        editor.upload(&app.bucket, &name, "x").await.expect_status(303);
        for person in [&editor, &viewer] {
            let text = person.get("/").await.expect_status(200).text_of("main");
            assert!(text.contains(&name) && text.contains(&format!("{} file", at + 1)), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_its_own_page() {
    let app = TestApp::start().await;
    let (admin, viewer) = (app.sign_in(Role::Admin).await, app.sign_in(Role::Viewer).await);
    for _ in 0..3 {
        assert!(admin.get("/").await.has("main a[href='/audit']"));
        assert!(!viewer.get("/").await.has("main a[href='/audit']"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_at_another_console_is_told_soon() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let here = app.sign_in(Role::Editor).await;
    let there = cookie(&app, Role::Viewer).await;
    for name in ["one.txt", "two.txt"] {
        as_whom(&replica, &there, Method::GET, "/").await.expect_status(200);
        here.upload(&app.bucket, name, "x").await.expect_status(303);
        eventually("the other console tells of it", async || {
            as_whom(&replica, &there, Method::GET, "/").await.text_of("main").contains(name)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_ends_here_at_once_and_soon_at_another_console() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let cookie = cookie(&app, Role::Viewer).await;
    for console in [&app, &replica] {
        for path in ["/", "/", "/uploads"] {
            as_whom(console, &cookie, Method::GET, path).await.expect_status(200);
        }
    }
    let visitor = app.visitor();
    let leaving = visitor.request(Method::POST, "/session/end").header("cookie", &cookie);
    visitor.send(leaving.body("")).await.expect_status(303);
    as_whom(&app, &cookie, Method::GET, "/").await.expect_status(303);
    as_whom(&replica, &cookie, Method::GET, "/uploads").await.expect_status(303);
    eventually("it ends there", async || as_whom(&replica, &cookie, Method::GET, "/").await.status == 303).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_for_it_too() {
    let app = TestApp::start_with(|config| config.rate_limit_per_minute = 40).await;
    let viewer = app.sign_in(Role::Viewer).await;
    let mut left = Vec::new();
    loop {
        let page = viewer.get("/").await;
        if page.status == 429 {
            break;
        }
        let value = page.expect_status(200).header("ratelimit").unwrap().to_owned();
        left.push(value.split(';').find_map(|part| part.strip_prefix("r=")).unwrap().parse::<usize>().unwrap());
    }
    assert_eq!(left, (0..40).rev().collect::<Vec<_>>());
    viewer.get("/uploads").await.expect_status(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consoles_let_through_little_more_than_the_limit_and_count_it() {
    let app = TestApp::start_with(|config| config.rate_limit_per_minute = 80).await;
    let replica = app.replica().await;
    let cookie = cookie(&app, Role::Viewer).await;
    let mut let_through = 0;
    'asking: loop {
        for console in [&app, &replica] {
            if as_whom(console, &cookie, Method::GET, "/").await.status == 429 {
                break 'asking;
            }
            let_through += 1;
        }
    }
    // Each may take the other's last requests for free until Redis hears of them.
    assert!((80..=140).contains(&let_through), "{let_through}");
    for console in [&app, &replica] {
        eventually("both refuse", async || as_whom(console, &cookie, Method::GET, "/").await.status == 429).await;
    }
}
