//! The HTML console over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

use larder::domain::actor::Role;
use support::TestApp;

mod addresses;
mod browsing;
mod cache;
mod cache_names;
mod cache_server;
mod cache_values;
mod faults;
mod folders;
mod health;
mod hostile;
mod known_down;
mod lifecycle;
mod limits;
mod overview;
mod programs;
mod read_only;
mod reading;
mod redis_roles;
mod resumable;
mod retention;
mod roles;
mod settings;
mod slow_readers;
mod streams;
mod transfers;
mod unfinished;
mod unreadable;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_and_sees_the_overview() {
    let app = TestApp::start().await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/").await.expect_status(303).location(), "/session");
    for role in Role::ALL {
        let person = app.sign_in(role).await;
        assert!(person.get("/").await.expect_status(200).has("h1"));
    }
}
