//! The program's commands, run as a user runs them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use larder::domain::actor::{Actor, Role};
use larder::domain::sign_in::{self, SignIn};

use crate::support::{PASSWORD, TestApp};

/// The program with only these environment variables.
pub fn larder(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn all_configuration_errors_are_reported_together_without_secrets() {
    let environment = [("REDIS_URL", "http://x"), ("APP_ENV", "production"), ("AWS_SECRET_ACCESS_KEY", "hunter2secret"), ("BIND", "here")];
    for command in [&["serve"][..], &["doctor"], &["migrate"]] {
        let output = larder(command, &environment, "");
        let printed = text(&output);
        assert!(!output.status.success());
        for name in ["DATABASE_URL", "REDIS_URL", "AWS_ACCESS_KEY_ID", "BIND", "PUBLIC_URL", "Example:"] {
            assert!(printed.contains(name), "{name} is missing in: {printed}");
        }
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

/// The version of the newest migration, such as 20261125000300.
fn newest_migration() -> String {
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let newest = migrations.map(|entry| entry.unwrap().file_name().into_string().unwrap()).max().unwrap();
    newest.split('_').next().unwrap().replace('-', "")
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_what_works_and_what_does_not() {
    let app = TestApp::start().await;
    let mut environment = app.variables(app.ctx.config.database_url.reveal());
    let output = larder(&["doctor"], &environment, "");
    assert!(output.status.success() && text(&output).contains("No problems found"), "{}", text(&output));

    let output =
        larder(&["user", "add", "ben@example.com", "--name", "Ben", "--role", "editor", "--password-stdin"], &environment, PASSWORD);
    assert!(output.status.success() && text(&output).contains("Added ben@example.com"), "{}", text(&output));
    let visitor = Actor::anonymous("visitor", None, "test");
    assert!(matches!(sign_in::sign_in(&app.ctx, &visitor, "ben@example.com", PASSWORD, None).await, Ok(SignIn::Success { .. })));
    let output = larder(&["user", "disable", "ben@example.com"], &environment, "");
    assert!(output.status.success(), "{}", text(&output));
    assert!(matches!(sign_in::sign_in(&app.ctx, &visitor, "ben@example.com", PASSWORD, None).await, Ok(SignIn::WrongCredentials)));
    let output = larder(&["user", "disable", "nobody@example.com"], &environment, "");
    assert!(!output.status.success() && text(&output).contains("not found"), "{}", text(&output));

    let newest = newest_migration();
    let output = larder(&["migrate", "--revert", "1"], &environment, "");
    assert!(output.status.success() && text(&output).contains(&format!("Reverted {newest}")), "{}", text(&output));
    let output = larder(&["migrate"], &environment, "");
    assert!(text(&output).contains(&format!("Ran {newest}")), "{}", text(&output));
    assert!(text(&larder(&["migrate"], &environment, "")).contains("Nothing to do"));

    app.rules_known().await;
    app.sign_in(Role::Editor).await.upload(&app.bucket, "gone.txt", "x").await.expect_status(303);
    let etag = app.ctx.s3.head(&app.bucket, "gone.txt", None).await.unwrap().etag;
    app.ctx.s3.delete_if(&app.bucket, "gone.txt", &etag).await.unwrap();
    let only = ["--bucket", app.bucket.as_str()];
    let output = larder(&[&["reconcile", "--dry-run"], &only[..]].concat(), &environment, "");
    let printed = text(&output);
    assert!(!output.status.success() && printed.contains("gone.txt") && printed.contains("1 difference, nothing changed"), "{printed}");
    let output = larder(&[&["reconcile"], &only[..]].concat(), &environment, "");
    assert!(output.status.success() && text(&output).contains("1 difference, 1 repaired"), "{}", text(&output));
    let output = larder(&[&["reconcile"], &only[..]].concat(), &environment, "");
    assert!(output.status.success() && text(&output).contains("no difference"), "{}", text(&output));
    environment.push(("READ_ONLY", "true"));
    let output = larder(&["reconcile"], &environment, "");
    assert!(!output.status.success() && text(&output).contains("--dry-run"), "{}", text(&output));
    environment.pop();

    environment[3].1 = "wrong";
    let output = larder(&["doctor"], &environment, "");
    assert!(!output.status.success() && text(&output).contains("AWS_ACCESS_KEY_ID"), "{}", text(&output));
}
