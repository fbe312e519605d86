//! A store that fails in every way that a network permits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use larder::domain::actor::Role;
use reqwest::Method;

use super::checker::Checker;
use super::child::LEASE;
use super::either;
use super::ledger::{Ledger, Outcome};
use super::random::Random;
use super::sender::Sender;
use crate::support::{Fault, Proxy, Set, TestApp, Which, eventually, eventually_within};

const MIB: usize = 1 << 20;
/// How long a page that needs the store may take, with a margin for a busy machine.
const LOOK: Duration = Duration::from_millis(5_500);
const PROMPT: Duration = Duration::from_secs(2);

struct Bench {
    app: TestApp,
    proxy: Proxy,
    sender: Sender,
    random: Random,
    /// To be downloaded.
    known: Bytes,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let mut random = Random::announced(name);
        let set = Set::shared().await;
        let proxy = Proxy::before(&set.servers().urls().s3_endpoint).await;
        let endpoint = proxy.endpoint.clone();
        let app = TestApp::on(set, |config| {
            config.upload.lease = LEASE;
            config.s3.endpoint = Some(endpoint);
        })
        .await;
        eventually("the bucket exists", async || app.ctx.s3.head_bucket(&app.bucket).await.is_ok()).await;
        app.rules_known().await;
        let email = app.new_user(Role::Admin).await;
        let sender = Sender::sign_in(&app.base, &app.bucket, &email, Ledger::default()).await;
        let known = random.bytes(3 * MIB);
        assert_eq!(sender.file("known", &known, false).await.unwrap().status, 201);
        Self { app, proxy, sender, random, known }
    }

    /// Uploads of every kind, each until it ends.
    async fn upload(&mut self, name: &str) {
        let sender = &self.sender;
        let random = &mut self.random;
        let mut file = |name: String, size| (name, random.bytes(size));
        let small = [file(format!("{name}-small"), 20_000)];
        let middle = [file(format!("{name}-middle"), 2 * MIB)];
        let large = [file(format!("{name}-large"), 9 * MIB)];
        let again = [file("again".to_owned(), 30_000)];
        let several: Vec<_> = (0..6).map(|at| file(format!("{name}-several-{at}"), 10_000)).collect();
        let (name, parts) = file(format!("{name}-parts"), 8 * MIB + 500_000);
        let forms = [(&small[..], false), (&middle, false), (&large, false), (&again, true), (&several, false)];
        let forms = join_all(forms.map(|(files, overwrite)| sender.form(files, overwrite)));
        let deadline = Instant::now() + Duration::from_secs(2);
        let (forms, parts) = tokio::join!(forms, sender.resumable(&name, &parts, false, deadline));
        let answers: Vec<u16> = forms.iter().map(|answer| answer.as_ref().map_or(0, |answer| answer.status.as_u16())).collect();
        eprintln!("{name}: forms {answers:?}, parts {parts:?}");
        assert!(answers.iter().all(|status| [201, 503].contains(status)), "{name}: {answers:?}");
    }

    /// Pages respond in time whatever the store does; those that do not need it, immediately.
    async fn look(&self, during: &str) {
        let needy = [
            format!("/buckets/{}", self.app.bucket),
            format!("/buckets/{}/object?key=known", self.app.bucket),
            "/buckets".into(),
            "/".into(),
        ];
        let free = ["/uploads", "/audit", "/users", "/health"].map(str::to_owned);
        let pages = needy.iter().map(|path| (path, LOOK)).chain(free.iter().map(|path| (path, PROMPT)));
        join_all(pages.map(|(path, limit)| async move {
            let (status, took) = self.sender.look(path).await;
            assert!(took <= limit, "{during}: {path} took {took:?}");
            assert!(status == 200 || (status == 503 && path.starts_with("/buckets")), "{during}: {path} answers {status}");
        }))
        .await;
    }

    /// Complete and correct, or not at all.
    async fn download(&self, during: &str) -> bool {
        let Ok(answer) = self.sender.download("known").send().await else { return false };
        let status = answer.status();
        match answer.bytes().await {
            Ok(bytes) if status == 200 => {
                assert!(bytes == self.known, "{during}: a download of {} bytes ended as if it were whole", bytes.len());
                true
            }
            Ok(_) => {
                assert_eq!(status, 503, "{during}");
                false
            }
            Err(_) => false,
        }
    }

    /// Within 10 s, without intervention.
    async fn recovers(&mut self, after: &str) {
        let probe = self.random.bytes(9 * MIB);
        let page = format!("/buckets/{}", self.app.bucket);
        eventually_within(Duration::from_secs(10), &format!("all is well after {after}"), async || {
            self.sender.look(&page).await.0 == 200
                && self.download(after).await
                && self.sender.file("probe", &probe, true).await.is_ok_and(|answer| answer.status == 201)
        })
        .await;
    }

    async fn test_fault(&mut self, fault: Fault, which: Which) {
        let name = format!("{fault:?}-{which:?}").replace(['(', ')'], "-");
        self.proxy.set(fault, which);
        self.look(&name).await;
        if self.download(&name).await {
            assert!(fault != Fault::CutAnswer || which != Which::All, "{name}: the whole file came");
        }
        self.upload(&name).await;
        assert!(self.proxy.affected() > 0, "{name} affected no request");
        self.proxy.heal();
        self.recovers(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_broken_connections_of_the_store_corrupt_no_file() {
    let mut bench = Bench::new("errors").await;
    for fault in [Fault::Answer(500), Fault::Answer(503), Fault::LoseThenRefuse, Fault::CutRequest, Fault::CutAnswer, Fault::AlterBody] {
        for which in [Which::All, Which::Third, Which::Writes] {
            bench.test_fault(fault, which).await;
        }
    }
    Checker::of(&bench.app).await.check(&bench.sender.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_etag_corrupts_no_file() {
    let mut bench = Bench::new("etags").await;
    for which in [Which::All, Which::Third] {
        bench.test_fault(Fault::AlterEtag, which).await;
    }
    let checker = Checker { etags_were_altered: true, ..Checker::of(&bench.app).await };
    checker.check(&bench.sender.ledger).await;
}

/// A download from a frozen store affects no other requests and is not truncated.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_connection_blocks_no_other_requests() {
    let mut bench = Bench::new("frozen connections").await;
    bench.proxy.set(Fault::Freeze, Which::All);
    bench.look("frozen").await;
    bench.proxy.heal();
    bench.recovers("frozen").await;
    Checker::of(&bench.app).await.check(&bench.sender.ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_frozen_under_load_is_used_again_when_it_resumes() {
    let mut random = Random::announced("frozen store");
    let set = Set::own().await;
    let app = TestApp::on(set, |config| config.upload.lease = LEASE).await;
    let email = app.new_user(Role::Admin).await;
    let sender = Sender::sign_in(&app.base, &app.bucket, &email, Ledger::default()).await;
    let uploads: Vec<_> = (0..8)
        .map(|number| {
            let (sender, size) = (sender.clone(), random.within(1, if number % 2 == 0 { 50_000 } else { 12 * MIB }));
            let body = random.bytes(size);
            tokio::spawn(async move {
                // Until the first failure.
                for round in 0..40 {
                    let answer = sender.file(&format!("load-{number}-{round}"), &body, false).await.unwrap();
                    assert!([201, 503].contains(&answer.status.as_u16()), "{answer:?}");
                    if answer.status != 201 {
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("there is load", async || sender.ledger.count(Outcome::Stored) >= 4).await;
    app.servers().s3().freeze();
    let until = Instant::now() + Duration::from_secs(either(6, 60));
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let bucket = format!("/buckets/{}", app.bucket);
        let free = async {
            let mut slowest = Duration::ZERO;
            for path in ["/uploads", "/audit", "/users", "/health"] {
                let (status, took) = sender.look(path).await;
                assert_eq!(status, 200, "{path}");
                slowest = slowest.max(took);
            }
            slowest
        };
        let ((status, took), free) = tokio::join!(sender.look(&bucket), free);
        assert!(status == 503 && took <= LOOK, "{status} after {took:?}");
        slowest = slowest.max(free);
    }
    assert!(slowest < PROMPT, "a page without the store took {slowest:?}");
    app.servers().s3().thaw();
    eventually_within(Duration::from_secs(10), "all requests succeed again", async || {
        sender.look(&format!("/buckets/{}", app.bucket)).await.0 == 200
            && sender.file("after", &Bytes::from_static(b"after"), true).await.is_ok_and(|answer| answer.status == 201)
    })
    .await;
    for upload in uploads {
        upload.await.unwrap();
    }
    eprintln!("pages without the store: {slowest:?} at most");
    assert_eq!(sender.request(Method::GET, "/livez").send().await.unwrap().status(), 200);
    Checker::of(&app).await.check(&sender.ledger).await;
}
