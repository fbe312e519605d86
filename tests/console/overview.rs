//! The first page: kept for a moment, and never kept too long.

use std::time::Duration;

use larder::domain::actor::{Actor, Role};
use larder::domain::users;
use reqwest::Method;

use crate::support::{PASSWORD, Page, TestApp, eventually, eventually_within};

/// Far less than the minutes in which somebody would notice by themselves, far more than the second that is promised.
const SOON: Duration = Duration::from_secs(5);

struct Person<'a> {
    app: &'a TestApp,
    email: String,
    cookie: String,
}

impl<'a> Person<'a> {
    async fn sign_in(app: &'a TestApp, role: Role) -> Self {
        let email = app.new_user(role).await;
        let entered = app.visitor().post("/session", &[("email", &email), ("password", PASSWORD)]).await.expect_status(303);
        let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { app, email, cookie }
    }

    fn at<'b>(&self, app: &'b TestApp) -> Person<'b> {
        Person { app, email: self.email.clone(), cookie: self.cookie.clone() }
    }

    async fn ask(&self, method: Method, path: &str) -> Page {
        let visitor = self.app.visitor();
        visitor.send(visitor.request(method, path).header("cookie", &self.cookie).body("")).await
    }

    async fn overview(&self) -> Page {
        self.ask(Method::GET, "/").await
    }

    async fn upload(&self, name: &str) {
        let visitor = self.app.visitor();
        let file = reqwest::multipart::Part::bytes(b"x".to_vec()).file_name(name.to_owned());
        let request = visitor.request(Method::POST, &format!("/buckets/{}/uploads", self.app.bucket)).header("cookie", &self.cookie);
        visitor.send(request.multipart(reqwest::multipart::Form::new().part("file", file))).await.expect_status(303);
    }

    /// Until the page is shown without looking up its figures.
    async fn finds_it_kept(&self) {
        let lookups = || {
            let figures = self.app.ctx.cache.stats();
            figures.iter().find(|(name, _)| *name == "overview-stored").map_or(0, |(_, figures)| figures.lookups().count)
        };
        eventually("the page is kept", async || {
            let before = lookups();
            self.overview().await.expect_status(200);
            lookups() == before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_did_something_sees_it_at_once_and_others_soon() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let editor = Person::sign_in(&app, Role::Editor).await;
    let viewer = Person::sign_in(&app, Role::Viewer).await;
    let elsewhere = viewer.at(&replica);
    for (at, name) in ["one.txt", "two.txt", "three.txt"].into_iter().enumerate() {
        for person in [&elsewhere, &viewer, &editor] {
            person.finds_it_kept().await;
        }
        editor.upload(name).await;
        let tells = |page: Page| {
            let text = page.expect_status(200).text_of("main");
            text.contains(name) && text.contains(&format!("{} file", at + 1))
        };
        assert!(tells(editor.overview().await), "{name}");
        for person in [&viewer, &elsewhere] {
            eventually_within(SOON, "it is told of", async || tells(person.overview().await)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_its_own_page() {
    let app = TestApp::start().await;
    let people = [Person::sign_in(&app, Role::Admin).await, Person::sign_in(&app, Role::Viewer).await];
    for (person, is_admin) in people.iter().zip([true, false]).cycle().take(6) {
        person.finds_it_kept().await;
        assert_eq!(person.overview().await.has("main a[href='/audit']"), is_admin);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_ends_here_at_once_and_soon_at_another_console() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let viewer = Person::sign_in(&app, Role::Viewer).await;
    let elsewhere = viewer.at(&replica);
    for person in [&elsewhere, &viewer] {
        person.finds_it_kept().await;
    }
    viewer.ask(Method::POST, "/session/end").await.expect_status(303);
    viewer.overview().await.expect_status(303);
    elsewhere.ask(Method::GET, "/uploads").await.expect_status(303);
    eventually_within(SOON, "it ends there", async || elsewhere.overview().await.status == 303).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_role_and_a_lock_out_count_at_once() {
    let app = TestApp::start().await;
    let system = Actor::system("Tests");
    let person = Person::sign_in(&app, Role::Admin).await;
    let user = users::find_by_email(&app.ctx, &system, &person.email).await.unwrap();
    for (role, is_admin) in [(Role::Viewer, false), (Role::Admin, true), (Role::Editor, false)] {
        person.finds_it_kept().await;
        // So that there is another admin.
        app.new_user(Role::Admin).await;
        users::set_role(&app.ctx, &system, user.id, role).await.unwrap();
        assert_eq!(person.overview().await.expect_status(200).has("main a[href='/audit']"), is_admin);
    }
    person.finds_it_kept().await;
    users::disable(&app.ctx, &system, user.id).await.unwrap();
    person.overview().await.expect_status(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_for_it_too() {
    let app = TestApp::start_with(|config| config.rate_limit_per_minute = 40).await;
    let viewer = Person::sign_in(&app, Role::Viewer).await;
    let mut left = Vec::new();
    loop {
        // Every other one is a page that Redis hears of at once.
        let page = viewer.ask(Method::GET, if left.len() % 4 == 3 { "/uploads" } else { "/" }).await;
        if page.status == 429 {
            break;
        }
        let value = page.expect_status(200).header("ratelimit").unwrap().to_owned();
        left.push(value.split(';').find_map(|part| part.strip_prefix("r=")).unwrap().parse::<usize>().unwrap());
    }
    // What another page says may be some too many until Redis has heard of all.
    assert!(left.len() >= 40 && left.len() <= 41 && left.last() == Some(&0), "{left:?}");
    viewer.ask(Method::GET, "/uploads").await.expect_status(429);
    viewer.overview().await.expect_status(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_hears_of_all_that_were_let_through() {
    let app = TestApp::start_with(|config| config.rate_limit_per_minute = 100).await;
    let replica = app.replica().await;
    let viewer = Person::sign_in(&app, Role::Viewer).await;
    let user = users::find_by_email(&app.ctx, &Actor::system("Tests"), &viewer.email).await.unwrap().id;
    for console in [&app, &replica] {
        let viewer = viewer.at(console);
        for _ in 0..30 {
            viewer.overview().await.expect_status(200);
        }
    }
    let policy = larder::domain::limits::pages(&app.ctx).unwrap();
    eventually("Redis has counted sixty", async || {
        let standing = larder::domain::limits::peek(&app.ctx, &policy, &format!("user-{user}")).await;
        standing.is_some_and(|standing| standing.remaining == 40)
    })
    .await;
}
