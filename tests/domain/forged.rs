//! Limits of an attacker who can write to Redis: Larder only trusts values that it signed.

use larder::domain::actor::{Actor, Role};
use larder::domain::sign_in::{self, SignIn};
use larder::domain::{abilities, deny, sessions};

use crate::support::{PASSWORD, TestApp, eventually};

async fn token(app: &TestApp, email: &str) -> String {
    let visitor = Actor::anonymous("visitor", Some("192.0.2.1".parse().unwrap()), "test");
    match sign_in::sign_in(&app.ctx, &visitor, email, PASSWORD, None).await.unwrap() {
        SignIn::Success { token, .. } => token,
        _ => panic!("not signed in"),
    }
}

fn key_of(token: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    format!("larder:session:{}", digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_session_copy_gives_no_role() {
    let app = TestApp::start().await;
    let (admin, viewer) = (app.new_user(Role::Admin).await, app.new_user(Role::Viewer).await);
    let (admins, viewers) = (token(&app, &admin).await, token(&app, &viewer).await);
    let session = sessions::find(&app.ctx, &admins).await.unwrap().unwrap();
    let redis = app.ctx.redis.required();
    let signed = redis.get(&key_of(&admins)).await.unwrap().expect("the copy of the admin");
    let json = serde_json::to_string(&session).unwrap();
    let nested = format!("{{\"until\":99999999999999,\"session\":{json}}}");
    let forged = [json.clone(), nested.clone(), format!(".{nested}"), format!("AAAA.{nested}"), signed.clone(), format!("{signed} ")];
    for value in forged {
        redis.set(&key_of(&viewers), &value, None).await.unwrap();
        let found = sessions::find(&app.ctx, &viewers).await.unwrap().unwrap();
        assert_eq!((found.role, found.email.as_str()), (Role::Viewer, viewer.as_str()), "{value}");
        let unknown = "A".repeat(43);
        redis.set(&key_of(&unknown), &value, None).await.unwrap();
        assert!(sessions::find(&app.ctx, &unknown).await.unwrap().is_none(), "{value}");
        // It does not prevent the use of the real copy either.
        eventually("the forged value is removed", async || redis.get(&key_of(&unknown)).await.unwrap().is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_of_an_ended_session_is_trusted_only_briefly() {
    let app = TestApp::start().await;
    let admin = app.new_user(Role::Admin).await;
    let token = token(&app, &admin).await;
    sessions::find(&app.ctx, &token).await.unwrap().unwrap();
    let redis = app.ctx.redis.required();
    let signed = redis.get(&key_of(&token)).await.unwrap().unwrap();
    sessions::end(&app.ctx, &token, None, "test").await.unwrap();
    eventually("the replayed copy is too old", async || {
        redis.set(&key_of(&token), &signed, None).await.unwrap();
        sessions::find(&app.ctx, &token).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_values_do_not_revoke_tokens_change_store_features_or_block_users() {
    let app = TestApp::start().await;
    let email = app.new_user(Role::Editor).await;
    let redis = app.ctx.redis.required();
    redis.set("blacklist:token:mine", "revoked", None).await.unwrap();
    assert!(!deny::is_revoked(&app.ctx, "mine").await.unwrap());

    app.rules_known().await;
    abilities::known(&app.ctx).await.unwrap();
    eventually("what the store can do is cached", async || !redis.scan(0, "cache:", 10_000).await.unwrap().1.is_empty()).await;
    let (_, keys) = redis.scan(0, "cache:", 10_000).await.unwrap();
    let replica = app.replica().await;
    for key in keys {
        let Some(value) = redis.get(&key).await.unwrap() else { continue };
        let text = value.split_once('.').map_or(value.as_str(), |(_, text)| text);
        for forged in [text.to_owned(), format!("AAAA.{text}"), format!("{value} ")] {
            redis.set(&key, &forged, None).await.unwrap();
            let known = abilities::known(&replica.ctx).await;
            let own = replica.ctx.s3.probed();
            assert_eq!(known.map(|known| known.abilities), own.map(|own| own.abilities), "only what the replica tried itself");
        }
    }

    for name in ["larder:rate:sign-in-address:", "larder:sign-in-wait:address:"] {
        for digest in ["192.0.2.1"].map(|address| {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, address.as_bytes());
            digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        }) {
            redis.set(&format!("{name}{digest}"), "99999999999999", None).await.unwrap();
        }
    }
    token(&app, &email).await;
}
