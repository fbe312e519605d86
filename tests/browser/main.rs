//! The console in Chromium, with script and without.

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod journey;
mod pages;

use larder::domain::actor::Role;
use support::{Browser, PASSWORD, Settings, TestApp};

/// A browser in which a new person with this role is signed in.
async fn signed_in(app: &TestApp, role: Role, settings: Settings) -> Browser {
    let email = app.new_user(role).await;
    let browser = Browser::open(settings).await;
    browser.goto(&format!("{}/session", app.base)).await;
    browser.fill("[name=email]", &email).await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("form button.primary").await;
    browser.find("nav").await;
    browser
}
