//! The first admin, and the last one.

use larder::domain::actor::{Actor, Role};
use larder::domain::setup::{self, FirstUser};
use larder::domain::users::{self, NewUser};
use larder::domain::{Error, audit};

use crate::support::{PASSWORD, TestApp};

const FIRST: FirstUser<'_> = FirstUser { email: "mara@example.com", name: "Mara", password: PASSWORD };

fn visitor() -> Actor {
    Actor::anonymous("visitor", None, "test")
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_succeeds_once_and_is_then_unavailable() {
    let app = TestApp::start().await;
    let token = setup::issue_token(&app.ctx).await.unwrap().unwrap();
    assert!(matches!(setup::complete(&app.ctx, &visitor(), "wrong", FIRST).await, Err(Error::Refused { field: "token", .. })));
    let other = FirstUser { email: "ben@example.com", ..FIRST };
    let actor = visitor();
    let (one, two) = tokio::join!(setup::complete(&app.ctx, &actor, &token, FIRST), setup::complete(&app.ctx, &actor, &token, other));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(matches!(setup::complete(&app.ctx, &visitor(), &token, FIRST).await, Err(Error::NotFound(_))));
    assert!(setup::issue_token(&app.ctx).await.unwrap().is_none());
    let people = users::list(&app.ctx, &Actor::system("Tests")).await.unwrap();
    assert_eq!((people.len(), people[0].role), (1, Role::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_reports_an_error_for_each_invalid_field() {
    let app = TestApp::start().await;
    let token = setup::issue_token(&app.ctx).await.unwrap().unwrap();
    for (first, field) in [
        (FirstUser { email: "mara", ..FIRST }, "email"),
        (FirstUser { email: "@example.com", ..FIRST }, "email"),
        (FirstUser { name: " ", ..FIRST }, "name"),
        (FirstUser { password: "short", ..FIRST }, "password"),
    ] {
        match setup::complete(&app.ctx, &visitor(), &token, first).await {
            Err(Error::Refused { field: named, why }) => assert!(named == field && why.ends_with('.'), "{named}: {why}"),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_creates_the_first_admin_once() {
    let app = TestApp::start_with(|config| {
        config.first_admin =
            Some(larder::config::FirstAdmin { email: "ops@example.com".into(), password: larder::config::Secret::new(PASSWORD) });
    })
    .await;
    // Already done by the start.
    assert!(!setup::from_environment(&app.ctx).await.unwrap());
    let people = users::list(&app.ctx, &Actor::system("Tests")).await.unwrap();
    assert_eq!((people.len(), people[0].email.as_str(), people[0].role), (1, "ops@example.com", Role::Admin));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_is_kept_even_if_two_admins_demote_each_other() {
    let app = TestApp::start().await;
    let system = Actor::system("Tests");
    for email in ["a@example.com", "b@example.com"] {
        users::create(&app.ctx, &system, NewUser { email, name: "A", role: Role::Admin, password: PASSWORD }).await.unwrap();
    }
    let people = users::list(&app.ctx, &system).await.unwrap();
    let (one, two) =
        tokio::join!(users::set_role(&app.ctx, &system, people[0].id, Role::Viewer), users::disable(&app.ctx, &system, people[1].id));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let left: Vec<_> =
        users::list(&app.ctx, &system).await.unwrap().into_iter().filter(|user| user.role == Role::Admin && !user.disabled).collect();
    assert_eq!(left.len(), 1);
    assert!(matches!(users::disable(&app.ctx, &system, left[0].id).await, Err(Error::Conflict(_))));
    assert!(matches!(users::set_role(&app.ctx, &system, left[0].id, Role::Editor).await, Err(Error::Conflict(_))));
    // A new password removes no permissions.
    users::set_password(&app.ctx, &system, left[0].id, "another password 4321").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_is_unique_regardless_of_case_and_changes_are_audited() {
    let app = TestApp::start().await;
    let system = Actor::system("Tests");
    let new = |email| NewUser { email, name: "Aiko", role: Role::Viewer, password: PASSWORD };
    users::create(&app.ctx, &system, new("aiko@example.com")).await.unwrap();
    assert!(matches!(users::create(&app.ctx, &system, new("AIKO@example.com")).await, Err(Error::Refused { field: "email", .. })));
    let events = audit::of_resource(&app.ctx, &system, "user:aiko@example.com", 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(), ["user.create"]);
}
