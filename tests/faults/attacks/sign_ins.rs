//! A flood of wrong sign-ins for one account, while its owner signs in.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::measure::check;
use super::status;
use crate::child::Child;
use crate::either;
use crate::support::PASSWORD;

pub async fn flood(child: &Child) {
    let host = child.base.trim_start_matches("http://").to_owned();
    // Each in a task of its own, so that the attack does not delay the bystander in this process.
    let attempts = join_all((0..either(200, 700)).map(|at: usize| {
        let body = "email=nobody@example.com&password=wrong";
        let request = format!(
            "POST /session HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nX-Forwarded-For: 198.{}.{}.9\r\nAccept: text/html\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            18 + at / 250,
            at % 250,
            body.len()
        );
        let host = host.clone();
        let attempt = tokio::spawn(async move {
            let began = Instant::now();
            let mut socket = TcpStream::connect(host).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            (status(&mut socket).await, began.elapsed())
        });
        async { attempt.await.unwrap() }
    }));
    // The owner of a known address signs in meanwhile.
    let owner = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("email", "faults@example.com")
            .append_pair("password", PASSWORD)
            .finish();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let request = client.post(format!("{}/session", child.base)).header("origin", &child.base);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        (answer.status().as_u16(), began.elapsed())
    };
    let (attempts, (owned, took)) = tokio::join!(attempts, owner);
    eprintln!("the owner signed in within {took:?}");
    assert_eq!(owned, 303);
    assert!(
        attempts.iter().all(|(status, _)| matches!(status, 422 | 429)),
        "{:?}",
        attempts.iter().map(|(status, _)| status).collect::<Vec<_>>()
    );
    let refused: Vec<Duration> = attempts.iter().filter(|(status, _)| *status == 429).map(|(_, took)| *took).collect();
    let slowest = refused.iter().max().copied().unwrap_or_default();
    let waited = attempts.iter().filter(|(status, _)| *status == 422).map(|(_, took)| *took).max().unwrap_or_default();
    eprintln!("{} of {} sign-ins were refused within {slowest:?}, the others took {waited:?}", refused.len(), attempts.len());
    assert!(refused.len() > attempts.len() / 4, "{} were refused", refused.len());
    let allowed = either(Duration::from_secs(5), Duration::from_secs(1));
    check(slowest <= allowed, || format!("a sign-in was refused after {slowest:?}"));
}
