//! Floor 3, JSON: what programs ask.

#[path = "../support/mod.rs"]
mod support;

use support::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_and_ready() {
    let app = TestApp::start().await;
    app.visitor().get("/livez").await.expect_status(200);
    app.visitor().get("/readyz").await.expect_status(200);
}
