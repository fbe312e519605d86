//! The console in Chromium, with script and without.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where it stopped")]

#[path = "../support/mod.rs"]
mod support;

mod health;
mod hostile;
mod journey;
mod pages;
mod resume;

use larder::domain::actor::Role;
use support::{Browser, PASSWORD, Settings, TestApp};

/// A browser in which a new person with this role is signed in.
async fn signed_in(app: &TestApp, role: Role, settings: Settings) -> Browser {
    signed_in_at(app, &app.base, role, settings).await
}

/// As `signed_in`, by another address.
async fn signed_in_at(app: &TestApp, base: &str, role: Role, settings: Settings) -> Browser {
    let email = app.new_user(role).await;
    let browser = Browser::open(settings).await;
    browser.goto(&format!("{base}/session")).await;
    browser.fill("[name=email]", &email).await;
    browser.fill("[name=password]", PASSWORD).await;
    browser.click("form button.primary").await;
    browser.find("nav").await;
    browser
}
