//! The console in Chromium, with and without scripts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic in a test shows where it failed")]

#[path = "../support/mod.rs"]
mod support;

mod folder;
mod forms;
mod health;
mod hostile;
mod journey;
mod pages;
mod resume;

use larder::domain::actor::Role;
use support::{Browser, PASSWORD, Settings, TestApp};

/// A browser signed in as a new user with this role.
async fn signed_in(app: &TestApp, role: Role, settings: Settings) -> Browser {
    signed_in_at(app, &app.base, role, settings).await
}

/// Like `signed_in`, under another base address.
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
