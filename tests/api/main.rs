//! The endpoints for programs, and the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod command_line;
mod health;
mod metrics;
mod observatory;
mod pooler;

use support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_and_ready() {
    let app = TestApp::start().await;
    app.visitor().get("/livez").await.expect_status(200);
    app.visitor().get("/readyz").await.expect_status(200);
}
