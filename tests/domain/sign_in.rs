//! Signing in, staying signed in, and signing out.

use std::net::IpAddr;

use larder::domain::actor::{Actor, Role};
use larder::domain::sign_in::{self, SignIn};
use larder::domain::users;
use larder::domain::{Context, sessions};

use crate::support::{PASSWORD, TestApp, eventually};

fn from(address: &str) -> Actor {
    Actor::anonymous("visitor", Some(address.parse::<IpAddr>().unwrap()), "test")
}

async fn try_in(ctx: &Context, address: &str, email: &str, password: &str) -> SignIn {
    sign_in::sign_in(ctx, &from(address), email, password, None).await.unwrap()
}

async fn token(ctx: &Context, email: &str) -> String {
    match try_in(ctx, "192.0.2.1", email, PASSWORD).await {
        SignIn::Success { token, .. } => token,
        _ => panic!("not signed in"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_passwords_block_the_address_but_not_the_owner() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    for _ in 0..sign_in::TRIES {
        assert!(matches!(try_in(&app.ctx, "198.51.100.7", &email, "wrong").await, SignIn::WrongCredentials));
    }
    let SignIn::Blocked(wait) = try_in(&app.ctx, "198.51.100.7", &email, PASSWORD).await else { panic!("did not have to wait") };
    assert!(wait <= sign_in::WINDOW && wait > sign_in::WINDOW / 2, "{wait:?}");
    assert!(matches!(try_in(&app.ctx, "203.0.113.9", &email, PASSWORD).await, SignIn::Success { .. }));
    // A blocked address is blocked for all accounts.
    assert!(matches!(try_in(&app.ctx, "198.51.100.7", "nobody@example.com", "wrong").await, SignIn::Blocked(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_simultaneous_attempts_count_as_ten() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    let tries = (0..50).map(|_| try_in(&app.ctx, "198.51.100.7", &email, "wrong"));
    let ended = futures_util::future::join_all(tries).await;
    let heard = ended.iter().filter(|outcome| matches!(outcome, SignIn::WrongCredentials)).count();
    assert_eq!(heard, usize::try_from(sign_in::TRIES).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_remains_when_redis_loses_its_data() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    for _ in 0..sign_in::TRIES {
        try_in(&app.ctx, "2001:db8::1", &email, "wrong").await;
    }
    assert!(matches!(try_in(&app.ctx, "2001:db8::2", &email, PASSWORD).await, SignIn::Blocked(_)));
    let counter = format!("{}larder:sign-in-wait:*", app.ctx.config.redis.prefix);
    let forgotten =
        app.redis(&["EVAL", "for _, k in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', k) end return 1", "0", &counter]).await;
    assert_eq!(forgotten, "1");
    // Another address of the same network.
    assert!(matches!(try_in(&app.ctx, "2001:db8::2", &email, PASSWORD).await, SignIn::Blocked(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_limited_except_for_known_addresses_in_them() {
    let app = TestApp::start().await;
    let (email, other) = (app.new_user(Role::Editor).await, app.new_user(Role::Viewer).await);
    assert!(matches!(try_in(&app.ctx, "2001:db8:7:ffff::1", &email, PASSWORD).await, SignIn::Success { .. }));
    // Forty /64 networks of one /48, each below its own limit.
    let mut wrong = 0;
    for at in 0..40 {
        for user in [&email, &other, "nobody@example.com"] {
            wrong += i64::from(matches!(try_in(&app.ctx, &format!("2001:db8:7:{at:x}::1"), user, "wrong").await, SignIn::WrongCredentials));
        }
    }
    assert_eq!(wrong, sign_in::TRIES_FROM_NETWORK);
    assert!(matches!(try_in(&app.ctx, "2001:db8:7:fffe::1", &email, PASSWORD).await, SignIn::Blocked(_)));
    assert!(matches!(try_in(&app.ctx, "2001:db8:7:ffff::1", &email, PASSWORD).await, SignIn::Success { .. }));
    assert!(matches!(try_in(&app.ctx, "2001:db8:8::1", &email, PASSWORD).await, SignIn::Success { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_an_e_mail_address_counts_for_its_account() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Viewer).await;
    let spellings =
        [email.clone(), email.to_uppercase(), format!(" {email} "), email.replacen('i', "\u{130}", 1), email.replacen('i', "\u{131}", 1)];
    for (at, spelling) in spellings.iter().enumerate() {
        let outcome = try_in(&app.ctx, &format!("192.0.2.{at}"), spelling, PASSWORD).await;
        let sql = app.sql().await;
        try_in(&app.ctx, &format!("192.0.2.{at}"), spelling, "wrong").await;
        let hashes: i64 = sql.query_one("SELECT count(DISTINCT email_hash) FROM sign_in_failures", &[]).await.unwrap().get(0);
        // Spellings that match the account count for it. Others count separately.
        assert_eq!(matches!(outcome, SignIn::Success { .. }), hashes == 1, "{spelling:?}");
        sql.execute("DELETE FROM sign_in_failures WHERE email_hash <> (SELECT email_hash FROM sign_in_failures ORDER BY id LIMIT 1)", &[])
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn international_addresses_and_passwords_are_found_in_every_form() {
    let app = TestApp::start().await;
    let admin = Actor::system("Test");
    let composed = ("j\u{f6}rg@b\u{fc}cher.example", "caf\u{e9} correct horse");
    let new = |email| users::NewUser { email, name: "J\u{f6}rg", role: Role::Viewer, password: composed.1 };
    users::create(&app.ctx, &admin, new(composed.0)).await.unwrap();
    // As browsers send the domain, and as macOS composes characters.
    for email in [composed.0, "j\u{f6}rg@xn--bcher-kva.example", "jo\u{308}rg@bu\u{308}cher.example"] {
        for password in [composed.1, "cafe\u{301} correct horse"] {
            let outcome = try_in(&app.ctx, "192.0.2.1", email, password).await;
            assert!(matches!(outcome, SignIn::Success { .. }), "{email:?} {password:?}");
        }
        assert!(users::create(&app.ctx, &admin, new(email)).await.is_err(), "{email:?} is taken");
    }
    // An account of an earlier version, which stored the address as the browser sent it.
    let sql = app.sql().await;
    sql.execute("UPDATE users SET email = 'j\u{f6}rg@xn--bcher-kva.example' WHERE email = $1", &[&composed.0]).await.unwrap();
    assert!(matches!(try_in(&app.ctx, "192.0.2.1", composed.0, composed.1).await, SignIn::Success { .. }));
    assert!(users::create(&app.ctx, &admin, new(composed.0)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_correct_passwords_all_succeed_and_are_not_counted() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    let tries = (0..25).map(|_| try_in(&app.ctx, "198.51.100.7", &email, PASSWORD));
    let ended = futures_util::future::join_all(tries).await;
    assert_eq!(ended.iter().filter(|outcome| matches!(outcome, SignIn::Success { .. })).count(), 25);
    let left: i64 = app.sql().await.query_one("SELECT count(*) FROM sign_in_failures", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_ends_the_previous_session_of_the_browser() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Viewer).await;
    let (first, elsewhere) = (token(&app.ctx, &email).await, token(&app.ctx, &email).await);
    assert!(sessions::find(&app.ctx, &first).await.unwrap().is_some());
    let SignIn::WrongCredentials = sign_in::sign_in(&app.ctx, &from("192.0.2.1"), &email, "wrong", Some(&first)).await.unwrap() else {
        panic!()
    };
    assert!(sessions::find(&app.ctx, &first).await.unwrap().is_some(), "a wrong password ends nothing");
    let again = sign_in::sign_in(&app.ctx, &from("192.0.2.1"), &email, PASSWORD, Some(&first)).await.unwrap();
    assert!(matches!(again, SignIn::Success { .. }));
    assert!(sessions::find(&app.ctx, &first).await.unwrap().is_none());
    assert!(sessions::find(&app.ctx, &elsewhere).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_password_during_an_outage_is_not_counted_as_wrong() {
    let app = TestApp::with_own_servers().await;
    let email = app.new_user(Role::Viewer).await;
    // Frozen somewhere between the first and the last statement.
    for pause in [0, 5, 10, 20, 40, 60] {
        let trying = async {
            for _ in 0..3 {
                let _ = sign_in::sign_in(&app.ctx, &from("192.0.2.1"), &email, PASSWORD, None).await;
            }
        };
        let freezing = async {
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            app.servers().postgres().freeze();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            app.servers().postgres().kill();
        };
        futures_util::join!(trying, freezing);
    }
    eventually("Postgres answers again, and nothing is counted", async || {
        if app.ctx.db.check_available().await.is_err() {
            return false;
        }
        let rows = app.sql().await.query_one("SELECT count(*) FROM sign_in_failures", &[]).await;
        rows.is_ok_and(|row| row.get::<_, i64>(0) == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_e_mail_looks_like_a_wrong_password() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Viewer).await;
    assert!(matches!(try_in(&app.ctx, "192.0.2.10", &email, "wrong").await, SignIn::WrongCredentials));
    assert!(matches!(try_in(&app.ctx, "192.0.2.11", "nobody@example.com", "wrong").await, SignIn::WrongCredentials));
    assert!(matches!(try_in(&app.ctx, "192.0.2.12", "", "").await, SignIn::WrongCredentials));
    assert!(matches!(try_in(&app.ctx, "192.0.2.13", "a\0b", "\0").await, SignIn::WrongCredentials));
    assert!(matches!(try_in(&app.ctx, "192.0.2.14", &email, &"x".repeat(1 << 20)).await, SignIn::WrongCredentials));
    assert!(matches!(try_in(&app.ctx, "192.0.2.15", &email.to_uppercase(), PASSWORD).await, SignIn::Success { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sign_in_creates_a_session_and_an_ended_one_is_invalid_everywhere() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let email = app.new_user(Role::Viewer).await;
    let (first, second) = (token(&app.ctx, &email).await, token(&app.ctx, &email).await);
    assert_ne!(first, second);
    for ctx in [&app.ctx, &replica.ctx] {
        assert!(sessions::find(ctx, &first).await.unwrap().is_some());
    }
    sessions::end(&app.ctx, &first, None, "test").await.unwrap();
    for ctx in [&app.ctx, &replica.ctx] {
        assert!(sessions::find(ctx, &first).await.unwrap().is_none());
        assert!(sessions::find(ctx, &second).await.unwrap().is_some());
    }
    for nonsense in ["", "x", &"A".repeat(43), &"é".repeat(22)] {
        assert!(sessions::find(&app.ctx, nonsense).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_digest_of_the_token_is_stored() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Viewer).await;
    let token = token(&app.ctx, &email).await;
    let row = app.sql().await.query_one("SELECT octet_length(secret_hash), secret_hash FROM sessions", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 32);
    assert_ne!(row.get::<_, Vec<u8>>(1), token.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_signed_out_immediately_and_cannot_sign_in() {
    let app = TestApp::start().await;
    app.new_user(Role::Admin).await;
    let email = app.new_user(Role::Editor).await;
    let admin = Actor::system("Tests");
    let token = token(&app.ctx, &email).await;
    assert!(sessions::find(&app.ctx, &token).await.unwrap().is_some());
    let user = users::find_by_email(&app.ctx, &admin, &email).await.unwrap();
    users::disable(&app.ctx, &admin, user.id).await.unwrap();
    assert!(sessions::find(&app.ctx, &token).await.unwrap().is_none());
    assert!(matches!(try_in(&app.ctx, "192.0.2.1", &email, PASSWORD).await, SignIn::WrongCredentials));
    users::enable(&app.ctx, &admin, user.id).await.unwrap();
    assert!(sessions::find(&app.ctx, &token).await.unwrap().is_none(), "an old session came back");
    assert!(matches!(try_in(&app.ctx, "192.0.2.1", &email, PASSWORD).await, SignIn::Success { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_applies_to_the_next_request_and_a_new_password_ends_sessions() {
    let app = TestApp::start().await;
    app.new_user(Role::Admin).await;
    let email = app.new_user(Role::Viewer).await;
    let admin = Actor::system("Tests");
    let token = token(&app.ctx, &email).await;
    assert_eq!(sessions::find(&app.ctx, &token).await.unwrap().unwrap().role, Role::Viewer);
    let user = users::find_by_email(&app.ctx, &admin, &email).await.unwrap();
    users::set_role(&app.ctx, &admin, user.id, Role::Editor).await.unwrap();
    assert_eq!(sessions::find(&app.ctx, &token).await.unwrap().unwrap().role, Role::Editor);
    users::set_password(&app.ctx, &admin, user.id, "another password 4321").await.unwrap();
    assert!(sessions::find(&app.ctx, &token).await.unwrap().is_none());
    assert!(matches!(try_in(&app.ctx, "192.0.2.1", &email, PASSWORD).await, SignIn::WrongCredentials));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_sign_in_and_limits_work_without_redis() {
    let app = TestApp::with_own_servers().await;
    let email = app.new_user(Role::Viewer).await;
    let before = token(&app.ctx, &email).await;
    app.servers().redis().freeze();
    assert!(sessions::find(&app.ctx, &before).await.unwrap().is_some());
    let during = token(&app.ctx, &email).await;
    sessions::end(&app.ctx, &before, None, "test").await.unwrap();
    assert!(sessions::find(&app.ctx, &before).await.unwrap().is_none());
    for _ in 0..sign_in::TRIES {
        assert!(matches!(try_in(&app.ctx, "198.51.100.7", &email, "wrong").await, SignIn::WrongCredentials));
    }
    assert!(matches!(try_in(&app.ctx, "198.51.100.7", &email, PASSWORD).await, SignIn::Blocked(_)));
    app.servers().redis().thaw();
    eventually("Redis answers again", async || app.ctx.redis.required().get("x").await.is_ok()).await;
    // A session that was ended while Redis was down stays ended when Redis is back.
    eventually("the copy is forgotten", async || sessions::find(&app.ctx, &before).await.unwrap().is_none()).await;
    assert!(sessions::find(&app.ctx, &during).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_signed_in_without_postgres() {
    let app = TestApp::with_own_servers().await;
    let email = app.new_user(Role::Viewer).await;
    app.servers().postgres().freeze();
    let started = std::time::Instant::now();
    let outcome = sign_in::sign_in(&app.ctx, &from("192.0.2.1"), &email, PASSWORD, None).await;
    assert!(outcome.is_err());
    assert!(started.elapsed().as_secs() < 6, "{:?}", started.elapsed());
    app.servers().postgres().thaw();
    eventually("Postgres answers again", async || {
        matches!(sign_in::sign_in(&app.ctx, &from("192.0.2.1"), &email, PASSWORD, None).await, Ok(SignIn::Success { .. }))
    })
    .await;
}
